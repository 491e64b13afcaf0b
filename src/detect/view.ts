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

/** Builds a view from left to right: what is not replaced is kept. Memory grows with replacements, not with text. */
export class ViewBuilder {
  readonly #source: string;
  readonly #pieces: string[] = [];
  /** Pairs of equal length: from view offset `#at[i]` on, the source goes on at `#from[i]`. Ascending. */
  readonly #at: number[] = [0];
  readonly #from: number[] = [0];
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
      this.#mark(start);
      this.#pieces.push(text);
      this.#length += text.length;
    }
    this.#copied = end;
    this.#mark(end);
  }

  build(): View {
    if (this.#copied === 0) return identity(this.#source);
    this.#keep(this.#source.length);
    return {
      text: this.#pieces.join(""),
      invisible: this.#invisible,
      toSource: ({ start, end }) => ({
        start: this.#sourceOf(start),
        end: this.#sourceOf(end - 1) + 1,
      }),
    };
  }

  #keep(until: number): void {
    if (until <= this.#copied) return;
    this.#pieces.push(this.#source.slice(this.#copied, until));
    this.#length += until - this.#copied;
  }

  #mark(source: number): void {
    this.#at.push(this.#length);
    this.#from.push(source);
  }

  #sourceOf(offset: number): number {
    let low = 0;
    let high = this.#at.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#at[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    const source = (this.#from[low] ?? 0) + offset - (this.#at[low] ?? 0);
    // A replacement longer than what it stands for ends where the next piece begins.
    return Math.min(source, (this.#from[low + 1] ?? this.#source.length) - 1);
  }
}
