/** Where the windows of a text stand: as few as will do, full, spread evenly, as in training (scripts/train/pieces.py). */
import type { Span } from "../../core/segment.ts";

/** Start, slot and end. */
const FRAME = 3;

export type Grid = {
  /** Tokens of a full window with its frame. */
  readonly length: number;
  /** Pieces that neighbours have in common, at least. */
  readonly overlap: number;
};

/** Ranges of `count` pieces; none for a text without pieces. */
export function windowsOf(count: number, { length, overlap }: Grid): readonly Span[] {
  const body = length - FRAME;
  if (count === 0) return [];
  if (count <= body) return [{ start: 0, end: count }];
  const rest = count - body;
  const steps = Math.ceil(rest / (body - overlap));
  return Array.from({ length: steps + 1 }, (_, i) => {
    const start = Math.floor((i * rest) / steps);
    return { start, end: start + body };
  });
}

/** The most pieces that `windows` windows cover. */
export const piecesIn = (windows: number, { length, overlap }: Grid): number =>
  length - FRAME + (windows - 1) * (length - FRAME - overlap);
