/**
 * What sentencepiece's precompiled table makes of characters: compatibility forms, case, spaces, controls.
 * Its trie is a Darts-clone double array over UTF-8 (units as in darts_clone/darts.h, `DoubleArrayUnit`);
 * its values point into strings that end with a zero byte. The first, so the shortest, match counts, and
 * stands for the whole text that was asked for: that is how the tokenizer that we must agree with reads it.
 */

/** At the edge of a grapheme (UAX 29): hangs on what is before, holds what follows, or stands alone. */
export const EXTENDS = 1;
export const PREPENDS = 2;
export const CONTROLS = 3;
export type GraphemeRange = { readonly from: number; readonly to: number; readonly kind: number };

const CODE_POINTS = 0x110000;
const UNMAPPED = -1;

export class Charsmap {
  /** UTF-8, each string ended by a zero byte. */
  readonly strings: Uint8Array;
  /** 0 or one of the three above, by code point. Pages of it that nobody reads take no memory. */
  readonly graphemes = new Uint8Array(CODE_POINTS);
  readonly #units: Uint32Array;
  /** What `find` says of one character, up to U+FFFF: most questions are answered by it. */
  readonly #alone = new Int32Array(0x10000).fill(UNMAPPED);
  readonly #scratch = new Uint8Array(4);

  constructor(blob: Uint8Array, ranges: readonly GraphemeRange[]) {
    const view = new DataView(blob.buffer, blob.byteOffset, blob.byteLength);
    const trieBytes = view.getUint32(0, true);
    this.#units = Uint32Array.from({ length: trieBytes / 4 }, (_, i) =>
      view.getUint32(4 + 4 * i, true),
    );
    this.strings = blob.subarray(4 + trieBytes);
    for (const { from, to, kind } of ranges) this.graphemes.fill(kind, from, to + 1);
    for (let c = 0; c < this.#alone.length; c++) this.#alone[c] = this.#search(c);
  }

  /** Offset in `strings` of what stands for the character `c`, or -1: it stays. */
  findPoint(c: number): number {
    return this.#alone[c] ?? this.#search(c);
  }

  #search(c: number): number {
    return this.find(this.#scratch, encodePoint(c, this.#scratch, 0));
  }

  /** The same for the first `end` bytes of `text`. */
  find(text: Uint8Array, end: number): number {
    const units = this.#units;
    let node = offsetOf(units[0] ?? 0);
    for (let i = 0; i < end; i++) {
      const byte = text[i] ?? 0;
      if (byte === 0) return UNMAPPED;
      node ^= byte;
      const unit = units[node] ?? 0;
      if ((unit & 0x800000ff) >>> 0 !== byte) return UNMAPPED;
      node ^= offsetOf(unit);
      if ((unit >>> 8) & 1) return (units[node] ?? 0) & 0x7fffffff;
    }
    return UNMAPPED;
  }
}

const offsetOf = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

/** How many bytes a character of well-formed UTF-8 takes, by its first one. */
export function utf8Length(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}

/** Writes a code point as UTF-8; returns where it ends. A surrogate without its half is U+FFFD. */
export function encodePoint(point: number, into: Uint8Array, at: number): number {
  const c = point >= 0xd800 && point < 0xe000 ? 0xfffd : point;
  if (c < 0x80) {
    into[at] = c;
    return at + 1;
  }
  let lead = 0xc0;
  let length = 2;
  if (c >= 0x800) {
    lead = c < 0x10000 ? 0xe0 : 0xf0;
    length = c < 0x10000 ? 3 : 4;
  }
  into[at] = lead | (c >>> (6 * (length - 1)));
  for (let i = 1; i < length; i++) into[at + i] = 0x80 | ((c >>> (6 * (length - 1 - i))) & 0x3f);
  return at + length;
}
