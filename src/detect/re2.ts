/**
 * Patterns on traffic. RE2 runs in linear time; this file is its only importer. Texts are matched as UTF-8
 * bytes: the binding converts a string anew on every call, which makes iterating over matches quadratic
 * (measured: 39 s instead of 0.3 s for 200,000 matches in 1 MB), and it loses offsets after a lone surrogate.
 */
import RE2 from "re2";
import type { Span } from "../core/segment.ts";

/** A text with its UTF-8 form, encoded once for all patterns. Lone surrogates become U+FFFD, one unit each. */
export class Subject {
  readonly text: string;
  readonly bytes: Buffer;
  #units: Uint32Array | undefined;

  constructor(text: string) {
    this.text = text;
    this.bytes = Buffer.from(text);
  }

  /** UTF-16 units before each block of bytes: counted once, however many patterns match. */
  get units(): Uint32Array {
    this.#units ??= unitsByBlock(this.bytes);
    return this.#units;
  }
}

const BLOCK_BYTES = 256;

function unitsByBlock(bytes: Uint8Array): Uint32Array {
  const units = new Uint32Array(Math.ceil(bytes.length / BLOCK_BYTES) + 1);
  for (let block = 1; block < units.length; block += 1) {
    const end = Math.min(block * BLOCK_BYTES, bytes.length);
    units[block] = (units[block - 1] ?? 0) + unitsIn(bytes, (block - 1) * BLOCK_BYTES, end);
  }
  return units;
}

function unitsIn(bytes: Uint8Array, start: number, end: number): number {
  let units = 0;
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] ?? 0;
    // Continuation bytes count nothing, the first of four bytes counts a surrogate pair.
    if (byte < 0x80 || byte >= 0xc0) units += byte >= 0xf0 ? 2 : 1;
  }
  return units;
}

export interface Pattern {
  test(subject: Subject): boolean;
  /** The first `limit` matches that do not overlap, from left to right, in UTF-16 units. */
  spans(subject: Subject, limit: number): readonly Span[];
  /** The same, each looked for when it is asked for. */
  each(subject: Subject, limit: number): Iterable<Span>;
}

/** @param source RE2 syntax; bounded repeats are unrolled, so keep their product small */
export function pattern(source: string): Pattern {
  const once = new RE2(source, "u");
  const global = new RE2(source, "gu");
  const each = function* (subject: Subject, limit: number): Iterable<Span> {
    const units = unitCounter(subject);
    for (let at = 0, count = 0; count < limit; ) {
      // Set each time: another text may have been searched since the last match.
      global.lastIndex = at;
      const match = global.exec(subject.bytes);
      if (match === null) return;
      const end = match.index + match[0].length;
      // An empty match does not advance by itself.
      at = end > match.index ? end : end + 1;
      if (end === match.index) continue;
      count += 1;
      yield { start: units(match.index), end: units(end) };
    }
  };
  return {
    test: (subject) => once.test(subject.bytes),
    each,
    spans: (subject, limit) => [...each(subject, limit)],
  };
}

export interface PatternSet {
  /** Indexes of the patterns that match somewhere, ascending, in one pass over the text. */
  matching(subject: Subject): readonly number[];
}

/**
 * What a set may remember of its automaton, which grows with what it has read: 6 MB of texts of all kinds came to 15 MB
 * in the largest set. With the 8 MB that RE2 gives by itself it forgot all again and again, at three times the cost.
 */
const SET_MEMORY_BYTES = 32 << 20;

/** @throws Error from `matching` when RE2 runs out of memory: a detector that fails never counts as clean */
export function patternSet(sources: readonly string[]): PatternSet {
  const set = new RE2.Set(sources, "u", { maxMem: SET_MEMORY_BYTES });
  return { matching: (subject) => set.match(subject.bytes) };
}

/** Turns byte offsets, in ascending order, into UTF-16 offsets. */
function unitCounter(subject: Subject): (offset: number) => number {
  const { text, bytes } = subject;
  if (bytes.length === text.length) return (offset) => offset;
  let counted = 0;
  let units = 0;
  return (offset) => {
    const block = Math.floor(offset / BLOCK_BYTES);
    // From the last offset where that is nearer: a text full of matches is counted once.
    if (counted < block * BLOCK_BYTES) {
      counted = block * BLOCK_BYTES;
      units = subject.units[block] ?? 0;
    }
    units += unitsIn(bytes, counted, offset);
    counted = offset;
    return units;
  };
}
