/**
 * Texts as the pieces that the encoder reads: sentencepiece's Unigram model, the most likely pieces of each
 * word by Viterbi. The same ids as the tokenizer the encoder was trained with; `<s>` or `<pad>` written in a
 * text is letters, never the token. Time is linear in the text, memory fixed at some 2 MB.
 */
import { utf8Length } from "./charsmap.ts";
import { Normaliser, WORD_BYTES, type Word } from "./normaliser.ts";
import type { Vocabulary } from "./vocabulary.ts";

export type Pieces = {
  readonly ids: Uint16Array;
  /** Where each piece stands in the text, in UTF-16 units, with the space before it. */
  readonly starts: Int32Array;
  readonly ends: Int32Array;
  /** False: the text has more pieces than were asked for. */
  readonly complete: boolean;
};

/**
 * Of a word that comes in parts, so many bytes at the end wait for the next part, or the cut would change
 * pieces. The longest piece has 45: that the best way to here and the best way onwards differ further back
 * than eleven of them does not happen by chance, and who makes it happen gets the pieces of two words.
 */
const LAG_BYTES = 512;
const UNKNOWN = -1;
const UNREACHED = -1;

export class Tokenizer {
  readonly #vocabulary: Vocabulary;
  readonly #normaliser: Normaliser;
  /** The best way to each byte of a word: its score, where its last piece starts, which one that is. */
  readonly #best = new Float64Array(WORD_BYTES + 1);
  readonly #from = new Int32Array(WORD_BYTES + 1);
  readonly #piece = new Int32Array(WORD_BYTES + 1);
  readonly #ids: Uint16Array;
  readonly #starts: Int32Array;
  readonly #ends: Int32Array;
  #count = 0;
  #isFull = false;

  /** @param limit the most pieces that are read of a text */
  constructor(vocabulary: Vocabulary, limit: number) {
    this.#vocabulary = vocabulary;
    this.#normaliser = new Normaliser(vocabulary.charsmap, (word, extent) => {
      this.#walk(word);
      const done = this.#emit(word, extent === "whole" ? word.length : word.length - LAG_BYTES);
      word.shift(done);
      return !this.#isFull;
    });
    this.#ids = new Uint16Array(limit);
    this.#starts = new Int32Array(limit);
    this.#ends = new Int32Array(limit);
  }

  pieces(text: string): Pieces {
    this.#count = 0;
    this.#isFull = false;
    this.#normaliser.read(text);
    return {
      ids: this.#ids.slice(0, this.#count),
      starts: this.#starts.slice(0, this.#count),
      ends: this.#ends.slice(0, this.#count),
      complete: !this.#isFull,
    };
  }

  /** Finds the best way to every end of a character. */
  #walk({ bytes, length }: Word): void {
    const { trie, scores, unknown } = this.#vocabulary;
    const { base, parent, piece } = trie;
    const best = this.#best;
    const from = this.#from;
    from.fill(UNREACHED, 0, length + 1);
    best[0] = 0;
    for (let at = 0; at < length; ) {
      const here = best[at] ?? 0;
      const next = at + utf8Length(bytes[at] ?? 0);
      let isPiece = false;
      let node = 0;
      for (let end = at; end < length; ) {
        const child = (base[node] ?? 0) + (bytes[end] ?? 0);
        if (parent[child] !== node) break;
        node = child;
        end += 1;
        const found = piece[node] ?? -1;
        if (found < 0) continue;
        this.#reach(end, here + (scores[found] ?? 0), at, found);
        if (end === next) isPiece = true;
      }
      if (!isPiece) this.#reach(next, here + unknown.score, at, UNKNOWN);
      at = next;
    }
  }

  #reach(end: number, score: number, start: number, piece: number): void {
    if (this.#from[end] !== UNREACHED && score <= (this.#best[end] ?? 0)) return;
    this.#best[end] = score;
    this.#from[end] = start;
    this.#piece[end] = piece;
  }

  /** Adds the pieces of the best way that end by `limit`; returns where the last of them ends. */
  #emit(word: Word, limit: number): number {
    // The way is known from its end: turned round in place, `from` says where each piece ends.
    const ends = this.#from;
    for (let end = word.length, next = 0; end > 0; ) {
      const start = ends[end] ?? 0;
      ends[end] = next;
      next = end;
      end = start;
      if (end === 0) ends[0] = next;
    }
    let at = 0;
    for (let end = ends[0] ?? 0; at < word.length && end <= limit; end = ends[at] ?? 0) {
      this.#add(word, at, end);
      at = end;
    }
    return at;
  }

  #add({ starts, ends }: Word, from: number, to: number): void {
    const { ids, unknown } = this.#vocabulary;
    const piece = this.#piece[to] ?? UNKNOWN;
    const last = this.#count - 1;
    // Unknown characters in a row are one piece. A word begins with U+2581, which is known.
    if (piece === UNKNOWN && this.#ids[last] === unknown.id) {
      this.#ends[last] = ends[to - 1] ?? 0;
    } else if (this.#count === this.#ids.length) {
      this.#isFull = true;
    } else {
      this.#ids[this.#count] = piece === UNKNOWN ? unknown.id : (ids[piece] ?? unknown.id);
      this.#starts[this.#count] = starts[from] ?? 0;
      this.#ends[this.#count] = ends[to - 1] ?? 0;
      this.#count += 1;
    }
  }
}
