/** Judges complete calls of a model: the action control on the call, the egress control on its text. */
import { type Label, label } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { CallVerdict } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import type { ToolCall } from "../core/inference.ts";
import type { EffectivePolicy } from "../core/policy.ts";
import type { ToolEntry } from "../core/record.ts";
import type { Reason } from "../core/verdict.ts";
import type { HoldBudget } from "./hold-budget.ts";

/** What calls are judged with: fixed for an exchange. */
export type CallJudge = {
  readonly policy: EffectivePolicy;
  readonly printable: ReadonlySet<string>;
  readonly model: string;
  readonly decisionId: string;
  readonly clock: Clock;
  readonly hold: HoldBudget;
};

export type JudgedCall = {
  /** What stands in the call's place; undefined when it may pass. */
  readonly sentence: string | undefined;
  /** Set when the call cannot be taken out and its text may not pass: the whole response is refused. */
  readonly refusal: Reason | undefined;
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

/**
 * @param form `complete`; `cut`: the call is let go without its end because the policy opens the cause, so only its
 *   tool can be judged
 */
export function judgeCall(
  call: ToolCall,
  judge: CallJudge,
  form: "complete" | "cut" = "complete",
): JudgedCall {
  const { action, egress } = judge.policy.controls;
  const started = judge.clock.monotonicMs();
  const name = call.name.reveal();
  const byName = (): CallVerdict => action.judgeTool(name, call.execution, judge.model);
  let verdict = form === "cut" ? byName() : action.judgeCall(call, judge.model);
  if (verdict.kind !== "allow" && verdict.reason === "malformed_arguments") {
    // Opened by policy: what the rules say of the tool, whatever its arguments.
    if (judge.policy.settings.failure.malformed_arguments === "allow") verdict = byName();
  }
  // A model chooses names as freely as arguments.
  const text = egress.judgeArguments(`${name}\n${call.args.reveal()}`);
  if (verdict.kind === "allow" && text.verdict.kind === "deny") verdict = text.verdict;
  const printed = label(name, judge.printable);
  const judged = {
    entry: toolEntry(printed, verdict, "call"),
    findings: text.findings,
    ms: judge.clock.monotonicMs() - started,
    sentence: undefined,
    refusal: undefined,
  };
  if (verdict.kind === "allow") return judged;
  if (call.execution === "provider") {
    // It has run and its result is there: it can only be recorded, and kept back if its text is the problem.
    return { ...judged, refusal: text.verdict.kind === "deny" ? text.verdict.reason : undefined };
  }
  const tool = printed === "other" ? "a tool" : printed;
  const why = `${verdict.reason} (decision ${judge.decisionId})`;
  return { ...judged, sentence: `[The call to ${tool} was refused: ${why}]` };
}
