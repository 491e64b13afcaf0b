/** What a decoder is, and the two commonest ways to make one. */
import { isUtf8 } from "node:buffer";
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { pattern, type Subject } from "../re2.ts";

export type Decoded = { readonly text: string; readonly source: Span };
export type Decoder = {
  /** Stands in the text wherever the decoder could find something. Patterns are looked for all at once. */
  readonly trigger: string | ((subject: Subject) => boolean);
  /** The text as it came, or with its look-alike characters read as plain ones. */
  readonly reads: "source" | "folded";
  /** `plain`: what comes out was in the text as it is, only out of sight; the rest must prove to be language. */
  readonly yields: "plain" | "encoded";
  /** Each piece is decoded when it is asked for; undefined: a step of looking for one, which may go on for long. */
  decode(subject: Subject): Iterable<Decoded | undefined>;
};

/** Pieces looked at per text and decoder; the total is bounded by the caller's work limit. */
export const PIECES = 4_096;

const utf8 = new TextDecoder("utf-8");
/** Asked first: what looks like base64 seldom is text, and a decoder that throws costs several times as much. */
export const fromUtf8 = (bytes: Uint8Array): string | undefined =>
  isUtf8(bytes) ? utf8.decode(bytes) : undefined;

type Read = (piece: string) => Steps<string | undefined>;

/** A reading of one step. */
export const inOne = (read: (piece: string) => string | undefined): Read =>
  function* (piece) {
    yield;
    return read(piece);
  };

/** So many ASCII characters of some in a row. */
type Run = { readonly of: string; readonly length: number };

/** Whether a text has the run: looked for from its end backwards, so that most bytes are passed over. */
export function runs({ of, length }: Run): (bytes: Uint8Array) => boolean {
  const members = new Uint8Array(256);
  for (const member of of) members[member.charCodeAt(0)] = 1;
  return (bytes) => {
    let known = 0;
    for (let start = 0; start + length <= bytes.length; ) {
      let at = start + length - 1;
      while (at >= known && members[bytes[at] ?? 0] === 1) at -= 1;
      if (at < known) return true;
      known = start + length;
      start = at + 1;
    }
    return false;
  };
}

type Piecewise = Decoder & { readonly trigger: string };

/**
 * The same decoder, its trigger looked for only where there is the run that it needs. Among the patterns that are
 * looked for at once, one that counts so far would multiply the states of all others.
 */
export function needing(run: Run, decoder: Piecewise): Decoder {
  const hasRun = runs(run);
  const sought = pattern(decoder.trigger);
  return { ...decoder, trigger: (subject) => hasRun(subject.bytes) && sought.test(subject) };
}

/** A decoder for pieces that a pattern finds one by one. */
export function piecewise(
  reads: Decoder["reads"],
  source: string,
  ...readings: readonly Read[]
): Piecewise {
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
