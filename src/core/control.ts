/**
 * The interfaces that ingress, egress and action implement and the exchange calls. Responses are judged at once, a
 * request may wait for a detector on other threads, and for its turn; a throw is a bug, unless nobody waits any more,
 * and becomes the cause `detector_error`.
 */
import type { RuleId } from "./brand.ts";
import type { Cause } from "./cause.ts";
import type { Execution, InferenceRequest, ToolCall } from "./inference.ts";
import type { Span } from "./segment.ts";
import type { Pace } from "./steps.ts";
import type { Judged, Reason, Verdict } from "./verdict.ts";

export type JudgeContext = Pace & {
  /** Whose earlier results may be used again: a digest of who sends, which says nothing of who that is. */
  readonly scope: string;
  /** Monotonic milliseconds. What is not judged by then stays unjudged: `detector_timeout`. */
  readonly until: number;
};

/** With `cause` not all of the request could be judged; verdict and findings are of the rest. */
export type RequestJudgement = Judged<Verdict> & { readonly cause?: Cause };

/** Judges a request before it reaches the model. Implemented by ingress and action. */
export interface RequestControl {
  judgeRequest(request: InferenceRequest, context: JudgeContext): Promise<RequestJudgement>;
}

/** One control's answer about output text. Redactions are in order and do not overlap. */
export type TextVerdict =
  | { readonly kind: "allow" }
  | {
      readonly kind: "mutate";
      readonly reason: Reason;
      /** The rule behind the first redaction. */
      readonly rule: RuleId;
      readonly redactions: readonly { readonly span: Span; readonly replacement: string }[];
    }
  | { readonly kind: "deny"; readonly reason: Reason; readonly rule: RuleId };

/**
 * How far a text is settled: what may follow cannot change what stands before `judged`, and nothing before `held`
 * would be redacted or denied by it. `held` >= `judged`: a detector that only flags keeps its candidate open for
 * `judged` but holds nothing back. Both are the text's length when nothing is open.
 */
export type TextJudgement = Judged<TextVerdict> & {
  readonly judged: number;
  readonly held: number;
};

/**
 * Judges what a model says. The same answer buffered and streamed: a detector decides by its match,
 * by at most `CONTEXT_UNITS` of text to the left and by one character to the right.
 */
export interface TextControl {
  /**
   * Findings that start at or after `from`; what stands before is left context, already judged.
   * @param rest `ended`: no text follows, an open candidate at the end is judged as it stands; `more`: only findings
   *   that start before the answer's `judged` are reported, the rest comes when more text is there
   */
  judgeText(text: string, from: number, rest: "ended" | "more"): TextJudgement;
  /**
   * Judges the complete arguments of a call. They are not redacted, that would change what is done: a secret
   * refuses the call, personal data is recorded.
   */
  judgeArguments(args: string): Judged<TextVerdict>;
}

/** Left context that a stream window keeps, in UTF-16 units. */
export const CONTEXT_UNITS = 256;

export type CallVerdict =
  | { readonly kind: "allow"; readonly rule: RuleId }
  | { readonly kind: "ask" | "deny"; readonly reason: Reason; readonly rule: RuleId };

/** Judges tools by name, and calls that a model emitted. */
export interface CallControl {
  /** What the rules say of a tool, whatever its arguments. */
  judgeTool(name: string, execution: Execution, model: string): CallVerdict;
  judgeCall(call: ToolCall, model: string): CallVerdict;
}

/** What a policy compiles to, as the exchange sees it. */
export type Controls = {
  readonly ingress: RequestControl;
  readonly egress: TextControl;
  readonly action: RequestControl & CallControl;
};
