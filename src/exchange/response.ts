/**
 * The response direction of one exchange. A whole body is judged while Envoy still holds the headers, so its refusal
 * is a clean status; a stream flows through `live.ts`, and its refusal is the API's own error event.
 */

import { label } from "../core/brand.ts";
import type { Cause } from "../core/cause.ts";
import { isCause } from "../core/cause.ts";
import type { Coverage, Outcome } from "../core/record.ts";
import type { Reason } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { refusalStatus } from "../llm/refusal.ts";
import { judgeAnswer, judgeError, type ResponseDecision } from "./buffered.ts";
import type { CallJudge } from "./calls.ts";
import { responseControls } from "./evidence.ts";
import { isSuccess, responseKind } from "./heads.ts";
import type { HoldBudget } from "./hold-budget.ts";
import {
  type BodyChunk,
  type BodyReply,
  CLEAR,
  type HeaderEdits,
  type HeadersReply,
  type LocalReply,
  lengthOf,
  NO_EDITS,
  PASS,
  type RequestHead,
  type ResponseHead,
} from "./http.ts";
import type { Ledger, OutcomeFacts } from "./ledger.ts";
import { LiveResponse } from "./live.ts";
import { refuse } from "./refuse.ts";
import { guarded, type RequestDecision } from "./request.ts";

export type ResponseContext = {
  readonly ledger: Ledger;
  readonly decision: RequestDecision;
  readonly request: RequestHead | undefined;
  /** Undefined when nothing can read the response. */
  readonly dialect: Dialect | undefined;
  readonly printable: ReadonlySet<string>;
  readonly hold: HoldBudget;
};

type Whole = {
  readonly kind: "whole";
  readonly dialect: Dialect;
  readonly form: "answer" | "error" | "unreadable_error";
};
type Live = { readonly kind: "live"; readonly dialect: Dialect; readonly live: LiveResponse };

type State =
  | { readonly kind: "waiting" }
  | { readonly kind: "opaque" }
  | Whole
  | Live
  /** Refused in mid-stream: everything that still comes is taken away. */
  | { readonly kind: "refused" }
  | { readonly kind: "ended" };

export class ResponseSide {
  readonly #context: ResponseContext;
  #state: State = { kind: "waiting" };
  #status = 0;
  #bytesIn = 0;
  #bytesOut = 0;
  /** Time in the controls. */
  #judgedMs = 0;
  #streamed = false;

  constructor(context: ResponseContext) {
    this.#context = context;
  }

