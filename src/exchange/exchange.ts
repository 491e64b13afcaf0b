/**
 * One HTTP exchange: Envoy's messages come in without their wire form, the reply to each goes out. The request is
 * decided here, the response in `response.ts`; what is recorded, and before what, in `ledger.ts`.
 *
 * Each direction is driven in order by its own caller; the two may interleave. A thrown error is a broken
 * invariant and fails the exchange closed.
 */
import { type Cause, fail } from "../core/cause.ts";
import type { EffectivePolicy, PolicySet } from "../core/policy.ts";
import type { Coverage } from "../core/record.ts";
import type { Dialect } from "../llm/dialect.ts";
import { dialectFor } from "../llm/registry.ts";
import { Assembly, codingOf, decodeBody } from "./body.ts";
import { pathOf, upstreamEdits } from "./heads.ts";
import type { Hold } from "./hold-budget.ts";
import {
  type BodyChunk,
  type BodyModes,
  type BodyReply,
  type HeaderEdits,
  type HeadersReply,
  type LocalReply,
  lengthOf,
  PASS,
  type RequestHead,
  type ResponseHead,
  WITHHOLD,
} from "./http.ts";
import { actionOf, Ledger, type LedgerDeps } from "./ledger.ts";
import { refuse } from "./refuse.ts";
import { judgeHead, judgeRequest, type RequestDecision, undecided, unread } from "./request.ts";
import { ResponseSide } from "./response.ts";

export type ExchangeDeps = LedgerDeps & {
  /** Pinned: a reload affects the next exchange. */
  readonly policies: PolicySet;
  /** How the proxy shows bodies on this stream. */
  readonly modes: BodyModes;
  readonly hold: Hold;
  /** Why nothing new is taken on, if so. */
  readonly closed: Extract<Cause, "overloaded"> | undefined;
};

