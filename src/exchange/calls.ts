/** Judges complete calls of a model: the action control on the call, the egress control on its arguments. */
import type { Label } from "../core/brand.ts";
import { label } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { CallVerdict } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import type { ToolCall } from "../core/inference.ts";
import type { EffectivePolicy } from "../core/policy.ts";
import type { ToolEntry } from "../core/record.ts";

/** What calls are judged with: fixed for an exchange. */
export type CallJudge = {
  readonly policy: EffectivePolicy;
  readonly printable: ReadonlySet<string>;
  readonly model: string;
  readonly decisionId: string;
  readonly clock: Clock;
};

export type JudgedCall = {
  /** What stands in the call's place; undefined when it may pass. */
  readonly sentence: string | undefined;
  readonly entry: ToolEntry;
  readonly findings: readonly Finding[];
  readonly ms: number;
};

export const toolEntry = (
  name: Label,
  verdict: CallVerdict,
  phase: ToolEntry["phase"],
): ToolEntry => ({
  name,
  verdict: verdict.kind,
  rule: verdict.rule,
  phase,
  ...(verdict.kind === "allow" ? {} : { reason: verdict.reason }),
});

/** A provider ran the call already: it cannot be taken back, only recorded. */
export function judgeCall(call: ToolCall, judge: CallJudge): JudgedCall {
  const { action, egress } = judge.policy.controls;
  const started = judge.clock.monotonicMs();
  let verdict: CallVerdict = action.judgeCall(call, judge.model);
  const text = egress.judgeArguments(call.args.reveal());
  const name = call.name.reveal();
  if (verdict.kind !== "allow" && verdict.reason === "malformed_arguments") {
    // Opened by policy: what the rules say of the tool, whatever its arguments.
    const open = judge.policy.settings.failure.malformed_arguments === "allow";
    if (open) verdict = action.judgeTool(name, call.execution, judge.model);
  }
  if (verdict.kind === "allow" && text.verdict.kind === "deny") verdict = text.verdict;
  const refused = verdict.kind !== "allow" && call.execution === "client";
  return {
    sentence:
      refused && verdict.kind !== "allow"
        ? `[The call to ${name.slice(0, 64)} was refused: ${verdict.reason} (decision ${judge.decisionId})]`
        : undefined,
    entry: toolEntry(label(name, judge.printable), verdict, "call"),
    findings: text.findings,
    ms: judge.clock.monotonicMs() - started,
  };
}
