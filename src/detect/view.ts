/**
 * A reading of a text that differs from it, with the way back: spans of the view become spans of the source,
 * so that a finding always points at what really stands there.
 */
import type { Span } from "../core/segment.ts";

export type View = {
  readonly text: string;
  /** Characters taken out that a reader of the source does not see. */
  readonly invisible: number;
  toSource(span: Span): Span;
};

export const identity = (text: string): View => ({ text, invisible: 0, toSource: (span) => span });

/** A view whose every part stands for the same piece of the source: decoded text. */
export const standsFor = (text: string, source: Span): View => ({
  text,
  invisible: 0,
  toSource: () => source,
});

/** `inner` is a view of `outer.text`. */
export const through = (outer: View, inner: View): View => ({
  text: inner.text,
  invisible: outer.invisible + inner.invisible,
  toSource: (span) => outer.toSource(inner.toSource(span)),
});

/** Where a piece begins in the view and in the source. `whole`: it was replaced, so only all of it is meant. */
type Piece = { readonly at: number; readonly source: number; readonly whole: boolean };

/** Builds a view from left to right: what is not replaced is kept. Memory grows with replacements, not with text. */
export class ViewBuilder {
  readonly #source: string;
  readonly #texts: string[] = [];
  /** Ascending in both offsets. */
  readonly #pieces: Piece[] = [{ at: 0, source: 0, whole: false }];
  #length = 0;
  #copied = 0;
  #invisible = 0;

  constructor(source: string) {
    this.#source = source;
  }

  /** `[start, end)` of the source reads as `text`; asked in order. */
  replace(start: number, end: number, text: string): void {
    this.#keep(start);
    if (text === "") this.#invisible += 1;
    else {
      this.#pieces.push({ at: this.#length, source: start, whole: true });
      this.#texts.push(text);
      this.#length += text.length;
    }
    this.#copied = end;
    this.#pieces.push({ at: this.#length, source: end, whole: false });
  }

  build(): View {
    if (this.#copied === 0) return identity(this.#source);
    this.#keep(this.#source.length);
    return {
      text: this.#texts.join(""),
      invisible: this.#invisible,
      toSource: ({ start, end }) => ({
        start: this.#sourceOf(start).start,
        end: this.#sourceOf(end - 1).end,
      }),
    };
  }

  #keep(until: number): void {
    if (until <= this.#copied) return;
    this.#texts.push(this.#source.slice(this.#copied, until));
    this.#length += until - this.#copied;
  }

  /** What the unit at `offset` of the view stands for: the last piece that begins there or before. */
  #sourceOf(offset: number): Span {
    let low = 0;
    let high = this.#pieces.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#pieces[middle]?.at ?? 0) <= offset) low = middle;
      else high = middle;
    }
    const { at, source, whole } = this.#pieces[low] ?? { at: 0, source: 0, whole: false };
    if (whole) return { start: source, end: this.#pieces[low + 1]?.source ?? this.#source.length };
    return { start: source + offset - at, end: source + offset - at + 1 };
  }
}
