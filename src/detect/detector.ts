/**
 * What the output detectors have in common. A detector is a local rule: whether something is found at a
 * position depends on the text from there on and on at most `CONTEXT_UNITS` before it, never on what was
 * found elsewhere. That is what makes a stream give the same findings as the whole text, however it is cut.
 */

import type { RuleId } from "../core/brand.ts";
import { CONTEXT_UNITS } from "../core/control.ts";
import type { FindingKind } from "../core/finding.ts";
import type { Span } from "../core/segment.ts";
import { literalSearch } from "./literals.ts";
import { patternSet, Subject } from "./re2.ts";

/** Answers of a reader: no match starts here, whatever follows; or the text ends before that is known. */
export const NONE = -1;
export const OPEN = -2;

/** Tries a match that starts exactly at `start`: its end, `NONE` or `OPEN`. */
export type Read = (text: string, start: number) => number;

export type Scan = {
  readonly found: readonly Span[];
  /** Start of the earliest candidate that reaches the end of the text; `text.length` when there is none. */
  readonly open: number;
};

export interface Detector {
  readonly rule: RuleId;
  readonly kind: FindingKind;
  /** RE2: a text that it does not match holds no finding. */
  readonly trigger: string;
  /** ASCII literals; each candidate, finished or open, begins with one. Absent: it may begin with anything. */
  readonly prefixes?: readonly string[];
  /** Everything that starts at or after `from`. */
  scan(text: string, from: number): Scan;
}

/** Structured detectors do not guess: a checked match is certain, and there is nothing to calibrate. */
export const CERTAIN = { score: 10_000, threshold: 5_000 } as const;

/** Reads at each of `starts` (ascending). A match inside one that began earlier is the same thing, not a second. */
export function scanAt(text: string, starts: Iterable<number>, read: Read): Scan {
  const found: Span[] = [];
  let covered = 0;
  for (const start of starts) {
    const end = read(text, start);
    // Later candidates wait with the first open one: they are read again when more text is there.
    if (end === OPEN) return { found, open: start };
    if (end === NONE || end <= covered) continue;
    covered = end;
    found.push({ start, end });
  }
  return { found, open: text.length };
}

/** A detector in the list of its user, who may keep there what is done with its findings. */
export type Row = { readonly detector: Detector };
export type Hit<R extends Row> = R & { readonly span: Span };
export type Sweep<R extends Row> = {
  /** Ordered by start, then by length (longest first). They may overlap. */
  readonly hits: readonly Hit<R>[];
  /** Open candidates, at most one for each detector. */
  readonly open: readonly (R & { readonly start: number })[];
};

/** Ends the text for readers: no alphabet of any detector has it. */
const END = "\0";

/** Compiles a list of detectors into one pass over a text. `ended`: no text follows, so nothing stays open. */
export function sweeper<R extends Row>(
  rows: readonly R[],
): (text: string, from: number, rest: "more" | "ended") => Sweep<R> {
  const triggers = patternSet(rows.map(({ detector }) => detector.trigger));
  const prefixed = literalSearch(rows.map(({ detector }) => detector.prefixes ?? []));
  /** The beginning of a candidate does not pull its trigger yet: what an unfinished text may go on to is read. */
  const unfinished = (text: string, from: number): readonly R[] => {
    const begun = prefixed(text, from);
    return rows.filter(({ detector }, at) => detector.prefixes === undefined || begun[at] === 1);
  };
  return (text, from, rest) => {
    const hits: Hit<R>[] = [];
    const open: (R & { start: number })[] = [];
    const whole = rest === "ended" ? text + END : text;
    const awake =
      rest === "more"
        ? unfinished(text, from)
        : triggers.matching(contextOf(text, from)).flatMap((index) => rows[index] ?? []);
    for (const row of awake) {
      const scan = row.detector.scan(whole, from);
      for (const span of scan.found) hits.push({ ...row, span });
      if (rest === "more" && scan.open < text.length) open.push({ ...row, start: scan.open });
    }
    hits.sort((a, b) => a.span.start - b.span.start || b.span.end - a.span.end);
    return { hits, open };
  };
}

/** A trigger may stand in the left context ("social security number: "), not further away. */
function contextOf(text: string, from: number): Subject {
  return new Subject(from > CONTEXT_UNITS ? text.slice(from - CONTEXT_UNITS) : text);
}
