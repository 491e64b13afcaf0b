/**
 * Texts as numbers of their characters: `105 103 110`, `0x69, 0x67`, `U+0069`, `\u0069`, `&#105;`, `%69`, `=69`, eight
 * binary digits. Lists of numbers are everywhere, so what is read of a list must have the form of writing.
 */
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { type Alphabet, alphabet, DIGITS, isDigit } from "../ascii.ts";
import { pattern, type Subject } from "../re2.ts";
import { type Decoded, type Decoder, fromUtf8, needing, PIECES, piecewise } from "./decoder.ts";
import { written } from "./words.ts";

const isHex = alphabet(`${DIGITS}abcdefABCDEF`);

/** The units of `piece` that belong to an alphabet. */
function only(piece: string, isMember: Alphabet): string {
  const kept = Buffer.alloc(piece.length);
  let length = 0;
  for (let at = 0; at < piece.length; at += 1) {
    const unit = piece.charCodeAt(at);
    if (isMember(unit)) {
      kept[length] = unit;
      length += 1;
    }
  }
  return kept.toString("latin1", 0, length);
}

const lenient = new TextDecoder("utf-8");
/** Shorter stretches of text are made by chance, of whatever characters. */
const SHORTEST = 3;
/** Characters beyond ASCII are never UTF-8 by chance: so many bytes more than units, and not the same few in a row. */
const PROOF = { bytes: 6, different: 3 } as const;
const isProof = (text: string): boolean =>
  Buffer.byteLength(text) - text.length >= PROOF.bytes && new Set(text).size >= PROOF.different;

/**
 * What reads as writing in bytes that may be none together: what stands beside codes, `be` for one, may look like one
 * more, and whoever writes them may put in what is no character.
 */
function* writtenIn(bytes: Uint8Array): Steps<string | undefined> {
  const stretches = lenient.decode(bytes).split("\ufffd");
  yield;
  const found: string[] = [];
  for (const stretch of stretches.filter(({ length }) => length >= SHORTEST)) {
    const text = isProof(stretch) ? stretch : yield* written(stretch);
    if (text !== undefined) found.push(text);
    yield;
  }
  return found.length === 0 ? undefined : found.join("\n");
}

function* fromPairs(piece: string): Steps<string | undefined> {
  const digits = only(piece.replaceAll("0x", " "), isHex);
  const bytes = Buffer.from(digits, "hex");
  const whole = digits.length === piece.length ? fromUtf8(bytes) : undefined;
  yield;
  return whole ?? (yield* writtenIn(bytes));
}
/** Pairs of digits, together or apart, `0x` before them or not. Of pairs that stand apart tables are made as well. */
export const hex = needing(
  { of: "0123456789abcdefABCDEFx :,;\r\n-", length: 28 },
  piecewise("source", "(?:(?:0x)?[0-9A-Fa-f]{2}[ :,;\\r\\n-]{0,3}){14,}", fromPairs),
);

export const binary = piecewise("source", "(?:[01]{8}[ ,;\\r\\n-]{0,3}){12,}", function* (piece) {
  const bits = only(piece, isDigit);
  const bytes = new Uint8Array(bits.length / 8);
  for (let i = 0; i < bits.length; i += 1) {
    const byte = i >> 3;
    bytes[byte] = ((bytes[byte] ?? 0) << 1) | (bits.charCodeAt(i) & 1);
  }
  yield;
  return fromUtf8(bytes) ?? (yield* writtenIn(bytes));
});

/** The numbers of a list as characters; what is none is a sign that no writing has. */
function* characters(list: string, base: 8 | 10): Steps<string | undefined> {
  // A number and what parts it from the next take more units than its character has bytes.
  const units = Buffer.alloc(list.length);
  let length = 0;
  let code: number | undefined;
  for (let at = 0; at <= list.length; at += 1) {
    const digit = list.charCodeAt(at) - 0x30;
    if (digit >= 0 && digit <= 9) code = digit < base ? (code ?? 0) * base + digit : Number.NaN;
    else if (code !== undefined) {
      length = units.writeUInt16LE(code >= 0x20 || code === 0x0a ? code : 0, length);
      code = undefined;
    }
  }
  yield;
  return yield* written(units.toString("utf16le", 0, length));
}
export const numbers = piecewise(
  "source",
  "\\b(?:[0-9]{2,4}[ ,;\\t\\r\\n]{1,3}){11,}[0-9]{2,4}\\b",
  (list) => characters(list, 10),
  (list) => characters(list, 8),
);

/** Escapes of JSON, JavaScript, C, CSS, URLs and HTML, and the name that Unicode gives a character. */
const ESCAPE =
  "(?:\\\\u[0-9A-Fa-f]{4}|\\\\u\\{[0-9A-Fa-f]{1,6}\\}|\\\\x[0-9A-Fa-f]{2}|\\\\[0-7]{2,3}|U\\+[0-9A-Fa-f]{4,5}\\b|&#x[0-9A-Fa-f]{2,6};?|&#[0-9]{2,7};?)";

