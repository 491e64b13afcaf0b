/**
 * One HTTP exchange as a state machine: Envoy's messages come in without their wire form, the reply to each goes
 * out. The decision is durable before the request is answered, the outcome before the reply that lets the last
 * of the response go (`ledger.ts`).
 *
 * Each direction is driven in order by its own caller; the two may interleave. A thrown error is a broken
 * invariant and fails the exchange closed.
 */
import { ownLabel } from "../core/brand.ts";
import { type Cause, isCause } from "../core/cause.ts";
import type { PolicySet } from "../core/policy.ts";
import type { Coverage, Outcome } from "../core/record.ts";
import { ALLOW, type Reason } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { refusalBody, refusalStatus } from "../llm/refusal.ts";
import { dialectFor } from "../llm/registry.ts";
import { judgeAnswer, judgeError, type ResponseDecision } from "./buffered.ts";
import type { CallJudge } from "./calls.ts";
import {
  isPassThrough,
  isUpgrade,
  openedAction,
  pathOf,
  requestCause,
  responseKind,
  upstreamEdits,
} from "./heads.ts";
import {
  type BodyChunk,
  type BodyReply,
  type HeaderEdits,
  type HeadersReply,
  type LocalReply,
  NO_HEADER_EDITS,
  type RequestHead,
  type ResponseHead,
} from "./http.ts";
import { Ledger, type LedgerDeps, type OutcomeFacts } from "./ledger.ts";
import { LiveResponse } from "./live.ts";
import { guarded, judgeRequest, type RequestDecision, unread } from "./request.ts";

export type ExchangeDeps = LedgerDeps & {
  /** Pinned: a reload affects the next exchange. */
  readonly policies: PolicySet;
  /** Why nothing new is taken on, if so. */
  readonly closed: Extract<Cause, "overloaded"> | undefined;
};

type Whole = { readonly kind: "whole"; readonly status: number; readonly form: "answer" | "error" };
type Live = { readonly kind: "live"; readonly status: number; readonly live: LiveResponse };

/** What the response direction is doing. Written by it alone. */
type ResponseState =
  | { readonly kind: "waiting" }
  | { readonly kind: "opaque" }
  | Whole
  | Live
  /** Refused in mid-stream: everything that still comes is taken away. */
  | { readonly kind: "refused" }
  | { readonly kind: "ended" };

