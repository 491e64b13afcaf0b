/**
 * Which part of a text to take out so that nothing in it is flagged any more: the sentences of an instruction, where
 * that is enough, else the whole text. What is hidden goes with all that carries it.
 */
import type { Provenance, Span } from "../../core/segment.ts";
import { type View, ViewBuilder } from "../view.ts";
import { type Detection, detect, type Judged } from "./detect.ts";
import type { Model } from "./fusion.ts";
import type { Passage } from "./passages.ts";
import { grouped, sentencesOf, united } from "./sentences.ts";

/** Stands in the place of what was taken out: a model is not to take the rest for the whole. */
export const REMOVED = "[removed]";
/** Times that what is left is judged, and what is flagged in it taken out too; of a long text, which takes time, once. */
const ROUNDS = 3;
const LONG = 65_536;
/** Sentences told apart in one instruction, and numbers of them that are tried: so many short texts are scored. */
const SENTENCES = 12;
const TRIES = [1, 2, 3, 5, 8];

type Text = { readonly text: string; readonly provenance: Provenance };
type Means = {
  readonly model: Model | undefined;
  /** The passages of a text that are judged; the first is the text as it stands. */
  readonly read: (text: Text) => Promise<readonly Passage[]>;
  /** Whether what is flagged in such a passage has to go. */
  readonly goes: (passage: Passage) => boolean;
};

const excess = ({ findings }: Judged): number =>
  findings.reduce((most, { score, threshold }) => Math.max(most, score - threshold), -10_001);

/** @param judged the passages of `text`; spans are in order and apart */
export async function spansToStrip(
  { text, provenance }: Text,
  judged: readonly Judged[],
  means: Means,
): Promise<readonly Span[]> {
  let removed: readonly Span[] = [];
  let rest = cut(text, removed);
  let flagged = judged.filter((one) => means.goes(one.passage) && excess(one) >= 0);
  for (let left = text.length > LONG ? 1 : ROUNDS; left > 0; left -= 1) {
    const parts: Span[][] = [];
    for (const one of flagged) parts.push(await partsOf(rest.text, one, means));
    removed = united([...removed, ...parts.flat().map((span) => rest.toSource(span))]);
    rest = cut(text, removed);
    const again = await detect(await means.read({ text: rest.text, provenance }), means.model);
    // What is not known to be clean is not kept.
    if (again.cause !== undefined) break;
    flagged = again.judged.filter((one) => means.goes(one.passage) && excess(one) >= 0);
    if (flagged.length === 0) return removed;
  }
  return [{ start: 0, end: text.length }];
}

/** The parts of a flagged passage that make it one, in the text it is a passage of. */
async function partsOf(text: string, { passage, findings }: Judged, means: Means): Promise<Span[]> {
  const parts: (readonly Span[])[] = [];
  for (const { span, score, threshold, rule } of findings) {
    if (score < threshold) continue;
    if (passage.provenance === "hidden") parts.push([span]);
    else if (rule === passage.said?.rule) parts.push(sentencesOf(text, span));
    else parts.push(await fewest(text, sentencesOf(text, span), { ...means, passage }));
  }
  return parts.flat();
}

/** The fewest sentences without which the others are clean, by what each of them comes to alone. */
async function fewest(
  text: string,
  sentences: readonly Span[],
  { passage, model, read }: Means & { readonly passage: Passage },
): Promise<readonly Span[]> {
  const groups = grouped(sentences, SENTENCES);
  if (groups.length < 2) return groups;
  const { provenance } = passage;
  const judgedAs = async (texts: readonly string[]): Promise<Detection> => {
    const passages: Passage[] = [];
    for (const piece of texts) {
      const [first] = await read({ text: piece, provenance });
      if (first !== undefined) passages.push(first);
    }
    return detect(passages, model);
  };
  const alone = await judgedAs(groups.map(({ start, end }) => text.slice(start, end)));
  const worst = alone.judged
    .map((one, index) => ({ group: groups[index], excess: excess(one) }))
    .sort((a, b) => b.excess - a.excess)
    .flatMap(({ group }) => group ?? []);
  const tries = TRIES.filter((count) => count < groups.length).map((count) =>
    worst.slice(0, count),
  );
  const left = await judgedAs(
    tries.map((out) =>
      groups
        .filter((group) => !out.includes(group))
        .map(({ start, end }) => text.slice(start, end))
        .join(" "),
    ),
  );
  const enough = left.judged.findIndex((one) => excess(one) < 0);
  return left.cause === undefined ? (tries[enough] ?? groups) : groups;
}

/** The text with what is removed replaced, and the way back. */
function cut(text: string, removed: readonly Span[]): View {
  const view = new ViewBuilder(text);
  for (const { start, end } of removed) view.replace(start, end, REMOVED);
  return view.build();
}
