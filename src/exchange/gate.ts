/**
 * A request that is judged once and whole, in front of a proxy that can only let it pass or refuse it
 * (envoy.service.auth.v3). What would have to be changed is refused; what is answered is never seen, and the
 * records say so.
 */
import type { DecisionId } from "../core/brand.ts";
import { ruleId } from "../core/brand.ts";
import type { EffectivePolicy } from "../core/policy.ts";
import type { Reason } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { dialectFor } from "../llm/registry.ts";
import { codingOf } from "./body.ts";
import { pathOf, upstreamEdits } from "./heads.ts";
import type { Hold } from "./hold-budget.ts";
import type { LocalReply, RequestHead } from "./http.ts";
import { actionOf, Ledger, type LedgerDeps } from "./ledger.ts";
import { refuse } from "./refuse.ts";
import {
  type Admission,
  judgeHead,
  judgeRequest,
  type RequestDecision,
  undecided,
  unread,
} from "./request.ts";

export type GateDeps = LedgerDeps &
  Admission & {
    readonly hold: Pick<Hold, "judging">;
  };

/** What the proxy shows of the body: nothing, its beginning, or all of it. */
export type ShownBody =
  | { readonly kind: "hidden" }
  | { readonly kind: "partial" }
  | { readonly kind: "whole"; readonly bytes: Uint8Array };

export type GateRequest = { readonly head: RequestHead; readonly body: ShownBody };

export type GateReply =
  | {
      readonly kind: "pass";
      readonly id: DecisionId;
      /** Why it passes although it could not be judged, if so. */
      readonly reason: Reason | undefined;
      /** Names of request headers that must not go upstream. */
      readonly removeHeaders: readonly string[];
    }
  | {
      readonly kind: "refuse";
      readonly id: DecisionId;
      readonly decision: "ask" | "deny";
      readonly reason: Reason;
      readonly reply: LocalReply;
    };

/**
 * Both records are durable when it resolves, or the reply is a refusal.
 * @param gone aborted when nobody waits for the reply any more
 */
export async function passGate(
  request: GateRequest,
  deps: GateDeps,
  gone: AbortSignal,
): Promise<GateReply> {
  const { head, body } = request;
  const ledger = new Ledger(deps);
  const dialect = dialectFor(head.method, pathOf(head.path));
  const byHead = judgeHead(head, dialect, deps);
  const judged =
    byHead.kind === "decided"
      ? byHead.decision
      : await judgeBody(request, { dialect, policy: byHead.policy }, { deps, signal: gone });
  // Of what was given up and not judged in full nothing is decided: its record says that it broke off.
  const isGivenUp = gone.aborted && judged.cause !== undefined;
  const decision = isGivenUp ? undecided("aborted") : unchanging(judged);
  const facts = {
    decision,
    action: isGivenUp ? "failed_closed" : actionOf(decision),
    bytes: byHead.kind === "read" && body.kind === "whole" ? body.bytes.length : 0,
    dialect: dialect?.id ?? "none",
    route: head.route,
    digest: deps.policies.digest,
  } as const;
  const durable = await ledger.decide(facts, "unseen");
  const { verdict } = decision;
  const { id } = ledger;
  if (durable && !isGivenUp && verdict.kind === "allow") {
    const { remove } = upstreamEdits(head);
    return { kind: "pass", id, reason: decision.cause, removeHeaders: remove };
  }
  const found = verdict.kind === "allow" ? judged.cause : verdict.reason;
  const reason = durable && found !== undefined ? found : "audit_unavailable";
  const word = durable && verdict.kind === "ask" ? "ask" : "deny";
  return { kind: "refuse", id, decision: word, reason, reply: refuse(reason, id, dialect) };
}

async function judgeBody(
  { head, body }: GateRequest,
  { dialect, policy }: { readonly dialect: Dialect | undefined; readonly policy: EffectivePolicy },
  { deps, signal }: { readonly deps: GateDeps; readonly signal: AbortSignal },
): Promise<RequestDecision> {
  const { route, identity } = head;
  const path = pathOf(head.path);
  if (dialect === undefined) return unread("unknown_shape", policy);
  // What is judged must be what the provider reads, and a gate cannot send on what it has decoded.
  if (codingOf(head.headers) !== "identity") return unread("encoded_body", policy);
  switch (body.kind) {
    case "hidden":
      return unread("body_not_shown", policy);
    case "partial":
      return unread("body_too_large", policy);
    case "whole": {
      const { bytes } = body;
      const { policies, clock } = deps;
      const { judging } = deps.hold;
      const facts = { dialect, policies, route, path, identity };
      return judgeRequest({ ...facts, bytes, clock, signal, judging });
    }
  }
}

/** What a gate can enforce of a decision: no other body than the one that came can go upstream. */
function unchanging(decision: RequestDecision): RequestDecision {
  const { verdict } = decision;
  if (verdict.kind !== "mutate") return decision;
  const { reason } = verdict;
  return {
    ...decision,
    verdict: { kind: "deny", reason, rule: ruleId("gate.no_change") },
    cause: undefined,
    body: undefined,
  };
}
