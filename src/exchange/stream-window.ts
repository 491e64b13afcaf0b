/**
 * The bounded hold-back of one text channel of a stream. Text goes in as it arrives; what comes out is how far
 * it may leave and where it is redacted. It holds text only from the start of the earliest open candidate.
 *
 * What it cannot redact: a finding that begins in text already released. That can only happen after `flush`,
 * when a channel goes on although its dialect took it for ended; such a finding refuses the stream.
 */
import { CONTEXT_UNITS, type TextControl, type TextJudgement } from "../core/control.ts";
import type { Span } from "../core/segment.ts";
import type { Reason } from "../core/verdict.ts";
import type { FindingTally } from "./evidence.ts";

/** An open candidate up to this long is looked at with every piece of text. */
const EAGER_UNITS = 512;

/** Channel offsets. */
export type PlacedRedaction = {
  readonly span: Span;
  readonly replacement: string;
  readonly reason: Reason;
};

/** Where the windows of one stream put what they find. */
export type WindowReport = { readonly findings: FindingTally; refusal: Reason | undefined };

export class StreamWindow {
  readonly #control: TextControl;
  readonly #report: WindowReport;
  /** Text from `#base` on: left context, then what is not settled yet. */
  #text = "";
  /** Channel offset of `#text[0]`. */
  #base = 0;
  /** Channel offsets. Everything before `#judged` is settled, everything before `#released` may leave. */
  #judged = 0;
  #released = 0;
  /** Length at the last look. */
  #scanned = 0;
  /** Length at the last flush, so that flushing twice judges once. */
  #flushed = 0;
  /** In order; those that have left are dropped by `redactionsIn`. */
  readonly #redactions: PlacedRedaction[] = [];
  /** How many of them have left for good. */
  #left = 0;

  constructor(control: TextControl, report: WindowReport) {
    this.#control = control;
    this.#report = report;
  }

  /** Channel offset up to which text may leave. */
  get released(): number {
    return this.#released;
  }

  /** Units seen so far. */
  get length(): number {
    return this.#base + this.#text.length;
  }

  push(text: string): void {
    this.#text += text;
    // Each look reads all that is open: while that is long, look again when an eighth of it is new.
    const held = this.#scanned - this.#released;
    if (held < EAGER_UNITS || (this.length - this.#scanned) * 8 >= held) this.look();
  }

  /** Settles all that can be settled now. */
  look(): void {
    if (this.#scanned === this.length) return;
    this.#scanned = this.length;
    const { judged, held } = this.#judge("more");
    this.#judged = Math.max(this.#judged, this.#base + judged);
    this.#released = Math.max(this.#released, this.#base + held);
    this.#trim();
  }

  /** No more text is expected: what waits is judged as it stands and may leave. */
  flush(): void {
    if (this.#flushed === this.length) return;
    this.#judge("ended");
    this.#scanned = this.length;
    this.#flushed = this.length;
    this.#released = this.length;
    this.#trim();
  }

  /** Redactions that touch `[start, end)`; asked in order, so earlier ones are forgotten. */
  redactionsIn(start: number, end: number): readonly PlacedRedaction[] {
    let first = this.#redactions[this.#left];
    while (first !== undefined && first.span.end <= start) {
      this.#left += 1;
      first = this.#redactions[this.#left];
    }
    let last = this.#left;
    while ((this.#redactions[last]?.span.start ?? end) < end) last += 1;
    const found = this.#redactions.slice(this.#left, last);
    if (this.#left > 1_024) {
      this.#redactions.splice(0, this.#left);
      this.#left = 0;
    }
    return found;
  }

  #judge(rest: "more" | "ended"): TextJudgement {
    const from = this.#judged - this.#base;
    const judged = this.#control.judgeText(this.#text, from, rest);
    // What ends before the last flush was reported by it.
    const isNew = (span: Span): boolean => span.end + this.#base > this.#flushed;
    this.#report.findings.add(judged.findings.filter(({ span }) => isNew(span)));
    const { verdict } = judged;
    if (verdict.kind === "deny") this.#report.refusal ??= verdict.reason;
    if (verdict.kind !== "mutate") return judged;
    for (const { span, replacement } of verdict.redactions) {
      if (!isNew(span)) continue;
      const placed = { start: span.start + this.#base, end: span.end + this.#base };
      if (placed.start < this.#released) this.#report.refusal ??= verdict.reason;
      this.#redactions.push({ span: placed, replacement, reason: verdict.reason });
    }
    return judged;
  }

  #trim(): void {
    const keepFrom = Math.min(this.#judged, this.#released) - CONTEXT_UNITS;
    // Twice the context before cutting: a slice per small delta would copy the context every time.
    if (keepFrom - this.#base < CONTEXT_UNITS) return;
    this.#text = this.#text.slice(keepFrom - this.#base);
    this.#base = keepFrom;
  }
}
