/**
 * Texts that a model reads in one go although a request has them in pieces: neighbouring parts and messages of
 * the same provenance. An instruction cut in two shows in neither half.
 */
import type { Provenance } from "../core/segment.ts";

/** Of a long piece only this much at either end takes part. */
const EDGE = 512;
const GAP = "\n\n";

type Piece = { readonly provenance: Provenance; readonly text: string };
/** What may have been cut where the pieces meet. */
export type Seam = Piece & { readonly cut: "word" | "sentence" };

const BETWEEN = { word: "", sentence: " " } as const;
const CUTS = ["word", "sentence"] as const;

const edges = (text: string): string =>
  text.length > 2 * EDGE ? text.slice(0, EDGE) + GAP + text.slice(-EDGE) : text;

/** Two readings of each run of neighbours. */
export function seamsOf(pieces: readonly Piece[]): readonly Seam[] {
  const seams: Seam[] = [];
  let start = 0;
  for (let end = 1; end <= pieces.length; end += 1) {
    const provenance = pieces[start]?.provenance;
    if (pieces[end]?.provenance === provenance) continue;
    if (provenance !== undefined && end - start > 1) {
      const texts = pieces.slice(start, end).map(({ text }) => edges(text));
      for (const cut of CUTS) seams.push({ provenance, text: texts.join(BETWEEN[cut]), cut });
    }
    start = end;
  }
  return seams;
}
