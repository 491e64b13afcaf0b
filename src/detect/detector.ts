/**
 * What the output detectors have in common. A detector is a local rule: whether something is found at a
 * position depends on the text from there on and on at most `CONTEXT_UNITS` before it, never on what was
 * found elsewhere. That is what makes a stream give the same findings as the whole text, however it is cut.
 */

import type { RuleId } from "../core/brand.ts";
import { CONTEXT_UNITS } from "../core/control.ts";
import type { FindingKind } from "../core/finding.ts";
import type { Span } from "../core/segment.ts";
import type { Steps } from "../core/steps.ts";
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
  const triggered = triggeredBy(rows);
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
    const awake = rest === "more" ? unfinished(text, from) : triggered(contextOf(text, from));
    for (const row of awake) {
      const scan = row.detector.scan(whole, from);
      for (const span of scan.found) hits.push({ ...row, span });
      if (rest === "more" && scan.open < text.length) open.push({ ...row, start: scan.open });
    }
    return { hits: hits.sort(byPlace), open };
  };
}

/** The hits of a whole text, in steps. */
export function wholeSweeper<R extends Row>(
  rows: readonly R[],
): (text: string) => Steps<readonly Hit<R>[]> {
  const triggered = triggeredBy(rows);
  return function* (text) {
    const hits: Hit<R>[] = [];
    for (const row of triggered(new Subject(text))) {
      yield;
      yield* scanInSteps(row, text, hits);
    }
    return hits.sort(byPlace);
  };
}

/** Units read in one step: longer than candidates are. */
const STEP = 65_536;

/** A whole text as a stream of pieces: what one leaves open is read again with the next. */
function* scanInSteps<R extends Row>(row: R, text: string, hits: Hit<R>[]): Steps<void> {
  let covered = 0;
  let size = STEP;
  for (let from = 0; from < text.length; ) {
    const base = Math.max(0, from - CONTEXT_UNITS);
    const stop = Math.min(from + size, text.length);
    const isLast = stop === text.length;
    const piece = text.slice(base, stop);
    const scan = row.detector.scan(isLast ? piece + END : piece, from - base);
    for (const span of scan.found) {
      const end = base + span.end;
      if (end <= covered) continue;
      covered = end;
      hits.push({ ...row, span: { start: base + span.start, end } });
    }
    const next = isLast ? stop : base + scan.open;
    size = next > from ? STEP : 2 * size;
    from = next;
    yield;
  }
}

/** The detectors whose triggers a text pulls. */
function triggeredBy<R extends Row>(rows: readonly R[]): (subject: Subject) => readonly R[] {
  const triggers = patternSet(rows.map(({ detector }) => detector.trigger));
  return (subject) => triggers.matching(subject).flatMap((index) => rows[index] ?? []);
}

const byPlace = (a: { readonly span: Span }, b: { readonly span: Span }): number =>
  a.span.start - b.span.start || b.span.end - a.span.end;

/** A trigger may stand in the left context ("social security number: "), not further away. */
function contextOf(text: string, from: number): Subject {
  return new Subject(from > CONTEXT_UNITS ? text.slice(from - CONTEXT_UNITS) : text);
}
