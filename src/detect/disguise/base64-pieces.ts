/**
 * Base64 that is no single run of characters: cut into pieces between quotes, spaces, signs of concatenation or of
 * lists, or one word at a time. Prose is made of the same characters: pieces are decoded as they come, and a reading
 * ends where it is no longer text. ASCII text alone: bytes of other scripts would let prose pass for pieces.
 */
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { DIGITS, LOWER, UPPER } from "../ascii.ts";
import { type CodeUnits, codeUnitsOf } from "../code-units.ts";
import type { Decoded, Decoder } from "./decoder.ts";
import { hasForm, hasWords, written } from "./words.ts";

/**
 * By code unit: what it stands for, with marks of base64 and of letters; 0 for all else. Every unit has its place:
 * to look outside a table costs several times as much. Base64url has `-` and `_` for `+` and `/`.
 */
const SIGNS = new Uint8Array(0x10000);
const SEXTET = 63;
const BASE64 = 64;
const LETTER = 128;
for (const [sextet, sign] of [...`${UPPER}${LOWER}${DIGITS}+/`].entries()) {
  SIGNS[sign.charCodeAt(0)] = sextet | BASE64 | (sextet < 52 ? LETTER : 0);
}
SIGNS["-".charCodeAt(0)] = 62 | BASE64;
SIGNS["_".charCodeAt(0)] = 63 | BASE64;

const signAt = (units: CodeUnits, at: number): number =>
  at < units.length ? (SIGNS[units[at] ?? 0] ?? 0) : 0;
const sextetAt = (units: CodeUnits, at: number): number => signAt(units, at) & SEXTET;
const isText = (byte: number): boolean => byte === 0x0a || (byte >= 0x20 && byte < 0x7f);

/** Whether the first bytes of a piece are text: of names and prose, chance makes few that are. */
function beginsText(units: CodeUnits, start: number, end: number): boolean {
  const [a, b, c] = [
    sextetAt(units, start),
    sextetAt(units, start + 1),
    sextetAt(units, start + 2),
  ];
  if (end - start > 1 && !isText((a << 2) | (b >> 4))) return false;
  if (end - start > 2 && !isText(((b & 15) << 4) | (c >> 2))) return false;
  return end - start < 4 || isText(((c & 3) << 6) | sextetAt(units, start + 3));
}

/** The next piece that begins in `[from, until)`. Signs and numbers alone join pieces, or count them. */
function pieceFrom(units: CodeUnits, from: number, until: number): Span | undefined {
  let start = from;
  for (let at = from, signs = 0; start < until; at += 1) {
    const sign = signAt(units, at);
    signs |= sign;
    if (sign !== 0) continue;
    if (signs >= LETTER) return { start, end: at };
    start = at + 1;
    signs = 0;
  }
  return undefined;
}

/** Adds where the pieces start of `[from, from + STEP)` whose beginning is text; gives where to go on. */
function addBeginnings(units: CodeUnits, from: number, starts: number[]): number {
  const { length } = units;
  const until = Math.min(from + STEP, length);
  let at = from;
  for (; at < until; at += 1) {
    if (SIGNS[units[at] ?? 0] === 0) continue;
    const start = at;
    let signs = 0;
    for (; at < length; at += 1) {
      const sign = SIGNS[units[at] ?? 0] ?? 0;
      if (sign === 0) break;
      signs |= sign;
    }
    if (signs >= LETTER && beginsText(units, start, at)) starts.push(start);
  }
  return at;
}

/** Where all such pieces start: of names and words, one in twenty. A list of numbers, however many there are. */
function* beginningsIn(units: CodeUnits): Steps<readonly number[]> {
  const starts: number[] = [];
  for (let at = 0; at < units.length; ) {
    at = addBeginnings(units, at, starts);
    yield;
  }
  return starts;
}

function pieceAt(units: CodeUnits, start: number): Span {
  let end = start;
  while (signAt(units, end) !== 0) end += 1;
  return { start, end };
}

/** Bytes that become text at once: a text put together in threes is a tree of its parts. */
const JOINED = 4_096;

/** Decodes characters as they come; `false`: what they stand for is no text, and nothing of it was kept. */
class Decoding {
  #text = "";
  #bytes: number[] = [];
  #bits = 0;
  #held = 0;

  get text(): string {
    return this.#text + String.fromCharCode(...this.#bytes);
  }

  push(sextet: number): boolean {
    this.#bits = (this.#bits << 6) | sextet;
    this.#held += 1;
    return this.#held < 4 || this.end();
  }

