/**
 * Texts that a model reads in one go although a request has them in pieces: neighbouring parts and messages of
 * the same provenance. An instruction cut in two shows in neither half.
 */
import type { Provenance, Segment } from "../core/segment.ts";

/** Of a long piece only this much at either end takes part. */
const EDGE = 512;
const GAP = "\n\n";

export type Seam = { readonly provenance: Provenance; readonly text: string };

const edges = (text: string): string =>
  text.length > 2 * EDGE ? text.slice(0, EDGE) + GAP + text.slice(-EDGE) : text;

/** Two readings of each run of neighbours: a word may have been cut, or a sentence. */
export function seamsOf(segments: readonly Segment[]): readonly Seam[] {
  const seams: Seam[] = [];
  let start = 0;
  for (let end = 1; end <= segments.length; end += 1) {
    const provenance = segments[start]?.provenance;
    if (segments[end]?.provenance === provenance) continue;
    if (provenance !== undefined && end - start > 1) {
      const pieces = segments.slice(start, end).map(({ content }) => edges(content.reveal()));
      for (const between of ["", " "]) seams.push({ provenance, text: pieces.join(between) });
    }
    start = end;
  }
  return seams;
}
