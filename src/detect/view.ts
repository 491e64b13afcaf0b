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

/** Texts that are joined at once: millions that live until the end cost the collector more than they cost us. */
const JOINED = 4_096;

/** Builds a view from left to right: what is not replaced is kept. Memory grows with replacements, not with text. */
export class ViewBuilder {
  readonly #source: string;
  #texts: string[] = [];
  readonly #blocks: string[] = [];
  /** Where pieces begin in the view, ascending, and what they stand for. */
  readonly #starts: number[] = [0];
  /** Where each begins in the source; the complement (`~`) of that when it was replaced, and only all of it is meant. */
  readonly #sources: number[] = [0];
  #length = 0;
  #copied = 0;
  #invisible = 0;

  constructor(source: string) {
    this.#source = source;
  }

  /** `[start, end)` of the source reads as `text`; asked in order. */
  replace(start: number, end: number, text: string): void {
    this.#keep(start);
    this.#copied = end;
    // One unit for one stands where it would if it were kept: alphabets of other forms cost no more than text.
    if (text.length === 1 && end - start === 1) {
      this.#add(text);
      return;
    }
    if (text === "") this.#invisible += 1;
    else {
      this.#begin(~start);
      this.#add(text);
    }
    this.#begin(end);
  }

  build(): View {
    if (this.#copied === 0) return identity(this.#source);
    this.#keep(this.#source.length);
    return {
      text: this.#blocks.join("") + this.#texts.join(""),
      invisible: this.#invisible,
      toSource: ({ start, end }) => ({
        start: this.#sourceOf(start).start,
        end: this.#sourceOf(end - 1).end,
      }),
    };
  }

  #keep(until: number): void {
    if (until > this.#copied) this.#add(this.#source.slice(this.#copied, until));
  }

  #add(text: string): void {
    this.#length += text.length;
    this.#texts.push(text);
    if (this.#texts.length < JOINED) return;
    this.#blocks.push(this.#texts.join(""));
    this.#texts = [];
  }

  #begin(source: number): void {
    this.#starts.push(this.#length);
    this.#sources.push(source);
  }

  /** What the unit at `offset` of the view stands for: the last piece that begins there or before. */
  #sourceOf(offset: number): Span {
    let low = 0;
    let high = this.#starts.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#starts[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    const at = this.#starts[low] ?? 0;
    const source = this.#sources[low] ?? 0;
    if (source >= 0) return { start: source + offset - at, end: source + offset - at + 1 };
    // Behind what was replaced begins a piece that was not, if only to end it.
    return { start: ~source, end: this.#sources[low + 1] ?? this.#source.length };
  }
}