/** One value: an exception with its stack would be built for each exchange that is given up. */
const GIVEN_UP = new Error("nobody waits for the decision");

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #ledger: Ledger;
  #head: RequestHead | undefined;
  #dialect: Dialect | undefined;
  /** The request's body until it is complete; set when the headers say that it will be read. */
  #body: Assembly | undefined;
  /** By what the headers tell. */
  #policy: EffectivePolicy | undefined;
  /** Set once, before anything is answered. */
  #decision: RequestDecision | undefined;
  /** The response came first: what still comes of the request goes nowhere. */
  #overtaken = false;
  /** Aborted when nobody waits for the decision any more. */
  readonly #wanted = new AbortController();
  /** Set by the response's headers. */
  #response: ResponseSide | undefined;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.#ledger = new Ledger(deps);
  }

  async requestHeaders(head: RequestHead): Promise<HeadersReply> {
    if (this.#head !== undefined) throw new Error("a second request on one stream");
    this.#head = head;
    const decision = this.#decideByHead(head);
    const refusal = decision === undefined ? undefined : await this.#decide(decision, 0);
    if (refusal !== undefined) return { kind: "refuse", reply: refusal };
    const reading = decision === undefined ? "whole" : "unread";
    return { kind: "pass", edits: upstreamEdits(head), reading };
  }

  /** Nothing of a body that is read leaves before all of it has been judged. */
  async requestBody({ bytes, endOfStream }: BodyChunk): Promise<BodyReply> {
    if (this.#overtaken) return WITHHOLD;
    if (this.#decision !== undefined) return PASS;
    const body = this.#body;
    if (body === undefined) throw new Error("a body before its headers");
    const isWithin = body.push(bytes);
    const isOverloaded = this.#deps.hold.bodies.isExceeded;
    if (!endOfStream && isWithin && !isOverloaded) return WITHHOLD;
    try {
      return await this.#decideBody(body.take(), bytes, isOverloaded ? "overloaded" : undefined);
    } finally {
      body.drop();
    }
  }

  /** @param piece the last that came of it: when it is all there is, it can pass as it came */
  async #decideBody(
    whole: Uint8Array,
    piece: Uint8Array,
    cause: Cause | undefined,
  ): Promise<BodyReply> {
    const decision = await this.#judge(whole, cause);
    // Of what was given up and not judged in full nothing is decided: its record says that it broke off.
    const isGivenUp = this.#wanted.signal.aborted && decision.cause !== undefined;
    if (this.#overtaken || isGivenUp) return WITHHOLD;
    const refusal = await this.#decide(decision, whole.length);
    if (refusal !== undefined) return { kind: "refuse", reply: refusal };
    const out = decision.body;
    if (out !== undefined) return { kind: "replace", body: out, edits: this.#edits(out) };
    return whole === piece ? PASS : { kind: "replace", body: whole, edits: lengthOf(whole) };
  }

  /** The stream is watched, not asked: whatever Limen said, nobody would read it. */
  async observe(head: RequestHead): Promise<void> {
    this.#head = head;
    await this.#decide(undecided("observed"), 0, "bypassed");
    await this.#ledger.finish({ coverage: { state: "none", cause: "observed" } });
  }

  async responseHeaders(head: ResponseHead): Promise<HeadersReply> {
    if (this.#response !== undefined) throw new Error("a second response on one stream");
    const refusal =
      this.#decision === undefined ? await this.#overtake(head) : await this.#awaitDecision(head);
    if (refusal !== undefined) return { kind: "refuse", reply: refusal };
    const decision = this.#decision;
    if (decision === undefined) throw new Error("a response without a decision");
    this.#response = new ResponseSide({
      ledger: this.#ledger,
      decision,
      request: this.#head,
      dialect: decision.coverage.cause === "not_inference" ? undefined : this.#dialect,
      printable: this.#deps.policies.printable,
      mode: this.#deps.modes.response,
      hold: this.#deps.hold,
    });
    return this.#response.headers(head);
  }

  async responseBody(chunk: BodyChunk): Promise<BodyReply> {
    if (this.#response === undefined) throw new Error("a response body before its headers");
    return this.#response.body(chunk);
  }

  /** The stream to Envoy is gone: judging ends soon, if it is waiting. What still has to be done is `close`. */
  giveUp(): void {
    this.#wanted.abort(GIVEN_UP);
  }

  /** The stream to Envoy is gone, whatever the reason: what has no record gets one. */
  async close(): Promise<void> {
    this.#body?.drop();
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
    const { modes, hold } = this.#deps;
    this.#dialect = dialectFor(head.method, pathOf(head.path));
    const judged = judgeHead(head, this.#dialect, this.#deps);
    if (judged.kind === "decided") return judged.decision;
    const { policy } = judged;
    const cause = modeCause(head, modes);
    if (cause !== undefined) return unread(cause, policy);
    this.#policy = policy;
    this.#body = new Assembly(policy.settings.ingress.limits.bodyBytes, hold.bodies);
    return undefined;
  }

  async #judge(bytes: Uint8Array, cause: Cause | undefined): Promise<RequestDecision> {
    const head = this.#head;
    const dialect = this.#dialect;
    if (head === undefined || dialect === undefined) throw new Error("a body before its headers");
    const { policies, clock } = this.#deps;
    const limit = this.#policy?.settings.ingress.limits.bodyBytes ?? 0;
    const decoded =
      cause === undefined ? await decodeBody(bytes, codingOf(head.headers), limit) : fail(cause);
    if (!decoded.ok) return unread(decoded.cause, this.#policy);
    if (decoded.value !== bytes) {
      this.#body?.decodedTo(decoded.value.length);
      if (this.#deps.hold.bodies.isExceeded) return unread("overloaded", this.#policy);
    }
    const { route, identity } = head;
    const path = pathOf(head.path);
    const { signal } = this.#wanted;
    const { judging } = this.#deps.hold;
    const facts = { dialect, policies, route, path, identity };
    const decision = await judgeRequest({ ...facts, bytes: decoded.value, clock, signal, judging });
    // What was read is what goes on, not what came: nobody decodes it once more.
    const isDecoded = decoded.value !== bytes && decision.coverage.state !== "none";
    return isDecoded ? { ...decision, body: decision.body ?? decoded.value } : decision;
  }

  /** Headers that go with a body which is not the one that came. */
  #edits(body: Uint8Array): HeaderEdits {
    const isDecoded = this.#head !== undefined && codingOf(this.#head.headers) !== "identity";
    return { ...lengthOf(body), remove: isDecoded ? ["content-encoding"] : [] };
  }

  /**
   * A response that did not wait for the decision: Envoy's own, or an upstream's that has seen no body. That is the
   * normal course where headers leave first; where Envoy buffers, it had nothing to show but trailers.
   */
  async #overtake({ local }: ResponseHead): Promise<LocalReply | undefined> {
    if (!local && this.#body === undefined) throw new Error("a response without a request");
    this.#overtaken = true;
    this.giveUp();
    this.#body?.drop();
    const policy = this.#policy;
    if (local) {
      await this.#decide({ ...undecided("local_reply"), policy }, 0, "local_reply");
      return undefined; // also when the log is the reason for it
    }
    return this.#deps.modes.request === "streamed"
      ? this.#decide({ ...undecided("aborted"), policy }, 0, "failed_closed")
      : this.#decide(unread("body_not_shown", policy), 0);
  }

  /** Where headers leave first, a model can answer before the log has. */
  async #awaitDecision({ local }: ResponseHead): Promise<LocalReply | undefined> {
    if (local || (await this.#ledger.decided)) return undefined;
    return refuse("audit_unavailable", this.#ledger.id, this.#dialect);
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

/** Why the proxy's modes are too weak for a request that has to be read, if so. */
function modeCause({ headers }: RequestHead, { request, response }: BodyModes): Cause | undefined {
  if (request === "hidden" || response === "hidden") return "body_not_shown";
  // The header that names the coding has left before the body comes.
  return request === "streamed" && codingOf(headers) !== "identity" ? "encoded_body" : undefined;
}
