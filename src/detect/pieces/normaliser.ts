/**
 * A text as the words that pieces are looked for in: characters replaced by the charsmap, runs of spaces
 * made one, each word led by U+2581 for the space before it. Every byte of a word knows which character of
 * the text it came from. Memory does not depend on the text, time is linear in it.
 *
 * Known difference to the tokenizer that we must agree with: it splits graphemes by all of UAX 29; the
 * rules for emoji joined by U+200D (GB11) and Indic conjuncts (GB9c) are left out here. They decide whether
 * a mark of two bytes is kept right after a replaced character in such a sequence: nobody writes that.
 */
import { type Charsmap, CONTROLS, EXTENDS, encodePoint, PREPENDS, utf8Length } from "./charsmap.ts";

const SPACE = 0x20;
const CARRIAGE_RETURN = 0x0d;
const LINE_FEED = 0x0a;
const ASCII_END = 0x80;
/** U+2581 in UTF-8. */
const MARK = Uint8Array.of(0xe2, 0x96, 0x81);
/** A grapheme of so many bytes is not looked up as a whole. */
const LONG_GRAPHEME = 6;
const CHARACTER_BYTES = 4;

/** What a word may take: a longer one is handed over in parts. */
export const WORD_BYTES = 32_768;

/** UTF-8 of a word and, for each byte, from where to where its character stands in the text. */
export class Word {
  readonly bytes = new Uint8Array(WORD_BYTES);
  readonly starts = new Int32Array(WORD_BYTES);
  readonly ends = new Int32Array(WORD_BYTES);
  length = 0;

  /** Throws away the first `count` bytes. */
  shift(count: number): void {
    for (const array of [this.bytes, this.starts, this.ends]) {
      array.copyWithin(0, count, this.length);
    }
    this.length -= count;
  }
}

/**
 * Takes the `whole` rest of a word, or a `part` of one that does not fit: then it shifts out what it is done
 * with, at least a character. False: no more words, please.
 */
export type TakeWord = (word: Word, extent: "whole" | "part") => boolean;

export class Normaliser {
  readonly #charsmap: Charsmap;
  readonly #take: TakeWord;
  readonly #word = new Word();
  readonly #scratch = new Uint8Array(LONG_GRAPHEME + CHARACTER_BYTES);
  #text = "";
  #isWanted = true;
  /** Where in the text stands what is put next. */
  #start = 0;
  #end = 0;
  /** The space that the next word begins with: where it stands in the text; -1: there is none. */
  #gapStart = -1;
  #gapEnd = -1;

  constructor(charsmap: Charsmap, take: TakeWord) {
    this.#charsmap = charsmap;
    this.#take = take;
  }

  /** Hands over the words of `text` in their order. */
  read(text: string): void {
    this.#text = text;
    this.#word.length = 0;
    this.#gapStart = -1;
    this.#isWanted = true;
    for (let at = 0; at < text.length && this.#isWanted; ) at = this.#step(at);
    if (this.#gapStart >= 0) this.#mark();
    if (this.#word.length > 0) this.#hand();
    this.#text = "";
  }

  /** Reads the character at `at`, or the grapheme where it is replaced as a whole; returns where it ends. */
  #step(at: number): number {
    const point = this.#text.codePointAt(at) ?? 0;
    const end = at + width(point);
    const next = this.#text.codePointAt(end) ?? 0;
    if (this.#joins(point, next) && this.#startsGrapheme(point, at)) {
      const graphemeEnd = this.#grapheme(point, at);
      if (graphemeEnd > at) return graphemeEnd;
    }
    const found = this.#charsmap.findPoint(point);
    if (found >= 0) {
      this.#replace(found, at, end);
    } else {
      encodePoint(point, this.#scratch, 0);
      this.#start = at;
      this.#end = end;
      this.#put(this.#scratch, 0);
    }
    return end;
  }

  /** Whether no grapheme ends between two characters, the first of which starts one. */
  #joins(point: number, next: number): boolean {
    if (next < ASCII_END) return next === LINE_FEED && point === CARRIAGE_RETURN;
    const { graphemes } = this.#charsmap;
    return graphemes[next] === EXTENDS && graphemes[point] !== CONTROLS;
  }

  #startsGrapheme(point: number, at: number): boolean {
    if (at === 0) return true;
    const { graphemes } = this.#charsmap;
    const before = graphemes[pointBefore(this.#text, at)];
    if (before === CONTROLS || graphemes[point] === CONTROLS) return true;
    return before !== PREPENDS && graphemes[point] !== EXTENDS;
  }

  /** Replaces the grapheme at `at` if it is short and has an entry; returns its end, else `at`. */
  #grapheme(first: number, at: number): number {
    let bytes = encodePoint(first, this.#scratch, 0);
    let end = at + width(first);
    for (let point = first; end < this.#text.length; ) {
      const next = this.#text.codePointAt(end) ?? 0;
      if (!this.#joins(point, next)) break;
      bytes = encodePoint(next, this.#scratch, bytes);
      if (bytes >= LONG_GRAPHEME) return at;
      end += width(next);
      point = next;
    }
    const found = this.#charsmap.find(this.#scratch, bytes);
    if (found < 0) return at;
    this.#replace(found, at, end);
    return end;
  }

  /** Puts a string of the charsmap for the text from `at` to `end`: one for one, then all for the last. */
  #replace(found: number, at: number, end: number): void {
    const { strings } = this.#charsmap;
    this.#end = at;
    for (let from = found; ; from += utf8Length(strings[from] ?? 0)) {
      if ((strings[from] ?? 0) === 0) return;
      if (this.#end < end) {
        this.#start = this.#end;
        this.#end += width(this.#text.codePointAt(this.#start) ?? 0);
      }
      this.#put(strings, from);
    }
  }

  /** Adds the character that begins at `from` of `bytes`. */
  #put(bytes: Uint8Array, from: number): void {
    if (bytes[from] === SPACE) {
      if (this.#word.length > 0) this.#hand();
      this.#gapStart = this.#start;
      this.#gapEnd = this.#end;
      return;
    }
    const word = this.#word;
    if (word.length === 0) this.#mark();
    if (word.length + CHARACTER_BYTES > WORD_BYTES) {
      this.#isWanted = this.#take(word, "part");
      if (!this.#isWanted) word.length = 0;
    }
    this.#add(bytes, from);
  }

  /** Begins a word: with the space before it, or what stands for one at the start of a text. */
  #mark(): void {
    const { starts, ends } = this.#word;
    this.#add(MARK, 0);
    if (this.#gapStart >= 0) {
      starts.fill(this.#gapStart, 0, MARK.length);
      ends.fill(this.#gapEnd, 0, MARK.length);
    }
    this.#gapStart = -1;
  }

  #add(bytes: Uint8Array, from: number): void {
    const { bytes: into, starts, ends, length: at } = this.#word;
    const count = utf8Length(bytes[from] ?? 0);
    for (let i = 0; i < count; i++) {
      into[at + i] = bytes[from + i] ?? 0;
      starts[at + i] = this.#start;
      ends[at + i] = this.#end;
    }
    this.#word.length = at + count;
  }

  #hand(): void {
    this.#isWanted = this.#isWanted && this.#take(this.#word, "whole");
    this.#word.length = 0;
  }
}

const width = (point: number): number => (point > 0xffff ? 2 : 1);

function pointBefore(text: string, at: number): number {
  const unit = text.charCodeAt(at - 1);
  const point = at > 1 ? (text.codePointAt(at - 2) ?? 0) : 0;
  return point > 0xffff ? point : unit;
}