/** Where a 503 asks to come back, in seconds. */
const RETRY_AFTER = "1";

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #ledger: Ledger;
  #head: RequestHead | undefined;
  #dialect: Dialect | undefined;
  /** Set once, before anything is answered. */
  #decision: RequestDecision | undefined;
  #response: ResponseState = { kind: "waiting" };
  #bytesIn = 0;
  #bytesOut = 0;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.#ledger = new Ledger(deps);
  }

  async requestHeaders(head: RequestHead): Promise<HeadersReply> {
    this.#head = head;
    const decision = this.#decideByHead(head);
    const refusal = decision === undefined ? undefined : await this.#decide(decision, 0);
    return refusal === undefined
      ? { kind: "pass", edits: upstreamEdits(head) }
      : { kind: "refuse", reply: refusal };
  }

  async requestBody({ bytes }: BodyChunk): Promise<BodyReply> {
    // Passed on unread by policy, or a second end of stream (envoyproxy/envoy#46237): nothing to decide.
    if (this.#decision !== undefined) return { kind: "pass", edits: NO_HEADER_EDITS };
    const head = this.#head;
    const dialect = this.#dialect;
    if (head === undefined || dialect === undefined) throw new Error("a body before its headers");
    const { policies, clock } = this.#deps;
    const input = { dialect, policies, route: head.route, path: pathOf(head.path), bytes, clock };
    const decision = judgeRequest(input);
    const refusal = await this.#decide(decision, bytes.length);
    if (refusal !== undefined) return { kind: "refuse", reply: refusal };
    return decision.body === undefined
      ? { kind: "pass", edits: NO_HEADER_EDITS }
      : { kind: "replace", body: decision.body, edits: lengthOf(decision.body) };
  }

  async responseHeaders(head: ResponseHead): Promise<HeadersReply> {
    if (head.local) return this.#localReply(head);
    const decision = this.#decision;
    if (decision === undefined) throw new Error("a response before the request was decided");
    const dialect = decision.policy === undefined ? undefined : this.#dialect;
    const kind = responseKind(head, this.#head);
    if (dialect === undefined || decision.coverage.cause === "not_inference" || kind === "none") {
      return this.#passOpaque(head, kind === "none" ? "full" : decision.cause);
    }
    const edits = this.#answerEdits();
    switch (kind) {
      case "stream": {
        const live = new LiveResponse(dialect, this.#judge(decision));
        this.#response = { kind: "live", status: head.status, live };
        // Its length is not known any more; Envoy keeps the header when only the mode is overridden.
        const remove = [...edits.remove, "content-length"];
        return { kind: "pass", edits: { ...edits, remove }, responseBody: "streamed" };
      }
      case "answer":
      case "error":
        this.#response = { kind: "whole", status: head.status, form: kind };
        return { kind: "pass", edits };
      default: {
        if (decision.policy?.settings.failure[kind] === "allow") {
          return this.#passOpaque(head, kind);
        }
        const reply = await this.#refuseWhole(kind, { coverage: { state: "none", cause: kind } });
        return { kind: "refuse", reply };
      }
    }
  }

  async responseBody({ bytes, endOfStream }: BodyChunk): Promise<BodyReply> {
    this.#bytesIn += bytes.length;
    const state = this.#response;
    switch (state.kind) {
      case "waiting":
        throw new Error("a response body before its headers");
      case "ended":
        return { kind: "silent" };
      case "opaque":
        if (endOfStream) this.#response = { kind: "ended" };
        return { kind: "pass", edits: NO_HEADER_EDITS };
      case "refused":
        return CLEAR;
      case "whole":
        this.#response = { kind: "ended" };
        return this.#whole(state, bytes);
      case "live":
        return this.#liveStep(state, bytes, endOfStream);
    }
  }

  /** The stream to Envoy is gone, whatever the reason: what has no record gets one. */
  async close(): Promise<void> {
    if (this.#decision === undefined) {
      if (this.#head === undefined) return;
      const gone = { ...unread("unknown_shape", undefined), cause: undefined, verdict: ALLOW };
      const coverage = { state: "none", cause: "aborted" } as const;
      await this.#decide({ ...gone, coverage }, 0, "failed_closed");
    }
    const evidence = this.#response.kind === "live" ? this.#response.live.evidence : undefined;
    await this.#finish(this.#passedAction(), {
      coverage: { state: evidence === undefined ? "none" : "partial", cause: "aborted" },
      ...(evidence === undefined ? {} : { findings: evidence.findings, tools: evidence.tools }),
      output: { aborted: true },
    });
  }

  /** A decision that needs no body: undefined when the body has to be read. */
  #decideByHead(head: RequestHead): RequestDecision | undefined {
    const { policies, closed } = this.#deps;
    const path = pathOf(head.path);
    const policy = policies.select({ route: head.route, path });
    this.#dialect = dialectFor(head.method, path);
    if (closed !== undefined) return unread(closed, policy);
    if (isUpgrade(head)) return unread("upgrade_refused", policy);
    if (policy === undefined) return unread("no_policy", policy);
    if (isPassThrough(head, policy)) {
      const coverage: Coverage = { state: "none", cause: "not_inference" };
      return { ...unread("unknown_shape", policy), cause: undefined, verdict: ALLOW, coverage };
    }
    const cause = requestCause(head, this.#dialect, policy);
    return cause === undefined ? undefined : unread(cause, policy);
  }

  /**
   * Records the decision. Nothing has been answered yet.
   * @returns the reply that ends the exchange, or undefined when the request may go on
   */
  async #decide(
    decision: RequestDecision,
    bytes: number,
    action = actionOf(decision),
  ): Promise<LocalReply | undefined> {
    this.#decision = decision;
    const durable = await this.#ledger.decide({
      decision,
      action,
      bytes,
      dialect: this.#dialect?.id ?? "none",
      route: this.#head?.route ?? "",
      digest: this.#deps.policies.digest,
    });
    if (!durable) return this.#refusal("audit_unavailable");
    const { verdict } = decision;
    return verdict.kind === "deny" || verdict.kind === "ask"
      ? this.#refusal(verdict.reason)
      : undefined;
  }

  /** A response that Envoy made itself passes as it is; without a decision before it, it is the decision. */
  async #localReply(head: ResponseHead): Promise<HeadersReply> {
    const coverage: Coverage = { state: "none", cause: "local_reply" };
    if (this.#decision === undefined) {
      const none = { ...unread("unknown_shape", undefined), cause: undefined, verdict: ALLOW };
      await this.#decide({ ...none, coverage }, 0, "local_reply");
    }
    this.#response = head.endOfStream ? { kind: "ended" } : { kind: "opaque" };
    await this.#finish("local_reply", { coverage, status: head.status });
    return { kind: "pass", edits: NO_HEADER_EDITS };
  }

  /** A response that nobody reads: it has no body, or the policy lets it pass unread. */
  async #passOpaque(head: ResponseHead, why: "full" | Cause | undefined): Promise<HeadersReply> {
    this.#response = head.endOfStream ? { kind: "ended" } : { kind: "opaque" };
    const empty = why === "full";
    const isError = head.status < 200 || head.status > 299;
    const coverage: Coverage = empty
      ? { state: "full" }
      : { state: "none", cause: why ?? "not_inference" };
    const action = empty ? this.#passedAction() : openedAction(why);
    const durable = await this.#finish(empty && isError ? "provider_error" : action, {
      coverage,
      status: head.status,
    });
    if (!durable) return { kind: "refuse", reply: this.#refusal("audit_unavailable") };
    const pass = { kind: "pass", edits: this.#answerEdits() } as const;
    return head.endOfStream ? pass : { ...pass, responseBody: "streamed" };
  }

  async #whole({ status, form }: Whole, bytes: Uint8Array): Promise<BodyReply> {
    const decision = this.#decision;
    const dialect = this.#dialect;
    if (decision === undefined || dialect === undefined) throw new Error("a body undecided");
    const started = this.#ledger.elapsedMs;
    const judge = this.#judge(decision);
    const run = guarded(() =>
      form === "error" ? judgeError(bytes, judge) : judgeAnswer(bytes, dialect, judge),
    );
    const judged = run.ok ? run.value : run;
    const { failure, budgetMs } = judge.policy.settings;
    if (!judged.ok) {
      if (failure[judged.cause] !== "allow") return this.#refuseBody(judged.cause, status);
      const coverage: Coverage = { state: "none", cause: judged.cause };
      return this.#release(bytes, undefined, "failed_open", { coverage, status });
    }
    const answer = judged.value;
    if (answer.refusal !== undefined) return this.#refuseBody(answer.refusal, status, answer);
    const late = this.#ledger.elapsedMs - started > budgetMs.responseChunk;
    if (late && failure.response_timeout !== "allow")
      return this.#refuseBody("response_timeout", status);
    const mutated = answer.body === undefined ? this.#passedAction() : "mutated";
    return this.#release(bytes, answer.body, form === "error" ? "provider_error" : mutated, {
      status,
      served: answer.served,
      findings: answer.findings,
      tools: answer.tools,
      coverage: answer.media ? PARTIAL_MEDIA : { state: "full" },
    });
  }

  /** Records the outcome, then lets a whole body go. */
  async #release(
    original: Uint8Array,
    body: Uint8Array | undefined,
    action: Outcome,
    facts: Omit<OutcomeFacts, "action">,
  ): Promise<BodyReply> {
    this.#bytesOut = (body ?? original).length;
    if (!(await this.#finish(action, facts))) {
      return { kind: "refuse", reply: this.#refusal("audit_unavailable") };
    }
    return body === undefined
      ? { kind: "pass", edits: NO_HEADER_EDITS }
      : { kind: "replace", body, edits: lengthOf(body) };
  }

  async #refuseBody(reason: Reason, status: number, seen?: ResponseDecision): Promise<BodyReply> {
    const coverage: Coverage = seen === undefined ? { state: "none" } : { state: "full" };
    const facts = { coverage, status, findings: seen?.findings ?? [], tools: seen?.tools ?? [] };
    return { kind: "refuse", reply: await this.#refuseWhole(reason, facts) };
  }

  /** Refuses while Envoy still holds the response's headers: the client gets a clean status. */
  async #refuseWhole(
    reason: Reason,
    facts: Omit<OutcomeFacts, "action" | "reason">,
  ): Promise<LocalReply> {
    this.#response = { kind: "ended" };
    const durable = await this.#finish(refusedAction(reason), { ...facts, reason });
    return this.#refusal(durable ? reason : "audit_unavailable");
  }

  async #liveStep(state: Live, bytes: Uint8Array, endOfStream: boolean): Promise<BodyReply> {
    const { live, status } = state;
    const started = this.#ledger.elapsedMs;
    const run = guarded(() => live.push(bytes, endOfStream));
    const step = run.ok ? run.value : ({ kind: "refuse", reason: run.cause, bytes: [] } as const);
    const settings = this.#decision?.policy?.settings;
    const late = this.#ledger.elapsedMs - started > (settings?.budgetMs.responseChunk ?? 0);
    const tooLate = late && settings?.failure.response_timeout !== "allow";
    if (step.kind === "refuse") return this.#refuseLive(state, step.reason, step.bytes);
    if (tooLate) return this.#refuseLive(state, "response_timeout", []);
    const out = Buffer.concat(step.bytes);
    this.#bytesOut += out.length;
    if (endOfStream || (live.terminal && !this.#ledger.outcomeWritten)) {
      const durable = await this.#finish(this.#liveAction(live), { status, ...liveFacts(live) });
      if (!durable) return this.#refuseLive(state, "audit_unavailable", []);
    }
    if (endOfStream) this.#response = { kind: "ended" };
    return out.equals(bytes)
      ? { kind: "pass", edits: NO_HEADER_EDITS }
      : { kind: "replace", body: out, edits: NO_HEADER_EDITS };
  }

  /** The client has its headers: the refusal is the API's own error event, after it nothing more leaves. */
  async #refuseLive(
    { live, status }: Live,
    reason: Reason,
    bytes: readonly Uint8Array[],
  ): Promise<BodyReply> {
    this.#response = { kind: "refused" };
    // Bytes behind the terminal event: the client has its whole answer and the outcome is written.
    if (live.terminal && this.#ledger.outcomeWritten) return CLEAR;
    const event = this.#dialect?.refusalEvent({
      reason,
      status: refusalStatus(reason),
      decisionId: this.#ledger.id,
    });
    const body = Buffer.concat([...bytes, Buffer.from(event ?? "")]);
    this.#bytesOut += body.length;
    const facts = { ...liveFacts(live), status, reason };
    const durable = await this.#finish(refusedAction(reason), facts);
    // Without a record even the text in front of the refusal stays here.
    return durable ? { kind: "replace", body, edits: NO_HEADER_EDITS } : CLEAR;
  }

  #liveAction({ evidence }: LiveResponse): Outcome {
    if (evidence.opened !== undefined) return "failed_open";
    if (evidence.providerFailed) return "provider_error";
    const refusedCall = evidence.tools.some(({ verdict }) => verdict !== "allow");
    return evidence.redacted || refusedCall ? "mutated" : this.#passedAction();
  }

  /** What the exchange counts as when its response needed no change. */
  #passedAction(): Outcome {
    return this.#decision === undefined ? "failed_closed" : actionOf(this.#decision);
  }

  #finish(action: Outcome, facts: Omit<OutcomeFacts, "action">): Promise<boolean> {
    const output = {
      bytes: this.#bytesIn,
      released_bytes: this.#bytesOut,
      streamed: this.#response.kind === "live" || this.#response.kind === "refused",
      ...facts.output,
    };
    return this.#ledger.finish({ ...facts, action, output });
  }

  #judge({ policy, modelName }: RequestDecision): CallJudge {
    if (policy === undefined) throw new Error("a response without a policy");
    const { printable } = this.#deps.policies;
    return { policy, printable, model: modelName, decisionId: this.#ledger.id };
  }

  #answerEdits(): HeaderEdits {
    const decision = this.#decision?.verdict.kind ?? "allow";
    return {
      set: [
        ["x-limen-decision", decision],
        ["x-limen-decision-id", this.#ledger.id],
      ],
      remove: [],
    };
  }

  #refusal(reason: Reason): LocalReply {
    const status = refusalStatus(reason);
    const refusal = { reason, status, decisionId: this.#ledger.id };
    const decision = this.#decision?.verdict.kind === "ask" ? "ask" : "deny";
    return {
      status,
      body: this.#dialect?.refusalBody(refusal) ?? refusalBody(refusal),
      headers: [
        ["content-type", "application/json"],
        ["x-limen-decision", decision],
        ["x-limen-decision-id", this.#ledger.id],
        ...(status === 503 ? ([["retry-after", RETRY_AFTER]] as const) : []),
      ],
      details: ownLabel(`limen_${reason}`),
    };
  }
}

