/**
 * What a text says in another writing: encodings, escapes, invisible alphabets, markup that no reader sees.
 * Each decoder has a trigger that stands in the text wherever it could find something. A decoder guesses where
 * an encoding stands; `normalise.ts` keeps only what reads like language.
 */
import { ALNUM } from "./ascii.ts";
import { base64Pieces } from "./disguise/base64-pieces.ts";
import { binary, escapes, hex, numbers, quoted, scattered } from "./disguise/codes.ts";
import {
  type Decoded,
  type Decoder,
  fromUtf8,
  inOne,
  needing,
  PIECES,
  piecewise,
} from "./disguise/decoder.ts";
import { apart } from "./disguise/letters.ts";
import { morse } from "./disguise/morse.ts";
import { pattern } from "./re2.ts";
import { rot13 } from "./rot13.ts";

/** Letters before it, the `n` of an escaped line break for one, look like a part of it: each of the four ways to begin. */
const base64 = needing(
  { of: `${ALNUM}+/_-`, length: 22 },
  piecewise(
    "source",
    "[A-Za-z0-9+/_-]{22,}={0,2}",
    ...[0, 1, 2, 3].map((skipped) =>
      inOne((piece) => fromUtf8(Buffer.from(piece.slice(skipped), "base64"))),
    ),
  ),
);

/** `%69`: a run of text with at least three of them. */
const percent = piecewise(
  "source",
  "[^\\s\"'<>%]*(?:%[0-9A-Fa-f]{2}[^\\s\"'<>%]*){3,}",
  inOne((piece) => {
    try {
      return decodeURIComponent(piece.replaceAll("+", " "));
    } catch {
      return undefined;
    }
  }),
);

/** Whole texts, read only when a common word or one of instructions stands in them in that writing. */
function whole(trigger: string, read: (text: string) => string): Decoder {
  return {
    trigger,
    reads: "source",
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
    reads: "source",
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
    reads: "source",
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
  base64Pieces,
  hex,
  binary,
  numbers,
  percent,
  escapes,
  quoted,
  scattered,
  apart,
  morse,
  turned,
  reversed,
];
