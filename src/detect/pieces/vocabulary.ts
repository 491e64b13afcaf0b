/**
 * The file that `scripts/train/vocabulary.py` makes of a tokenizer: little-endian, in this order: magic,
 * five numbers (pieces, bytes of their text, bytes of the charsmap, ranges, id of what is unknown), a
 * float32 score a piece, three uint32 a range, a uint16 id a piece, a byte of length a piece, the text of
 * the pieces sorted by bytes, the charsmap. It is read once at start; `model/weights.ts` has checked its digest.
 */
import { Charsmap, type GraphemeRange } from "./charsmap.ts";
import { Trie } from "./trie.ts";

const MAGIC = 0x31_56_4d_4c; // "LMV1"
const HEADER_BYTES = 24;
/** What sentencepiece subtracts from the worst score for a character that is no piece. */
const UNKNOWN_PENALTY = 10;

export type Vocabulary = {
  readonly trie: Trie;
  readonly charsmap: Charsmap;
  /** By the trie's number of a piece. */
  readonly scores: Float32Array;
  readonly ids: Uint16Array;
  readonly unknown: { readonly id: number; readonly score: number };
};

/** Undefined when `file` is no vocabulary. */
export function parseVocabulary(file: Uint8Array): Vocabulary | undefined {
  // A copy that starts at an even address, whatever `file` is a part of.
  const bytes = Uint8Array.from(file).buffer;
  if (bytes.byteLength < HEADER_BYTES) return undefined;
  const [magic, pieces = 0, textBytes = 0, charsmapBytes = 0, rangeCount = 0, unknownId = 0] =
    new Uint32Array(bytes, 0, HEADER_BYTES / 4);
  const size = HEADER_BYTES + 7 * pieces + 12 * rangeCount + textBytes + charsmapBytes;
  if (magic !== MAGIC || size !== bytes.byteLength) return undefined;
  let at = HEADER_BYTES;
  const skip = (length: number): number => {
    at += length;
    return at - length;
  };
  const scores = new Float32Array(bytes, skip(4 * pieces), pieces);
  const numbers = new Uint32Array(bytes, skip(12 * rangeCount), 3 * rangeCount);
  const ids = new Uint16Array(bytes, skip(2 * pieces), pieces);
  const lengths = new Uint8Array(bytes, skip(pieces), pieces);
  const text = new Uint8Array(bytes, skip(textBytes), textBytes);
  const ranges = Array.from({ length: rangeCount }, (_, i): GraphemeRange => {
    const [from = 0, to = 0, kind = 0] = numbers.subarray(3 * i, 3 * i + 3);
    return { from, to, kind };
  });
  const worst = scores.reduce((least, score) => Math.min(least, score), 0);
  return {
    trie: new Trie(text, lengths),
    charsmap: new Charsmap(new Uint8Array(bytes, at), ranges),
    scores,
    ids,
    unknown: { id: unknownId, score: worst - UNKNOWN_PENALTY },
  };
}
