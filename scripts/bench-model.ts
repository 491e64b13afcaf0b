/**
 * What the learned detector costs on one core, with the weights in a folder: pieces, windows that end early, windows
 * that do not, scores that are known. One thread, one call at a time, so the figures are latencies.
 *
 *   node scripts/bench-model.ts [FOLDER]
 */
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { systemClock } from "../src/cli/clock.ts";
import { FILES } from "../src/detect/model/manifest.ts";
import { openModel } from "../src/detect/model/model.ts";
import { Tokenizer } from "../src/detect/pieces/tokenizer.ts";
import { parseVocabulary } from "../src/detect/pieces/vocabulary.ts";
import { PLACES } from "../src/detect/scorer.ts";

const SHIPPED = fileURLToPath(new URL("../models/injection", import.meta.url));
const SENTENCES = [
  "The ferry leaves at noon, and whoever comes later waits for the mail boat. ",
  "Der Schlüssel hängt neben der Kellertür, hinter den alten Mänteln. ",
  "蓝色的小船系在桥边，午后没有人用它。",
  "Синяя лодка стоит у причала, вёсла лежат в сарае. ",
  "القارب الأزرق مربوط قرب الجسر منذ الصباح. ",
];
const ROUNDS = 200;

const directory = resolve(process.argv[2] ?? SHIPPED);
const clock = systemClock();
const ms = (value: number): string => value.toFixed(value < 1 ? 3 : 1);
const at = (times: readonly number[], share: number): number =>
  times.toSorted((a, b) => a - b)[Math.floor(share * (times.length - 1))] ?? Number.NaN;

/** The same weights, but a window ends early always or never. */
function withClear(clear: number): string {
  const folder = mkdtempSync(join(tmpdir(), "limen-bench-"));
  for (const name of FILES) symlinkSync(join(directory, name), join(folder, name));
  const manifest: object = JSON.parse(readFileSync(join(directory, "manifest.json"), "utf8"));
  const bounds = Object.fromEntries(PLACES.map((place) => [place, clear]));
  writeFileSync(join(folder, "manifest.json"), JSON.stringify({ ...manifest, clear: bounds }));
  return folder;
}

const vocabulary = parseVocabulary(readFileSync(join(directory, "vocabulary.bin")));
if (vocabulary === undefined) throw new Error("the folder has no vocabulary");
const tokenizer = new Tokenizer(vocabulary, 1_000_000);

/** A text of `pieces` pieces that begins like no other. */
function textOf(pieces: number, number: number): string {
  const all = `${number} ${SENTENCES.join("").repeat(Math.ceil(pieces / 60))}`;
  const { ends } = tokenizer.pieces(all);
  return all.slice(0, ends[pieces - 1]);
}

for (const sentence of SENTENCES) {
  const text = sentence.repeat(500);
  const times: number[] = [];
  let pieces = 0;
  for (let i = 0; i < 20; i++) {
    const start = clock.monotonicMs();
    pieces = tokenizer.pieces(text).ids.length;
    times.push(((clock.monotonicMs() - start) * 128) / pieces);
  }
  console.log(`128 pieces of ${sentence.slice(0, 12)}...: ${ms(at(times, 0.5))} ms`);
}

for (const [kind, clear] of [
  ["cleared", 10_000],
  ["full", 0],
] as const) {
  const folder = withClear(clear);
  const before = process.memoryUsage.rss();
  const opening = clock.monotonicMs();
  const model = await openModel(folder, { threads: 1, clock });
  const opened = clock.monotonicMs() - opening;
  for (const pieces of [16, 64, 141, 256, 1024]) {
    const texts = Array.from({ length: ROUNDS }, (_, i) => textOf(pieces, i));
    const times: number[] = [];
    for (const [i, text] of texts.entries()) {
      const scope = `${pieces} ${i}`; // they have windows in common
      const start = clock.monotonicMs();
      await model.score([{ text, place: "tool" }], { scope, until: start + 10_000 });
      times.push(clock.monotonicMs() - start);
    }
    console.log(
      `${kind}, ${pieces} pieces: p50 ${ms(at(times, 0.5))} ms, p99 ${ms(at(times, 0.99))} ms`,
    );
  }
  const many = Array.from({ length: ROUNDS }, (_, i) => ({
    text: textOf(141, -i),
    place: "user" as const,
  }));
  const scope = "many";
  const start = clock.monotonicMs();
  await model.score(many, { scope, until: start + 60_000 });
  const took = clock.monotonicMs() - start;
  const again = clock.monotonicMs();
  await model.score(many, { scope, until: again + 60_000 });
  const known = (clock.monotonicMs() - again) / ROUNDS;
  console.log(
    `${kind}: ${Math.round((1_000 * ROUNDS) / took)} windows/s, a known text ${ms(known)} ms`,
  );
  // The second one stands on memory that the first one left.
  if (kind === "cleared") {
    const grown = (process.memoryUsage.rss() - before) / 1024 ** 2;
    console.log(`one thread: open after ${ms(opened)} ms, ${Math.round(grown)} MiB`);
  }
  await model.close();
  rmSync(folder, { recursive: true });
}
