/**
 * One HTTP exchange: Envoy's messages come in without their wire form, the reply to each goes out. The request is
 * decided here, the response in `response.ts`; what is recorded, and before what, in `ledger.ts`.
 *
 * Each direction is driven in order by its own caller; the two may interleave. A thrown error is a broken
 * invariant and fails the exchange closed.
 */
import type { Cause } from "../core/cause.ts";
import type { PolicySet } from "../core/policy.ts";
import type { Coverage } from "../core/record.ts";
import { ALLOW } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { dialectFor } from "../llm/registry.ts";
import { isPassThrough, isUpgrade, pathOf, requestCause, upstreamEdits } from "./heads.ts";
import type { HoldBudget } from "./hold-budget.ts";
import {
  type BodyChunk,
  type BodyReply,
  type HeadersReply,
  type LocalReply,
  lengthOf,
  PASS,
  type RequestHead,
  type ResponseHead,
} from "./http.ts";
import { actionOf, Ledger, type LedgerDeps } from "./ledger.ts";
import { refuse } from "./refuse.ts";
import { judgeRequest, type RequestDecision, unread } from "./request.ts";
import { ResponseSide } from "./response.ts";

export type ExchangeDeps = LedgerDeps & {
  /** Pinned: a reload affects the next exchange. */
  readonly policies: PolicySet;
  readonly hold: HoldBudget;
  /** Why nothing new is taken on, if so. */
  readonly closed: Extract<Cause, "overloaded"> | undefined;
};

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #ledger: Ledger;
  #head: RequestHead | undefined;
  #dialect: Dialect | undefined;
  /** Set once, before anything is answered. */
  #decision: RequestDecision | undefined;
  /** Set by the response's headers. */
  #response: ResponseSide | undefined;

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
    if (this.#decision !== undefined) return PASS;
    const head = this.#head;
    const dialect = this.#dialect;
    if (head === undefined || dialect === undefined) throw new Error("a body before its headers");
    const { policies, clock } = this.#deps;
    const { route, identity } = head;
    const path = pathOf(head.path);
    const input = { dialect, policies, route, path, identity, bytes, clock };
    const decision = judgeRequest(input);
    const refusal = await this.#decide(decision, bytes.length);
    if (refusal !== undefined) return { kind: "refuse", reply: refusal };
    return decision.body === undefined
      ? PASS
      : { kind: "replace", body: decision.body, edits: lengthOf(decision.body) };
  }

  async responseHeaders(head: ResponseHead): Promise<HeadersReply> {
    // A reply of Envoy's own can come first of all, or while the request is still on its way.
    if (head.local && this.#decision === undefined) {
      await this.#decide(undecided("local_reply"), 0, "local_reply");
    }
    const decision = this.#decision;
    if (decision === undefined) throw new Error("a response before the request was decided");
    this.#response = new ResponseSide({
      ledger: this.#ledger,
      decision,
      request: this.#head,
      dialect: decision.coverage.cause === "not_inference" ? undefined : this.#dialect,
      printable: this.#deps.policies.printable,
      hold: this.#deps.hold,
    });
    return this.#response.headers(head);
  }

  async responseBody(chunk: BodyChunk): Promise<BodyReply> {
    if (this.#response === undefined) throw new Error("a response body before its headers");
    return this.#response.body(chunk);
  }

  /** The stream to Envoy is gone, whatever the reason: what has no record gets one. */
  async close(): Promise<void> {
    if (this.#decision === undefined) {
      if (this.#head === undefined) return;
      await this.#decide(undecided("aborted"), 0, "failed_closed");
    }
    if (this.#response !== undefined) await this.#response.abandon();
    else {
      const coverage: Coverage = { state: "none", cause: "aborted" };
      await this.#ledger.finish({ coverage, output: { aborted: true } });
    }
  }

  /** A decision that needs no body: undefined when the body has to be read. */
  #decideByHead(head: RequestHead): RequestDecision | undefined {
    const { policies, closed } = this.#deps;
    const path = pathOf(head.path);
    const policy = policies.select({ route: head.route, path, identity: head.identity });
    this.#dialect = dialectFor(head.method, path);
    if (closed !== undefined) return unread(closed, policy);
    if (isUpgrade(head)) return unread("upgrade_refused", policy);
    if (policy === undefined) return unread("no_policy", policy);
    if (isPassThrough(head, policy)) return { ...undecided("not_inference"), policy };
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
    const { verdict } = decision;
    const refused = verdict.kind === "deny" || verdict.kind === "ask";
    if (durable && !refused) return undefined;
    const reason = durable && refused ? verdict.reason : "audit_unavailable";
    return refuse(reason, this.#ledger.id, this.#dialect);
  }
}

/** There was nothing to judge: no inference, or none that came to us whole. */
const undecided = (cause: NonNullable<Coverage["cause"]>): RequestDecision => ({
  ...unread("unknown_shape", undefined),
  verdict: ALLOW,
  cause: undefined,
  coverage: { state: "none", cause },
});