/** The character of one escape: its digits are octal behind a bare backslash, decimal behind `&#`. */
function characterOf(code: string): string {
  const isDecimal = code.startsWith("&#") && code.charAt(2) !== "x";
  const isOctal = code.startsWith("\\") && isDigit(code.charCodeAt(1));
  const base = isOctal ? 8 : isDecimal ? 10 : 16;
  let point = 0;
  for (let at = 1; at < code.length; at += 1) {
    const unit = code.charCodeAt(at);
    if (isHex(unit)) point = point * base + (isDigit(unit) ? unit - 0x30 : (unit | 0x20) - 0x57);
  }
  return point <= 0x10ffff ? String.fromCodePoint(point) : "";
}

const isOpening = alphabet("\\&U%");
/** The escapes in a row, each with what parts it from the next. None has the sign inside with which another opens. */
function* escapesIn(text: string, { start, end }: Span): Iterable<Span> {
  for (let from = start, at = start + 1; from < end; at += 1) {
    if (at < end && !isOpening(text.charCodeAt(at))) continue;
    yield { start: from, end: at };
    from = at;
  }
}

/** Escapes that are read in one step. */
const STEP = 4_096;
/** Eight or more in a row, or in a list. */
const ROW = `(?:${ESCAPE}[ ,;\\r\\n]{0,2}){8,}`;
const rows = pattern(ROW);
export const escapes: Decoder = {
  trigger: ROW,
  reads: "source",
  yields: "encoded",
  *decode(subject) {
    for (const source of rows.each(subject, PIECES)) {
      const characters: string[] = [];
      for (const { start, end } of escapesIn(subject.text, source)) {
        characters.push(characterOf(subject.text.slice(start, end)));
        if (characters.length % STEP === 0) yield;
      }
      yield { text: characters.join(""), source };
    }
  },
};

/** Quoted-printable of what needs no quoting. */
export const quoted = piecewise("source", "(?:=[0-9A-F]{2}(?:=\\r?\\n)?){8,}", function* (piece) {
  const text = fromUtf8(Buffer.from(only(piece, isHex), "hex"));
  return text === undefined ? undefined : yield* written(text);
});

/** Codes of ASCII letters, which nobody has to escape. */
const LETTER_CODE = "(?:[46][1-9A-Fa-f]|[57][0-9Aa])";
const LETTER = `(?:\\\\u00${LETTER_CODE}|\\\\u\\{0{0,4}${LETTER_CODE}\\}|\\\\x${LETTER_CODE}|%${LETTER_CODE}|&#x0{0,4}${LETTER_CODE};?|&#0{0,4}(?:6[5-9]|[78][0-9]|90|9[7-9]|1[01][0-9]|12[0-2]);?)`;
const letterCodes = pattern(`(?:${LETTER})+`);
/** Escaped letters not further apart belong together; so much is read before the first and behind the last. */
const NEAR = 80;
const AROUND = NEAR / 2;
const FEWEST = 4;

/** Those in a row are read by themselves. */
function areScattered(spans: readonly Span[]): boolean {
  const apart = spans.filter(({ start }, at) => start > (spans[at - 1]?.end ?? start) + 1);
  return spans.length >= FEWEST && apart.length * 2 >= spans.length;
}

/** As many as pieces of any kind. */
function* lettersIn(subject: Subject): Iterable<Span> {
  let count = 0;
  for (const row of letterCodes.each(subject, PIECES)) {
    for (const letter of escapesIn(subject.text, row)) {
      if (count === PIECES) return;
      count += 1;
      yield letter;
    }
  }
}

/** Escapes that stand near each other. */
function* clusters(spans: Iterable<Span>): Iterable<readonly [Span, ...Span[]]> {
  let cluster: [Span, ...Span[]] | undefined;
  let end = 0;
  for (const span of spans) {
    if (cluster !== undefined && span.start - end <= NEAR) cluster.push(span);
    else {
      if (cluster !== undefined && areScattered(cluster)) yield cluster;
      cluster = [span];
    }
    ({ end } = span);
  }
  if (cluster !== undefined && areScattered(cluster)) yield cluster;
}

function unescaped(text: string, cluster: readonly [Span, ...Span[]]): Decoded {
  const source = {
    start: Math.max(0, cluster[0].start - AROUND),
    end: Math.min(text.length, (cluster.at(-1) ?? cluster[0]).end + AROUND),
  };
  let read = "";
  let at = source.start;
  for (const { start, end } of cluster) {
    read += text.slice(at, start) + characterOf(text.slice(start, end));
    at = end;
  }
  return { text: read + text.slice(at, source.end), source };
}

/** Letters escaped here and there: `pr\u0065vious`. */
export const scattered: Decoder = {
  trigger: LETTER,
  reads: "source",
  yields: "encoded",
  *decode(subject) {
    for (const cluster of clusters(lettersIn(subject))) {
      const decoded = unescaped(subject.text, cluster);
      if ((yield* written(decoded.text)) !== undefined) yield decoded;
    }
  },
};
