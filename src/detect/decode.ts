/**
 * What a text says in another writing: encodings, escapes, invisible alphabets, markup that no reader sees.
 * Each decoder has a trigger that stands in the text wherever it could find something. A decoder guesses where
 * an encoding stands; `normalise.ts` keeps only what reads like language.
 */
import type { Span } from "../core/segment.ts";
import { isLetter } from "./ascii.ts";
import { pattern, type Subject } from "./re2.ts";
import { rot13 } from "./rot13.ts";

type Decoded = { readonly text: string; readonly source: Span };
export type Decoder = {
  readonly trigger: string;
  /** `plain`: what comes out was in the text as it is, only out of sight; the rest must prove to be language. */
  readonly yields: "plain" | "encoded";
  /** Each piece is decoded when it is asked for. */
  decode(subject: Subject): Iterable<Decoded>;
};

/** Pieces looked at per text and decoder; the total is bounded by the caller's work limit. */
const PIECES = 4_096;

const utf8 = new TextDecoder("utf-8", { fatal: true });
function fromUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/** A decoder for pieces that a pattern finds one by one. */
function piecewise(
  source: string,
  ...reads: readonly ((piece: string) => string | undefined)[]
): Decoder {
  const pieces = pattern(source);
  return {
    trigger: source,
    yields: "encoded",
    *decode(subject) {
      for (const source of pieces.each(subject, PIECES)) {
        const piece = subject.text.slice(source.start, source.end);
        for (const read of reads) {
          const text = read(piece);
          if (text !== undefined) yield { text, source };
        }
      }
    },
  };
}

/** Letters before it, the `n` of an escaped line break for one, look like a part of it: each of the four ways to begin. */
const base64 = piecewise(
  "[A-Za-z0-9+/_-]{22,}={0,2}",
  ...[0, 1, 2, 3].map(
    (skipped) => (piece: string) => fromUtf8(Buffer.from(piece.slice(skipped), "base64")),
  ),
);
const hex = piecewise("(?:[0-9A-Fa-f]{2}[ :]?){14,}", (piece) =>
  fromUtf8(Buffer.from(piece.replaceAll(" ", "").replaceAll(":", ""), "hex")),
);
const binary = piecewise("(?:[01]{8} ?){12,}", (piece) => {
  const bits = piece.replaceAll(" ", "");
  const bytes = new Uint8Array(bits.length / 8);
  for (let i = 0; i < bits.length; i += 1) {
    const byte = i >> 3;
    bytes[byte] = ((bytes[byte] ?? 0) << 1) | (bits.charCodeAt(i) & 1);
  }
  return fromUtf8(bytes);
});

/** `%69`: a run of text with at least three of them. */
const percent = piecewise("[^\\s\"'<>%]*(?:%[0-9A-Fa-f]{2}[^\\s\"'<>%]*){3,}", (piece) => {
  try {
    return decodeURIComponent(piece.replaceAll("+", " "));
  } catch {
    return undefined;
  }
});

/** Escapes of JSON, JavaScript, C and HTML, eight or more in a row. */
const escapes = piecewise(
  "(?:(?:\\\\u[0-9A-Fa-f]{4}|\\\\x[0-9A-Fa-f]{2}|&#x[0-9A-Fa-f]{2,6};|&#[0-9]{2,7};) ?){8,}",
  (piece) => {
    const characters: string[] = [];
    // Each escape, without what opens and closes it: u0069, x69, #x69, #105.
    for (const part of piece.split(piece.includes("\\") ? "\\" : "&")) {
      const code = part.trim().replace(";", "");
      if (code === "") continue;
      const decimal = code.startsWith("#") && code[1] !== "x";
      const digits = code.slice(code.startsWith("#x") ? 2 : 1);
      const point = Number.parseInt(digits, decimal ? 10 : 16);
      if (point <= 0x10ffff) characters.push(String.fromCodePoint(point));
    }
    return characters.join("");
  },
);

/** Single letters apart: `i g n o r e`, `i-g-n-o-r-e`. Words run together unless a wider gap parts them. */
const spaced = piecewise("\\b(?:[A-Za-z][ ._*-]{1,3}){7,}[A-Za-z]\\b", (piece) => {
  let text = "";
  let gap = 0;
  for (const character of piece) {
    if (isLetter(character.charCodeAt(0))) {
      text += gap > 1 ? ` ${character}` : character;
      gap = 0;
    } else if (character === " ") gap += 1;
  }
  return text;
});