  async headers(head: ResponseHead): Promise<HeadersReply> {
    const { decision, dialect, request } = this.#context;
    this.#status = head.status;
    if (head.local) {
      // Not a model's answer; it passes as it is, also when the log is the reason for it.
      await this.#passUnread(head, { state: "none", cause: "local_reply" }, "local_reply");
      return { kind: "pass", edits: NO_EDITS };
    }
    const kind = responseKind(head, request);
    if (kind === "none") {
      const action = isSuccess(head.status) ? undefined : "provider_error";
      return this.#passUnread(head, { state: "full" }, action);
    }
    if (dialect === undefined) return this.#passUnread(head, decision.coverage);
    switch (kind) {
      case "stream": {
        const live = new LiveResponse(dialect, this.#judge());
        this.#state = { kind: "live", dialect, live };
        this.#streamed = true;
        // The length is not known any more, and Envoy keeps the header when only the mode is overridden.
        const edits = { ...this.#answerEdits(), remove: ["content-length"] };
        return { kind: "pass", edits, responseBody: "streamed" };
      }
      case "answer":
      case "error":
      case "unreadable_error":
        this.#state = { kind: "whole", dialect, form: kind };
        return { kind: "pass", edits: this.#answerEdits() };
      default:
        if (this.#isOpen(kind)) return this.#passUnread(head, unreadBy(kind), "failed_open");
        return { kind: "refuse", reply: await this.#refuse(kind, { coverage: unreadBy(kind) }) };
    }
  }

  async body({ bytes, endOfStream }: BodyChunk): Promise<BodyReply> {
    this.#bytesIn += bytes.length;
    const state = this.#state;
    switch (state.kind) {
      case "waiting":
        throw new Error("a response body before its headers");
      case "ended":
        return { kind: "silent" };
      case "opaque":
        if (endOfStream) this.#state = { kind: "ended" };
        return PASS;
      case "refused":
        return CLEAR;
      case "whole":
        this.#state = { kind: "ended" };
        return this.#whole(state, bytes);
      case "live":
        return this.#step(state, bytes, endOfStream);
    }
  }

  /** The stream to Envoy is gone before the response was. */
  async abandon(): Promise<void> {
    if (this.#state.kind === "live") this.#state.live.close();
    const live = this.#state.kind === "live" ? this.#liveFacts(this.#state.live) : undefined;
    const state = live === undefined ? "none" : "partial";
    await this.#finish({
      ...live,
      coverage: { state, cause: "aborted" },
      output: { aborted: true },
    });
  }

  /** A response that nobody reads: it is not a model's, has no body, or the policy lets it pass. */
  async #passUnread(
    head: ResponseHead,
    coverage: Coverage,
    action?: Outcome,
  ): Promise<HeadersReply> {
    this.#state = head.endOfStream ? { kind: "ended" } : { kind: "opaque" };
    const durable = await this.#finish({ coverage, ...(action === undefined ? {} : { action }) });
    if (!durable) return { kind: "refuse", reply: this.#localReply("audit_unavailable") };
    const pass = { kind: "pass", edits: this.#answerEdits() } as const;
    return head.endOfStream ? pass : { ...pass, responseBody: "streamed" };
  }

  async #whole({ form, dialect }: Whole, bytes: Uint8Array): Promise<BodyReply> {
    if (form === "unreadable_error") return this.#errorInOurWords(dialect);
    const judge = this.#judge();
    const started = this.#context.ledger.elapsedMs;
    const run = guarded(() =>
      form === "error" ? judgeError(bytes, judge) : judgeAnswer(bytes, dialect, judge),
    );
    const judged = run.ok ? run.value : run;
    if (!judged.ok && form === "error" && judged.cause === "unsupported_media_type") {
      return this.#errorInOurWords(dialect);
    }
    if (!judged.ok) {
      if (!this.#isOpen(judged.cause)) return this.#refuseBody(judged.cause);
      return this.#release(bytes, undefined, {
        action: "failed_open",
        coverage: unreadBy(judged.cause),
      });
    }
    const answer = judged.value;
    this.#judgedMs = this.#context.ledger.elapsedMs - started;
    if (answer.refusal !== undefined) return this.#refuseBody(answer.refusal, answer);
    const mutated = answer.body !== undefined;
    const action = form === "error" ? "provider_error" : mutated ? "mutated" : undefined;
    return this.#release(bytes, answer.body, {
      ...this.#answerFacts(answer),
      ...(action === undefined ? {} : { action }),
    });
  }

  /** An error that nobody here can read keeps its status, so that clients retry it, and gets another body. */
  async #errorInOurWords(dialect: Dialect): Promise<BodyReply> {
    const reason = "unsupported_media_type";
    const refusal = { reason, status: this.#status, decisionId: this.#context.ledger.id } as const;
    const body = Buffer.from(dialect.refusalBody(refusal));
    const facts = { action: "provider_error", coverage: unreadBy(reason) } as const;
    const reply = await this.#release(body, body, facts);
    if (reply.kind !== "replace") return reply;
    const set = [...reply.edits.set, ["content-type", "application/json"] as const];
    return { ...reply, edits: { ...reply.edits, set } };
  }

  /** Records the outcome, then lets a whole body go. */
  async #release(
    original: Uint8Array,
    body: Uint8Array | undefined,
    facts: OutcomeFacts,
  ): Promise<BodyReply> {
    this.#bytesOut = (body ?? original).length;
    if (!(await this.#finish(facts))) {
      return { kind: "refuse", reply: this.#localReply("audit_unavailable") };
    }
    return body === undefined ? PASS : { kind: "replace", body, edits: lengthOf(body) };
  }

  async #refuseBody(reason: Reason, seen?: ResponseDecision): Promise<BodyReply> {
    const facts =
      seen === undefined
        ? { coverage: isCause(reason) ? unreadBy(reason) : { state: "full" as const } }
        : this.#answerFacts(seen);
    return { kind: "refuse", reply: await this.#refuse(reason, facts) };
  }

  /** Refuses while Envoy holds the response's headers. */
  async #refuse(reason: Reason, facts: OutcomeFacts): Promise<LocalReply> {
    this.#state = { kind: "ended" };
    const durable = await this.#finish({ ...facts, reason, action: refusedAction(reason) });
    return this.#localReply(durable ? reason : "audit_unavailable");
  }

  async #step(state: Live, bytes: Uint8Array, endOfStream: boolean): Promise<BodyReply> {
    const { live } = state;
    const started = this.#context.ledger.elapsedMs;
    const run = guarded(() => live.push(bytes, endOfStream));
    if (!run.ok) return this.#refuseLive(state, run.cause, []);
    this.#judgedMs += this.#context.ledger.elapsedMs - started;
    const step = run.value;
    if (step.kind === "refuse") return this.#refuseLive(state, step.reason, step.bytes);
    const out = Buffer.concat(step.bytes);
    this.#bytesOut += out.length;
    if (endOfStream || live.terminal) {
      const action = this.#liveAction(live);
      const facts = { ...this.#liveFacts(live), ...(action === undefined ? {} : { action }) };
      if (!(await this.#finish(facts))) return this.#refuseLive(state, "audit_unavailable", []);
    }
    if (endOfStream) {
      live.close();
      this.#state = { kind: "ended" };
    }
    return out.equals(bytes) ? PASS : { kind: "replace", body: out, edits: NO_EDITS };
  }

  /** The client has its headers: the refusal is an event, and after it nothing more leaves. */
  async #refuseLive(
    { live, dialect }: Live,
    reason: Reason,
    bytes: readonly Uint8Array[],
  ): Promise<BodyReply> {
    const { ledger } = this.#context;
    this.#state = { kind: "refused" };
    live.close();
    // Bytes behind the terminal event: the client has its whole answer, and its outcome is written.
    if (ledger.outcomeWritten && reason !== "audit_unavailable") return CLEAR;
    const refusal = { reason, status: refusalStatus(reason), decisionId: ledger.id };
    // The last frame may have come without its blank line; one too many does no harm.
    const gap = bytes.length > 0 && !endsFrame(bytes.at(-1)) ? "\n\n" : "";
    const event = Buffer.from(`${gap}${dialect.refusalEvent(refusal)}`);
    for (const part of bytes) this.#bytesOut += part.length;
    const body = Buffer.concat([...bytes, event]);
    const facts = { ...this.#liveFacts(live), reason, action: refusedAction(reason) };
    // Without a record only the event leaves, and not the text in front of it.
    if (await this.#finish(facts)) return { kind: "replace", body, edits: NO_EDITS };
    const unrecorded = { ...refusal, reason: "audit_unavailable" } as const;
    const alone = Buffer.from(dialect.refusalEvent(unrecorded));
    return { kind: "replace", body: alone, edits: NO_EDITS };
  }

  #liveAction({ evidence }: LiveResponse): Outcome | undefined {
    if (evidence.opened !== undefined) return "failed_open";
    if (evidence.providerFailed) return "provider_error";
    const refusedCall = evidence.tools.some(({ verdict }) => verdict !== "allow");
    return evidence.mutation !== undefined || refusedCall ? "mutated" : undefined;
  }

  #answerFacts(answer: ResponseDecision): OutcomeFacts {
    return {
      served: answer.served,
      controls: responseControls(answer, this.#judgedMs),
      findings: answer.findings,
      tools: answer.tools,
      coverage: readAll(answer.media),
    };
  }

  #liveFacts({ evidence }: LiveResponse): OutcomeFacts {
    const { findings, tools, media, opened, model } = evidence;
    const served =
      model === undefined ? {} : { served: label(model.reveal(), this.#context.printable) };
    return {
      ...served,
      controls: responseControls(evidence, this.#judgedMs),
      findings,
      tools,
      coverage: opened === undefined ? readAll(media) : { state: "partial", cause: opened },
    };
  }

  #finish(facts: OutcomeFacts): Promise<boolean> {
    const output = {
      bytes: this.#bytesIn,
      released_bytes: this.#bytesOut,
      streamed: this.#streamed,
      ...facts.output,
    };
    return this.#context.ledger.finish({ status: this.#status, ...facts, output });
  }

  #isOpen(cause: Cause): boolean {
    return this.#context.decision.policy?.settings.failure[cause] === "allow";
  }

  #judge(): CallJudge {
    const { decision, printable, ledger, hold } = this.#context;
    if (decision.policy === undefined) throw new Error("a dialect without a policy");
    const { policy, modelName: model } = decision;
    return { policy, printable, model, decisionId: ledger.id, clock: ledger.clock, hold };
  }

  #answerEdits(): HeaderEdits {
    const { decision, ledger } = this.#context;
    return {
      set: [
        ["x-limen-decision", decision.verdict.kind],
        ["x-limen-decision-id", ledger.id],
      ],
      remove: [],
    };
  }

  #localReply(reason: Reason): LocalReply {
    return refuse(reason, this.#context.ledger.id, this.#context.dialect);
  }
}

/** Whether bytes end with a line end: a whole frame does, an unterminated last one does not. */
const endsFrame = (bytes: Uint8Array | undefined): boolean => {
  const last = bytes?.at(-1);
  return last === 0x0a || last === 0x0d;
};

/** A control's refusal is a denial; a cause means that Limen could not tell. */
const refusedAction = (reason: Reason): Outcome => (isCause(reason) ? "failed_closed" : "denied");

const unreadBy = (cause: Cause): Coverage => ({ state: "none", cause });

const readAll = (media: boolean): Coverage =>
  media ? { state: "partial", cause: "media_not_inspected" } : { state: "full" };