  /** What is left of the last four characters is text as well. */
  end(): boolean {
    const count = this.#held - 1;
    const bits = this.#bits << (6 * (3 - count));
    const [a, b, c] = [bits >> 16, (bits >> 8) & 0xff, bits & 0xff];
    this.#bits = 0;
    this.#held = 0;
    if ((count > 0 && !isText(a)) || (count > 1 && !isText(b)) || (count > 2 && !isText(c))) {
      return false;
    }
    if (count > 0) this.#bytes.push(a);
    if (count > 1) this.#bytes.push(b);
    if (count > 2) this.#bytes.push(c);
    if (this.#bytes.length >= JOINED) {
      this.#text = this.text;
      this.#bytes = [];
    }
    return true;
  }
}

/** Less than so many small letters, the first a capital or not, are rather a word of prose. */
const PROSE = 8;
function isProse(units: CodeUnits, { start, end }: Span): boolean {
  for (let at = start + 1; at < end; at += 1) {
    const unit = units[at] ?? 0;
    if (unit < 0x61 || unit > 0x7a) return false;
  }
  return end - start < PROSE;
}

/** The text of one piece by itself. */
function wordIn(units: CodeUnits, { start, end }: Span): string | undefined {
  const decoding = new Decoding();
  for (let at = start; at < end; at += 1) {
    if (!decoding.push(sextetAt(units, at))) return undefined;
  }
  if (!decoding.end()) return undefined;
  const { text } = decoding;
  return text === "" ? undefined : text;
}

/** Characters that are looked at in one step, and pieces. */
const STEP = 16_384;
const STEP_PIECES = 1_024;
/** A longer piece is found by itself. */
const LONGEST = 21;
/** Between two words, each encoded by itself, others may stand: "then". */
const NEAR = 80;
/** So many different words of no list are none by chance. */
const TELLING = 4;

const isCandidate = (units: CodeUnits, piece: Span): boolean =>
  piece.end - piece.start <= LONGEST && !isProse(units, piece);

/** Words encoded one by one. */
function* wordsIn(units: CodeUnits, starts: readonly number[]): Iterable<Decoded | undefined> {
  let words: string[] = [];
  let source = { start: 0, end: 0 };
  const said = (): readonly Decoded[] => {
    const read = words.join(" ");
    const isSaid = hasWords(read) || (new Set(words).size >= TELLING && hasForm(read));
    return words.length > 1 && isSaid ? [{ text: read, source }] : [];
  };
  for (const [count, start] of starts.entries()) {
    if (count % STEP_PIECES === 0) yield;
    const piece = pieceAt(units, start);
    if (!isCandidate(units, piece)) continue;
    const word = wordIn(units, piece);
    if (word === undefined) continue;
    if (piece.start - source.end > NEAR) {
      yield* said();
      words = [];
    }
    source = { start: words.length === 0 ? piece.start : source.start, end: piece.end };
    words.push(word);
  }
  yield* said();
}

/** So much may stand between two pieces of one encoding: quotes, a comma, a sign, the end of a line. */
const GAP = 12;
const PADDING = "=".charCodeAt(0);
/** Of prose, chance makes less text than that. */
const LEAST = 16;
const FEWEST = 3;
/** What the pieces from `first` on are together, while that is text. */
function* cutFrom(units: CodeUnits, first: Span): Steps<Decoded & { readonly pieces: number }> {
  const decoding = new Decoding();
  let pieces = 0;
  let end = first.end;
  for (let piece: Span | undefined = first; piece !== undefined; ) {
    let at = piece.start;
    for (; at < piece.end && decoding.push(sextetAt(units, at)); at += 1) {
      if (at % STEP === 0) yield;
    }
    if (at < piece.end) break;
    pieces += 1;
    ({ end } = piece);
    // Padding ends an encoding.
    piece =
      units[end] === PADDING ? undefined : pieceFrom(units, end, Math.min(end + GAP, units.length));
    if (piece === undefined) decoding.end();
  }
  return { text: decoding.text, source: { start: first.start, end }, pieces };
}

/** One encoding in many pieces. What was read once is not read again: linear, whatever the pieces are. */
function* cutIn(units: CodeUnits, starts: readonly number[]): Iterable<Decoded | undefined> {
  let done = 0;
  for (const [count, start] of starts.entries()) {
    if (count % STEP_PIECES === 0) yield;
    if (start < done) continue;
    const { pieces, source, text: decoded } = yield* cutFrom(units, pieceAt(units, start));
    if (decoded.length < LEAST) continue;
    done = source.end;
    const isCut = pieces >= FEWEST && source.end - source.start <= pieces * (LONGEST + GAP);
    const read = isCut ? yield* written(decoded) : undefined;
    if (read !== undefined) yield { text: read, source };
  }
}

export const base64Pieces: Decoder = {
  // A capital or a digit behind a small letter: words of prose have none.
  trigger: "[a-z][A-Z0-9]",
  reads: "source",
  yields: "encoded",
  *decode({ text }) {
    const units = codeUnitsOf(text);
    const starts = yield* beginningsIn(units);
    yield* wordsIn(units, starts);
    yield* cutIn(units, starts);
  },
};
