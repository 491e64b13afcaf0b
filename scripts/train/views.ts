/**
 * The readings that the product makes of each training text, so that the encoder learns on what it will be given:
 * the folded text (when it differs from the raw one) and what is hidden or encoded in it. The rows' spans are moved
 * into the readings. Offsets are code points, as everywhere in the training data; the product counts UTF-16 units.
 *
 *   node scripts/train/views.ts SET.jsonl.gz... --out FOLDER
 */
import { once } from "node:events";
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { gunzipSync } from "node:zlib";
import type { Span } from "../../src/core/segment.ts";
import { readingsOf } from "../../src/detect/normalise.ts";
import type { View } from "../../src/detect/view.ts";

/** Hidden readings kept of one text. */
const HIDDEN = 6;

type Row = {
  readonly id: string;
  readonly text: string;
  readonly span?: readonly [number, number];
};

/** UTF-16 offset of the code point `points`. */
function unitsAt(text: string, points: number): number {
  let units = 0;
  for (let left = points; left > 0 && units < text.length; left -= 1)
    units += (text.codePointAt(units) ?? 0) > 0xffff ? 2 : 1;
  return units;
}

function pointsAt(text: string, units: number): number {
  let points = 0;
  for (let at = 0; at < units; points += 1) at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  return points;
}

/** The first offset in `[0, length]` from which on `holds` is true; it is true from somewhere on, for ever. */
function firstWhere(length: number, holds: (offset: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** What of the view stands for `[start, end)` of the source, in code points of the view. */
function inView(view: View, { start, end }: Span): [number, number] {
  const sourceOf = (offset: number): Span => view.toSource({ start: offset, end: offset + 1 });
  const from = firstWhere(view.text.length, (offset) => sourceOf(offset).end > start);
  const to = firstWhere(view.text.length, (offset) => sourceOf(offset).start >= end);
  return [pointsAt(view.text, from), pointsAt(view.text, to)];
}

/** The share of the attack that the hidden reading stands for. */
function share(view: View, { start, end }: Span): number {
  const source = view.toSource({ start: 0, end: view.text.length });
  const overlap = Math.min(end, source.end) - Math.max(start, source.start);
  return Math.max(0, overlap / (end - start));
}

function viewsOf({ id, text, span }: Row): unknown {
  const { plain, hidden } = readingsOf(text);
  const source =
    span === undefined ? undefined : { start: unitsAt(text, span[0]), end: unitsAt(text, span[1]) };
  return {
    id,
    ...(plain.text === text ? {} : { plain: plain.text }),
    ...(source === undefined ? {} : { span: inView(plain, source) }),
    hidden: hidden.slice(0, HIDDEN).map((view) => ({
      text: view.text,
      ...(source === undefined ? {} : { share: share(view, source) }),
    })),
  };
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { out: { type: "string", default: "." } },
});
mkdirSync(values.out, { recursive: true });
for (const path of positionals) {
  const file = join(values.out, basename(path).replace(/\.gz$/, ""));
  const out = createWriteStream(file);
  let count = 0;
  // By hand: a line reader also breaks at U+2028, which stands inside texts.
  for (const line of gunzipSync(readFileSync(path)).toString().split("\n")) {
    if (line === "") continue;
    count += 1;
    if (!out.write(`${JSON.stringify(viewsOf(JSON.parse(line) as Row))}\n`))
      await once(out, "drain");
  }
  out.end();
  await once(out, "finish");
  console.log(`${file}: ${count} rows`);
}
