/** What controls said becomes rows of a record, without any content. */
import type { RuleId } from "../core/brand.ts";
import type { Finding } from "../core/finding.ts";
import type { ControlEntry, FindingCount, ToolEntry } from "../core/record.ts";
import type { Reason, Verdict } from "../core/verdict.ts";

/** Longest lists of a record: an entry of the log holds 65,535 bytes (C2SP tlog-tiles). */
const MAX_ROWS = 64;

/** Flagged findings by rule. It does not grow with them: a stream may have as many as its model writes. */
export class FindingTally {
  readonly #rows = new Map<RuleId, { readonly kind: Finding["kind"]; count: number }>();

  constructor(findings: readonly Finding[] = []) {
    this.add(findings);
  }

  add(findings: readonly Finding[]): void {
    for (const { rule, kind, score, threshold } of findings) {
      if (score < threshold) continue;
      const row = this.#rows.get(rule);
      if (row !== undefined) row.count += 1;
      else if (this.#rows.size < MAX_ROWS) this.#rows.set(rule, { kind, count: 1 });
    }
  }

  /** One row per rule; `disposition` is what happened to the texts. */
  rows(disposition: FindingCount["disposition"]): readonly FindingCount[] {
    return [...this.#rows].map(([rule, { kind, count }]) => ({ rule, kind, count, disposition }));
  }
}

/** The same tool with the same verdict is one row; names that the policy does not spell out are one name. */
export function distinctTools(entries: readonly ToolEntry[]): readonly ToolEntry[] {
  const rows = new Map<string, ToolEntry>();
  for (const entry of entries) {
    const key = `${entry.phase} ${entry.verdict} ${entry.rule} ${entry.name}`;
    if (rows.size < MAX_ROWS && !rows.has(key)) rows.set(key, entry);
  }
  return [...rows.values()];
}

/** What the two controls of a response came to. */
export type ResponseEvidence = {
  readonly tools: readonly ToolEntry[];
  /** Why the response, or the rest of it, was refused. */
  readonly refusal: Reason | undefined;
  /** Why text was changed. */
  readonly mutation: Reason | undefined;
  /** Time in the action control. */
  readonly actionMs: number;
};

/** @param ms time in both controls together */
export function responseControls(evidence: ResponseEvidence, ms: number): readonly ControlEntry[] {
  const { tools, refusal, mutation, actionMs } = evidence;
  const reason = refusal ?? mutation;
  const kind = refusal !== undefined ? "deny" : mutation !== undefined ? "mutate" : "allow";
  const micros = (value: number): number => Math.round(value * 1000);
  const egress: ControlEntry = {
    layer: "egress",
    verdict: kind,
    us: micros(Math.max(0, ms - actionMs)),
    ...(reason === undefined ? {} : { reason }),
  };
  if (tools.length === 0) return [egress];
  const worst = tools.find(({ verdict }) => verdict !== "allow") ?? tools[0];
  const action: ControlEntry = {
    layer: "action",
    verdict: worst === undefined || worst.verdict === "allow" ? "allow" : "deny",
    us: micros(actionMs),
    ...(worst?.reason === undefined ? {} : { reason: worst.reason }),
    ...(worst === undefined ? {} : { rule: worst.rule }),
  };
  return [egress, action];
}

export const controlEntry = (
  layer: ControlEntry["layer"],
  verdict: Verdict,
  us: number,
): ControlEntry => ({
  layer,
  verdict: verdict.kind,
  us,
  ...("reason" in verdict ? { reason: verdict.reason } : {}),
  ...("rule" in verdict ? { rule: verdict.rule } : {}),
});
