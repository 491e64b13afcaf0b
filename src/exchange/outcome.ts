/** What became of a response, in the words of its record. */
import { label } from "../core/brand.ts";
import { type Cause, isCause } from "../core/cause.ts";
import type { Coverage, Outcome } from "../core/record.ts";
import type { Reason } from "../core/verdict.ts";
import type { ResponseDecision } from "./buffered.ts";
import { responseControls } from "./evidence.ts";
import type { OutcomeFacts } from "./ledger.ts";
import type { LiveEvidence } from "./live.ts";

/** Nothing is known of the model's name beyond what the policy prints. */
type Known = { readonly judgedMs: number; readonly printable: ReadonlySet<string> };

export function wholeFacts(answer: ResponseDecision, judgedMs: number): OutcomeFacts {
  return {
    served: answer.served,
    controls: responseControls(answer, judgedMs),
    findings: answer.findings,
    tools: answer.tools,
    coverage: readAll(answer.media),
  };
}

export function liveFacts(evidence: LiveEvidence, { judgedMs, printable }: Known): OutcomeFacts {
  const { findings, tools, media, opened, model } = evidence;
  const served = model === undefined ? {} : { served: label(model.reveal(), printable) };
  return {
    ...served,
    controls: responseControls(evidence, judgedMs),
    findings,
    tools,
    coverage: opened === undefined ? readAll(media) : { state: "partial", cause: opened },
  };
}

/** What was enforced on a stream that ran to its end; undefined: what the request's decision said. */
export function liveAction(evidence: LiveEvidence): Outcome | undefined {
  if (evidence.opened !== undefined) return "failed_open";
  if (evidence.providerFailed) return "provider_error";
  const refusedCall = evidence.tools.some(({ verdict }) => verdict !== "allow");
  return evidence.mutation !== undefined || refusedCall ? "mutated" : undefined;
}

/** A control's refusal is a denial; a cause means that Limen could not tell. */
export const refusedAction = (reason: Reason): Outcome =>
  isCause(reason) ? "failed_closed" : "denied";

export const unreadBy = (cause: Cause): Coverage => ({ state: "none", cause });

const readAll = (media: boolean): Coverage =>
  media ? { state: "partial", cause: "media_not_inspected" } : { state: "full" };
