/**
 * Texts that a model reads in one go although a request has them in pieces: neighbouring parts and messages of
 * the same provenance. An instruction cut in two shows in neither half.
 */
import type { Provenance } from "../core/segment.ts";

/** Of a long piece only this much at either end takes part. */
const EDGE = 512;
const GAP = "\n\n";
/** Of each run of neighbours the learned detector reads so many places where pieces meet, and of a request so many. */
const MEETINGS_OF_RUN = 8;
const MEETINGS = 32;

export type Seam = { readonly provenance: Provenance; readonly text: string };

const isLong = (text: string): boolean => text.length > 2 * EDGE;
const edges = (text: string): string =>
  isLong(text) ? text.slice(0, EDGE) + GAP + text.slice(-EDGE) : text;

/** Neighbours of one provenance, two or more. */
type Run = { readonly provenance: Provenance; readonly texts: readonly string[] };

function runsOf(pieces: readonly Seam[]): readonly Run[] {
  const runs: Run[] = [];
  let start = 0;
  for (let end = 1; end <= pieces.length; end += 1) {
    const provenance = pieces[start]?.provenance;
    if (pieces[end]?.provenance === provenance) continue;
    const texts = pieces.slice(start, end).map(({ text }) => text);
    if (provenance !== undefined && texts.length > 1) runs.push({ provenance, texts });
    start = end;
  }
  return runs;
}

/** Each run whole, read twice: a word may have been cut, or a sentence. */
export const seamsOf = (pieces: readonly Seam[]): readonly Seam[] =>
  runsOf(pieces).flatMap(({ provenance, texts }) =>
    ["", " "].map((between) => ({ provenance, text: texts.map(edges).join(between) })),
  );

/**
 * The newest places where pieces meet, each short enough for a window or two. They begin anew at each long piece, so
 * that a text that comes on top leaves the others as they were, and known.
 */
export function meetingsOf(pieces: readonly Seam[]): readonly Seam[] {
  const meetings = runsOf(pieces).flatMap((run) => meetingsIn(run).slice(-MEETINGS_OF_RUN));
  return meetings.slice(-MEETINGS);
}

function meetingsIn({ provenance, texts }: Run): readonly Seam[] {
  const meetings: Seam[] = [];
  let held: string[] = [];
  let length = 0;
  const meet = (): void => {
    if (held.length > 1) meetings.push({ provenance, text: held.join(" ") });
  };
  for (const text of texts) {
    held.push(isLong(text) ? text.slice(0, EDGE) : text);
    length += text.length;
    if (length < 2 * EDGE) continue;
    meet();
    const tail = text.slice(-EDGE);
    held = [tail];
    length = tail.length;
  }
  meet();
  return meetings;
}
