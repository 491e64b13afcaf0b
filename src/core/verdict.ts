import type { RuleId } from "./brand.ts";
import type { Cause } from "./cause.ts";
import type { Finding } from "./finding.ts";
import type { Span } from "./segment.ts";

/** Why a control refused. Clients read it as `error.code`; causes are reasons too. */
export const REASONS = [
  "injection_detected",
  "secret_detected",
  "pii_detected",
  "prompt_leak",
  "context_leak",
  "exfiltration",
  "action_denied",
  "approval_required",
  "model_denied",
] as const;
export type Reason = (typeof REASONS)[number] | Cause;

/** In segment number `segment`, `span` of its decoded text becomes `replacement` (plain text). */
export type Redaction = {
  readonly segment: number;
  readonly span: Span;
  readonly replacement: string;
};

/** One control's answer about a request. */
export type Verdict =
  | { readonly kind: "allow" }
  | {
      readonly kind: "mutate";
      readonly reason: Reason;
      readonly redactions: readonly Redaction[];
      /** `ToolDefinition.index` of definitions to take out. */
      readonly stripTools: readonly number[];
    }
  | { readonly kind: "ask"; readonly reason: Reason; readonly rule: RuleId }
  | { readonly kind: "deny"; readonly reason: Reason; readonly rule: RuleId };

export const ALLOW: Verdict = { kind: "allow" };

const RANK = { allow: 0, mutate: 1, ask: 2, deny: 3 } as const;

/**
 * The strictest of verdicts; mutations become one. Its kind does not depend on order. One pass: a client chooses how
 * many segments, and so how many verdicts, there are.
 */
export function strictest(verdicts: readonly Verdict[]): Verdict {
  let strict: Verdict = ALLOW;
  const redactions: Redaction[] = [];
  const stripTools: number[] = [];
  for (const verdict of verdicts) {
    if (RANK[verdict.kind] > RANK[strict.kind]) strict = verdict;
    if (verdict.kind !== "mutate") continue;
    for (const redaction of verdict.redactions) redactions.push(redaction);
    for (const index of verdict.stripTools) stripTools.push(index);
  }
  return strict.kind === "mutate" ? { ...strict, redactions, stripTools } : strict;
}

/** A verdict with the evidence it rests on, flagged or not. */
export type Judged<V> = { readonly verdict: V; readonly findings: readonly Finding[] };