const CLEAR: BodyReply = { kind: "replace", body: new Uint8Array(0), edits: NO_HEADER_EDITS };
const PARTIAL_MEDIA: Coverage = { state: "partial", cause: "media_not_inspected" };

/** Envoy refuses a body whose length is not the announced one. */
const lengthOf = (body: Uint8Array): HeaderEdits => ({
  set: [["content-length", String(body.length)]],
  remove: [],
});

function actionOf({ verdict, cause, coverage }: RequestDecision): Outcome {
  if (coverage.cause === "not_inference") return "not_inference";
  if (cause !== undefined) return verdict.kind === "deny" ? "failed_closed" : "failed_open";
  const actions = { allow: "allowed", mutate: "mutated", ask: "asked", deny: "denied" } as const;
  return actions[verdict.kind];
}

/** A control's refusal is a denial; a cause means that Limen could not tell. */
const refusedAction = (reason: Reason): Outcome => (isCause(reason) ? "failed_closed" : "denied");

const liveFacts = ({ evidence }: LiveResponse): Omit<OutcomeFacts, "action"> => ({
  findings: evidence.findings,
  tools: evidence.tools,
  coverage:
    evidence.opened !== undefined
      ? { state: "partial", cause: evidence.opened }
      : evidence.media
        ? PARTIAL_MEDIA
        : { state: "full" },
});
