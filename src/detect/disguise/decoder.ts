/** What a decoder is, and the two commonest ways to make one. */
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { pattern, type Subject } from "../re2.ts";

export type Decoded = { readonly text: string; readonly source: Span };
export type Decoder = {
  /** Stands in the text wherever the decoder could find something. */
  readonly trigger: string;
  /** The text as it came, or with its look-alike characters read as plain ones. */
  readonly reads: "source" | "folded";
  /** `plain`: what comes out was in the text as it is, only out of sight; the rest must prove to be language. */
  readonly yields: "plain" | "encoded";
  /** Each piece is decoded when it is asked for; undefined: a step of looking for one, which may go on for long. */
  decode(subject: Subject): Iterable<Decoded | undefined>;
};

/** Pieces looked at per text and decoder; the total is bounded by the caller's work limit. */
export const PIECES = 4_096;

const utf8 = new TextDecoder("utf-8", { fatal: true });
export function fromUtf8(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

type Read = (piece: string) => Steps<string | undefined>;

/** A reading of one step. */
export const inOne = (read: (piece: string) => string | undefined): Read =>
  function* (piece) {
    yield;
    return read(piece);
  };

/** A decoder for pieces that a pattern finds one by one. */
export function piecewise(
  reads: Decoder["reads"],
  source: string,
  ...readings: readonly Read[]
): Decoder {
  const pieces = pattern(source);
  return {
    trigger: source,
    reads,
    yields: "encoded",
    *decode(subject) {
      for (const span of pieces.each(subject, PIECES)) {
        const piece = subject.text.slice(span.start, span.end);
        for (const read of readings) {
          const text = yield* read(piece);
          if (text !== undefined) yield { text, source: span };
        }
      }
    },
  };
}
