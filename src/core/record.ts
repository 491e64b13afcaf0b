/**
 * What is written about an exchange. Values are numbers, booleans and printable strings; there is no
 * field that could take content. `audit/leaf.ts` adds version, sequence, time and origin.
 */
import { type DecisionId, type Label, ownLabel, type RuleId } from "./brand.ts";
import type { Cause } from "./cause.ts";
import type { FindingKind } from "./finding.ts";
import type { DialectId } from "./inference.ts";
import type { Reason } from "./verdict.ts";

/** What was enforced. */
export const OUTCOMES = [
  "allowed",
  "mutated",
  "asked",
  "denied",
  "failed_closed",
  "failed_open",
  "bypassed",
  "provider_error",
  "local_reply",
  "not_inference",
  "unknown_crash",
] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** What was inspected of one direction. */
export type Coverage = {
  readonly state: "full" | "partial" | "none";
  readonly cause?:
    | Cause
    | "not_inference"
    | "no_response"
    | "response_not_seen"
    | "aborted"
    | "local_reply"
    | "observed"
    | "provider_error";
};

export type FindingCount = {
  readonly rule: RuleId;
  readonly kind: FindingKind;
  readonly count: number;
  readonly disposition: "blocked" | "masked" | "delivered";
};

export type ControlEntry = {
  readonly layer: "ingress" | "egress" | "action";
  readonly verdict: "allow" | "mutate" | "ask" | "deny";
  readonly reason?: Reason;
  readonly rule?: RuleId;
  readonly us: number;
};

export type ToolEntry = {
  /** The tool's name if the policy names it, else "other": models and clients choose names. */
  readonly name: Label;
  readonly verdict: "allow" | "ask" | "deny" | "strip";
  readonly reason?: Reason;
  readonly rule: RuleId;
  readonly phase: "declared" | "history" | "call";
};

/** What was decided, and what was enforced. */
type RecordVerdict = {
  /** `error`: it could not be judged as usual; `reason` is the cause. */
  readonly decision: "allow" | "mutate" | "ask" | "deny" | "error";
  readonly action: Outcome;
  readonly reason?: Reason;
  readonly http_status?: number;
};

/** What looks for injections: the digest of the learned detector's manifest, or `rules` where it is switched off. */
export type DetectorEntry = { readonly injection: Label };
export const RULES_ALONE: DetectorEntry = { injection: ownLabel("rules") };

export type DecisionRecord = {
  readonly type: "request.decision";
  readonly id: DecisionId;
  readonly dialect: DialectId | "none";
  readonly source: { readonly route: Label };
  readonly model: { readonly requested: Label };
  readonly policy: { readonly digest: Label; readonly names: readonly Label[] };
  readonly detector: DetectorEntry;
  readonly input: { readonly bytes: number; readonly segments: number };
  readonly controls: readonly ControlEntry[];
  readonly findings: readonly FindingCount[];
  readonly tools: readonly ToolEntry[];
  readonly verdict: RecordVerdict;
  readonly coverage: { readonly request: Coverage };
  readonly timing: { readonly verdict_us: number };
};

export type OutcomeRecord = {
  readonly type: "response.outcome";
  readonly id: DecisionId;
  readonly refs: { readonly decision: DecisionId };
  readonly dialect: DialectId | "none";
  readonly model: { readonly served: Label };
  readonly controls: readonly ControlEntry[];
  readonly findings: readonly FindingCount[];
  readonly tools: readonly ToolEntry[];
  readonly verdict: RecordVerdict;
  readonly output: {
    readonly bytes: number;
    readonly released_bytes: number;
    readonly streamed: boolean;
    readonly aborted: boolean;
  };
  readonly coverage: { readonly response: Coverage };
  readonly timing: { readonly total_us: number; readonly audit_wait_us: number };
};

/** Records of the log about itself: start, policy changes, recovery, signs of life, end. */
type SystemRecord =
  | { readonly type: "genesis"; readonly build: Label; readonly key: Label }
  | {
      readonly type: "config.activated";
      readonly digest: Label;
      readonly names: readonly Label[];
      readonly detector: DetectorEntry;
    }
  | {
      readonly type: "recovery";
      readonly bytes: number;
      readonly sha256: Label;
      readonly dangling: number;
    }
  | { readonly type: "heartbeat" }
  | { readonly type: "close" };

export type ExchangeRecord = DecisionRecord | OutcomeRecord;
export type AuditRecord = ExchangeRecord | SystemRecord;

/** The audit log as the exchange sees it. */
export interface Recorder {
  /**
   * Queues `records`, in this order, for one commit. Resolves true when all are durable (fdatasync), false
   * when the log cannot take them: full queue, disk error, deadline. Never rejects.
   */
  append(records: readonly AuditRecord[]): Promise<boolean>;
}
