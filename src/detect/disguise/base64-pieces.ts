/**
 * Base64 that is no single run of characters: cut into pieces between quotes, spaces, signs of concatenation or of
 * lists, or one word at a time. Prose is made of the same characters: pieces are decoded as they come, and a reading
 * ends where it is no longer text. ASCII text alone: bytes of other scripts would let prose pass for pieces.
 */
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { ALNUM, alphabet, DIGITS, isLetter, LOWER, UPPER } from "../ascii.ts";
import type { Decoded, Decoder } from "./decoder.ts";
import { hasForm, hasWords, written } from "./words.ts";

const CHARACTERS = `${UPPER}${LOWER}${DIGITS}+/`;
const isBase64 = alphabet(`${ALNUM}+/-_`);
/** By character code. Base64url has `-` and `_` for `+` and `/`. */
const SEXTETS = new Uint8Array(128);
for (const [value, character] of [...CHARACTERS].entries())
  SEXTETS[character.charCodeAt(0)] = value;
SEXTETS["-".charCodeAt(0)] = 62;
SEXTETS["_".charCodeAt(0)] = 63;

/** The next piece that begins in `[from, until)`. Signs and numbers alone join pieces, or count them. */
function pieceFrom(text: string, from: number, until = text.length): Span | undefined {
  for (let start = from; start < until; ) {
    if (!isBase64(text.charCodeAt(start))) start += 1;
    else {
      let end = start;
      let letters = 0;
      for (; isBase64(text.charCodeAt(end)); end += 1) {
        if (isLetter(text.charCodeAt(end))) letters += 1;
      }
      if (letters > 0) return { start, end };
      start = end;
    }
  }
  return undefined;
}

const isText = (byte: number): boolean => byte === 0x0a || (byte >= 0x20 && byte < 0x7f);

const sextetAt = (text: string, at: number): number => SEXTETS[text.charCodeAt(at)] ?? 0;
/** Whether the first bytes of a piece are text: of names and prose, chance makes few that are. */
function beginsText(text: string, { start, end }: Span): boolean {
  const [a, b, c] = [sextetAt(text, start), sextetAt(text, start + 1), sextetAt(text, start + 2)];
  if (end - start > 1 && !isText((a << 2) | (b >> 4))) return false;
  return end - start < 3 || isText(((b & 15) << 4) | (c >> 2));
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

  push(unit: number): boolean {
    this.#bits = (this.#bits << 6) | (SEXTETS[unit] ?? 0);
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
function isProse(text: string, { start, end }: Span): boolean {
  for (let at = start + 1; at < end; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit < 0x61 || unit > 0x7a) return false;
  }
  return end - start < PROSE;
}

/** The text of one piece by itself. */
function wordIn(text: string, { start, end }: Span): string | undefined {
  const decoding = new Decoding();
  for (let at = start; at < end; at += 1) {
    if (!decoding.push(text.charCodeAt(at))) return undefined;
  }
  return decoding.end() && decoding.text !== "" ? decoding.text : undefined;
}

/** Characters that are looked at in one step. */
const STEP = 16_384;
/** A longer piece is found by itself. */
const LONGEST = 21;
/** Between two words, each encoded by itself, others may stand: "then". */
const NEAR = 80;
/** So many different words of no list are none by chance. */
const TELLING = 4;

const isCandidate = (text: string, piece: Span): boolean =>
  piece.end - piece.start <= LONGEST && beginsText(text, piece) && !isProse(text, piece);

/** Words encoded one by one. */
function* wordsIn(text: string): Iterable<Decoded | undefined> {
  let words: string[] = [];
  let source = { start: 0, end: 0 };
  const said = (): readonly Decoded[] => {
    const read = words.join(" ");
    const isSaid = hasWords(read) || (new Set(words).size >= TELLING && hasForm(read));
    return words.length > 1 && isSaid ? [{ text: read, source }] : [];
  };
  let piece = pieceFrom(text, 0);
  let stop = STEP;
  for (; piece !== undefined; piece = pieceFrom(text, piece.end)) {
    if (piece.start >= stop) {
      stop = piece.start + STEP;
      yield;
    }
    if (!isCandidate(text, piece)) continue;
    const word = wordIn(text, piece);
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
/** Of prose, chance makes less text than that. */
const LEAST = 16;
const FEWEST = 3;
/** What the pieces from `first` on are together, while that is text. */
function* cutFrom(text: string, first: Span): Steps<Decoded & { readonly pieces: number }> {
  const decoding = new Decoding();
  let pieces = 0;
  let end = first.end;
  for (let piece: Span | undefined = first; piece !== undefined; ) {
    let at = piece.start;
    for (; at < piece.end && decoding.push(text.charCodeAt(at)); at += 1) {
      if (at % STEP === 0) yield;
    }
    if (at < piece.end) break;
    pieces += 1;
    ({ end } = piece);
    // Padding ends an encoding.
    piece = text.charAt(end) === "=" ? undefined : pieceFrom(text, end, end + GAP);
    if (piece === undefined) decoding.end();
  }
  return { text: decoding.text, source: { start: first.start, end }, pieces };
}

/** One encoding in many pieces. What was read once is not read again: linear, whatever the pieces are. */
function* cutIn(text: string): Iterable<Decoded | undefined> {
  let piece = pieceFrom(text, 0);
  let stop = STEP;
  for (; piece !== undefined; piece = pieceFrom(text, piece.end)) {
    if (piece.start >= stop) {
      stop = piece.start + STEP;
      yield;
    }
    if (!beginsText(text, piece)) continue;
    const { pieces, source, text: decoded } = yield* cutFrom(text, piece);
    if (decoded.length < LEAST) continue;
    piece = source;
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
    yield* wordsIn(text);
    yield* cutIn(text);
  },
};