/** Whole texts, read only when a common word or one of instructions stands in them in that writing. */
function whole(trigger: string, read: (text: string) => string): Decoder {
  return {
    trigger,
    yields: "encoded",
    decode: ({ text }) => [{ text: read(text), source: { start: 0, end: text.length } }],
  };
}
const turned = whole(
  "(?i)vafgehpgvba|flfgrz cebzcg|vtaber|\\b(?:gur|naq|lbh|lbhe|jvgu|guvf|cnffjbeq|cebzcg)\\b",
  rot13,
);
const reversed = whole(
  "(?i)snoitcurtsni|tpmorp metsys|erongi|\\b(?:eht|uoy|ruoy|htiw|siht|drowssap|tpmorp)\\b",
  backwards,
);

/** Character by character; in place, at a tenth of the cost of a list of characters. */
function backwards(text: string): string {
  const units = Buffer.alloc(text.length * 2);
  for (let at = 0, end = units.length; at < text.length; ) {
    const size = (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
    end -= 2 * size;
    for (let i = 0; i < size; i += 1) units.writeUInt16LE(text.charCodeAt(at + i), end + 2 * i);
    at += size;
  }
  return units.toString("utf16le");
}

/** Runs of characters that no font shows, each of which stands for a byte. */
function smuggled(trigger: string, byteOf: (point: number) => number | undefined): Decoder {
  return {
    trigger,
    yields: "plain",
    decode: ({ text }) => {
      const found: Decoded[] = [];
      let bytes: number[] = [];
      let start = 0;
      for (let at = 0, end = 0; at <= text.length; at = end) {
        const point = text.codePointAt(at) ?? 0;
        const byte = byteOf(point);
        end = at + (point > 0xffff ? 2 : 1);
        if (byte !== undefined) {
          if (bytes.length === 0) start = at;
          bytes.push(byte);
        } else if (bytes.length > 0) {
          const piece = bytes.length < 4 ? undefined : fromUtf8(Uint8Array.from(bytes));
          if (piece !== undefined) found.push({ text: piece, source: { start, end: at } });
          bytes = [];
        }
      }
      return found;
    },
  };
}
/** The tag block repeats ASCII at U+E0000. */
const tags = smuggled("[\\x{e0000}-\\x{e007f}]", (point) =>
  point >= 0xe0000 && point <= 0xe007f ? point & 0x7f : undefined,
);
/** 256 variation selectors: U+FE00 to U+FE0F, then U+E0100 to U+E01EF. */
const selectors = smuggled("[\\x{fe00}-\\x{fe0f}\\x{e0100}-\\x{e01ef}]{4}", (point) => {
  if (point >= 0xfe00 && point <= 0xfe0f) return point - 0xfe00;
  return point >= 0xe0100 && point <= 0xe01ef ? point - 0xe0100 + 16 : undefined;
});

/** Text between two marks, of which the first is a pattern and the second a literal. */
function between(
  opening: string,
  closing: string,
  offset: (text: string, end: number) => number,
): Decoder {
  const openings = pattern(opening);
  return {
    trigger: opening,
    yields: "plain",
    *decode(subject) {
      const { text } = subject;
      let done = 0;
      for (const span of openings.each(subject, PIECES)) {
        const start = offset(text, span.end);
        if (start < done || start >= text.length) continue;
        const close = text.indexOf(closing, start);
        done = close < 0 ? text.length : close;
        yield { text: text.slice(start, done), source: { start, end: done } };
      }
    },
  };
}
const comments = between("<!--", "-->", (_, end) => end);
const TAG_LIMIT = 1_000;
const unseen = between(
  "(?i)display\\s*:\\s*none|visibility\\s*:\\s*hidden|(?:font-size|opacity)\\s*:\\s*0(?:[^.0-9]|$)|color\\s*:\\s*(?:#fff\\b|#ffffff|white|transparent)",
  "</",
  (text, end) => {
    const close = text.slice(end, end + TAG_LIMIT).indexOf(">");
    return close < 0 ? text.length : end + close + 1;
  },
);

export const DECODERS: readonly Decoder[] = [
  tags,
  selectors,
  comments,
  unseen,
  base64,
  hex,
  binary,
  percent,
  escapes,
  spaced,
  turned,
  reversed,
];
