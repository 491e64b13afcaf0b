/**
 * The response direction of one exchange. A whole body is judged while Envoy still holds the headers, so its refusal
 * is a clean status; a stream flows through `live.ts`, and its refusal is the API's own error event.
 */

import type { Cause } from "../core/cause.ts";
import { isCause } from "../core/cause.ts";
import type { Coverage, Outcome } from "../core/record.ts";
import type { Reason } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { endsFrame } from "../llm/framing/sse.ts";
import { refusalStatus } from "../llm/refusal.ts";
import { Assembly, BodyDecoder, codingOf, decodeBody } from "./body.ts";
import { judgeAnswer, judgeError, type ResponseDecision } from "./buffered.ts";
import type { CallJudge } from "./calls.ts";
import { isSuccess, responseKind } from "./heads.ts";
import type { Hold } from "./hold-budget.ts";
import {
  type BodyChunk,
  type BodyMode,
  type BodyReply,
  type HeaderEdits,
  type HeadersReply,
  type LocalReply,
  lengthOf,
  NO_EDITS,
  PASS,
  type RequestHead,
  type ResponseHead,
  WITHHOLD,
} from "./http.ts";
import type { Ledger, OutcomeFacts } from "./ledger.ts";
import { LiveResponse } from "./live.ts";
import { liveAction, liveFacts, refusedAction, unreadBy, wholeFacts } from "./outcome.ts";
import { refuse } from "./refuse.ts";
import { guarded, type RequestDecision } from "./request.ts";
import { decided, said, type Word } from "./said.ts";

export type ResponseContext = {
  readonly ledger: Ledger;
  readonly decision: RequestDecision;
  readonly request: RequestHead | undefined;
  /** Undefined when nothing can read the response. */
  readonly dialect: Dialect | undefined;
  readonly printable: ReadonlySet<string>;
  readonly mode: BodyMode;
  readonly hold: Hold;
};

/** What a stream may say before its headers leave, in full duplex: role, ids and pings, no content. */
const MAX_KEPT_BYTES = 16_384;

type Coding = ReturnType<typeof codingOf>;
type Whole = {
  readonly kind: "whole";
  readonly dialect: Dialect;
  readonly form: "answer" | "error" | "unreadable_error";
  readonly coding: Coding;
  readonly body: Assembly;
};
type Live = {
  readonly kind: "live";
  readonly dialect: Dialect;
  readonly live: LiveResponse;
  readonly decoder: BodyDecoder | undefined;
  /** What may leave and waits for the headers, so that a refusal of the first words can still have a status. */
  readonly kept: Uint8Array[];
};

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
  /** The client has its status: a refusal can only be an event of the stream. */
  #headersOut = false;

  constructor(context: ResponseContext) {
    this.#context = context;
  }

  async headers(head: ResponseHead): Promise<HeadersReply> {
    const { decision, dialect, request, mode } = this.#context;
    this.#status = head.status;
    if (head.local) {
      // Not a model's answer; it passes as it is, also when the log is the reason for it.
      await this.#passUnread(head, { state: "none", cause: "local_reply" }, "local_reply");
      return { kind: "pass", edits: NO_EDITS, reading: "unread" };
    }
    const kind = responseKind(head, request, mode);
    if (kind === "none") {
      const action = isSuccess(head.status) ? undefined : "provider_error";
      return this.#passUnread(head, { state: "full" }, action);
    }
    if (dialect === undefined) return this.#passUnread(head, decision.coverage);
    switch (kind) {
      case "stream":
        return this.#openLive(head, dialect);
      case "answer":
      case "error":
      case "unreadable_error": {
        const body = new Assembly(this.#bodyLimit(), this.#context.hold.bodies);
        this.#state = { kind: "whole", dialect, form: kind, coding: codingOf(head.headers), body };
        const word = mode === "streamed" ? "pending" : decision.verdict.kind;
        return { kind: "pass", edits: this.#answerEdits(word), reading: "whole" };
      }
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
        return WITHHOLD;
      case "whole":
        return this.#collect(state, { bytes, endOfStream });
      case "live":
        return this.#step(state, bytes, endOfStream);
    }
  }

  async #collect(state: Whole, { bytes, endOfStream }: BodyChunk): Promise<BodyReply> {
    const isWithin = state.body.push(bytes);
    const isOverloaded = this.#context.hold.bodies.isExceeded;
    if (!endOfStream && isWithin && !isOverloaded) return WITHHOLD;
    // Of a body that is let pass although it is too large, the rest passes too.
    this.#state = endOfStream ? { kind: "ended" } : { kind: "opaque" };
    try {
      if (isOverloaded) return await this.#refuseBody("overloaded");
      return await this.#whole(state, state.body.take(), bytes);
    } finally {
      state.body.drop();
    }
  }

  /** The stream to Envoy is gone before the response was. */
  async abandon(): Promise<void> {
    if (this.#state.kind === "whole") this.#state.body.drop();
    if (this.#state.kind === "live") closeLive(this.#state);
    const live = this.#state.kind === "live" ? this.#liveFacts(this.#state.live) : undefined;
    const state = live === undefined ? "none" : "partial";
    await this.#finish({
      ...live,
      coverage: { state, cause: "aborted" },
      output: { aborted: true },
    });
  }

  #openLive(head: ResponseHead, dialect: Dialect): HeadersReply {
    const coding = codingOf(head.headers);
    const decoder =
      coding === "identity" || coding === "unknown"
        ? undefined
        : new BodyDecoder(coding, this.#bodyLimit());
    const live = new LiveResponse(dialect, this.#judge());
    this.#state = { kind: "live", dialect, live, decoder, kept: [] };
    this.#streamed = true;
    this.#headersOut = this.#context.mode !== "duplex";
    // The length is not known any more, and Envoy keeps the header when only the mode is overridden.
    const remove = ["content-length", ...(decoder === undefined ? [] : ["content-encoding"])];
    return { kind: "pass", edits: { ...this.#answerEdits("pending"), remove }, reading: "live" };
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
    const edits = this.#answerEdits(this.#context.decision.verdict.kind);
    return { kind: "pass", edits, reading: "unread" };
  }

  /** @param piece the last that came of it: when it is all there is, it can pass as it came */
  async #whole(
    { form, dialect, coding }: Whole,
    bytes: Uint8Array,
    piece: Uint8Array,
  ): Promise<BodyReply> {
    if (form === "unreadable_error") return this.#errorInOurWords(dialect, piece);
    const judge = this.#judge();
    const decoded = await decodeBody(bytes, coding, this.#bodyLimit());
    const started = this.#context.ledger.elapsedMs;
    const run = guarded(() => {
      if (!decoded.ok) return decoded;
      return form === "error"
        ? judgeError(decoded.value, judge)
        : judgeAnswer(decoded.value, dialect, judge);
    });
    const judged = run.ok ? run.value : run;
    if (!judged.ok && form === "error" && judged.cause === "unsupported_media_type") {
      return this.#errorInOurWords(dialect, piece);
    }
    if (!judged.ok || !decoded.ok) {
      const cause = judged.ok ? "encoded_body" : judged.cause;
      if (!this.#isOpen(cause)) return this.#refuseBody(cause);
      return this.#release(bytes, piece, { action: "failed_open", coverage: unreadBy(cause) });
    }
    const answer = judged.value;
    this.#judgedMs = this.#context.ledger.elapsedMs - started;
    if (answer.refusal !== undefined) return this.#refuseBody(answer.refusal, answer);
    const mutated = answer.body !== undefined;
    const action: Outcome | undefined =
      form === "error" ? "provider_error" : mutated ? "mutated" : undefined;
    const facts = {
      ...wholeFacts(answer, this.#judgedMs),
      ...(action === undefined ? {} : { action }),
    };
    const remove = coding === "identity" ? [] : ["content-encoding"];
    const set = mutated ? [decided("mutate")] : [];
    return this.#release(answer.body ?? decoded.value, piece, facts, { set, remove });
  }

  /** An error that nobody here can read keeps its status, so that clients retry it, and gets another body. */
  #errorInOurWords(dialect: Dialect, piece: Uint8Array): Promise<BodyReply> {
    const reason = "unsupported_media_type";
    const refusal = { reason, status: this.#status, decisionId: this.#context.ledger.id } as const;
    const body = Buffer.from(dialect.refusalBody(refusal));
    const facts = { action: "provider_error", coverage: unreadBy(reason) } as const;
    const set = [["content-type", "application/json"], decided("mutate")] as const;
    return this.#release(body, piece, facts, { set, remove: ["content-encoding"] });
  }

  /** Records the outcome, then lets a whole body go. */
  async #release(
    body: Uint8Array,
    piece: Uint8Array,
    facts: OutcomeFacts,
    edits = NO_EDITS,
  ): Promise<BodyReply> {
    this.#bytesOut = body.length;
    if (!(await this.#finish(facts))) {
      return { kind: "refuse", reply: this.#localReply("audit_unavailable") };
    }
    if (body === piece) return PASS;
    const set = [...lengthOf(body).set, ...edits.set];
    return { kind: "replace", body, edits: { set, remove: edits.remove } };
  }

  async #refuseBody(reason: Reason, seen?: ResponseDecision): Promise<BodyReply> {
    const facts =
      seen === undefined
        ? { coverage: isCause(reason) ? unreadBy(reason) : { state: "full" as const } }
        : wholeFacts(seen, this.#judgedMs);
    return { kind: "refuse", reply: await this.#refuse(reason, facts) };
  }

  /** Refuses while Envoy holds the response's headers. */
  async #refuse(reason: Reason, facts: OutcomeFacts): Promise<LocalReply> {
    this.#state = { kind: "ended" };
    const durable = await this.#finish({ ...facts, reason, action: refusedAction(reason) });
    return this.#localReply(durable ? reason : "audit_unavailable");
  }

  async #step(state: Live, bytes: Uint8Array, endOfStream: boolean): Promise<BodyReply> {
    const { live, decoder, kept } = state;
    const plain = await decoder?.push(bytes, endOfStream ? "ended" : "more");
    if (plain?.ok === false) return this.#refuseLive(state, plain.cause, []);
    const started = this.#context.ledger.elapsedMs;
    const run = guarded(() => live.push(plain?.value ?? bytes, endOfStream));
    if (!run.ok) return this.#refuseLive(state, run.cause, []);
    this.#judgedMs += this.#context.ledger.elapsedMs - started;
    const step = run.value;
    if (step.kind === "refuse") return this.#refuseLive(state, step.reason, step.bytes);
    for (const part of step.bytes) kept.push(part);
    const isOver = endOfStream || live.terminal;
    if (!this.#headersOut && !isOver && !live.hasSpoken && sizeOf(kept) <= MAX_KEPT_BYTES) {
      return WITHHOLD;
    }
    const out = Buffer.concat(kept.splice(0));
    if (isOver) {
      const action = liveAction(live.evidence);
      const facts = { ...this.#liveFacts(live), ...(action === undefined ? {} : { action }) };
      const output = { released_bytes: this.#bytesOut + out.length };
      if (!(await this.#finish({ ...facts, output }))) {
        return this.#refuseLive(state, "audit_unavailable", []);
      }
    }
    this.#bytesOut += out.length;
    this.#headersOut ||= isOver || out.length > 0;
    if (endOfStream) {
      closeLive(state);
      this.#state = { kind: "ended" };
    }
    if (decoder === undefined && out.equals(bytes)) return PASS;
    return out.length === 0 ? WITHHOLD : { kind: "replace", body: out, edits: NO_EDITS };
  }

  /** Nothing more leaves. The client that has its headers already gets the refusal as an event. */
  async #refuseLive(state: Live, reason: Reason, bytes: readonly Uint8Array[]): Promise<BodyReply> {
    const { live, dialect, kept } = state;
    const { ledger } = this.#context;
    this.#state = { kind: "refused" };
    closeLive(state);
    // Bytes behind the terminal event: the client has its whole answer, and its outcome is written.
    if (ledger.outcomeWritten && reason !== "audit_unavailable") return WITHHOLD;
    if (!this.#headersOut) {
      return { kind: "refuse", reply: await this.#refuse(reason, this.#liveFacts(live)) };
    }
    const refusal = { reason, status: refusalStatus(reason), decisionId: ledger.id };
    const before = [...kept, ...bytes];
    // The last frame may have come without its blank line; one too many does no harm.
    const gap = before.length > 0 && !endsFrame(before.at(-1)) ? "\n\n" : "";
    const event = Buffer.from(`${gap}${dialect.refusalEvent(refusal)}`);
    this.#bytesOut += sizeOf(before);
    const facts = { ...this.#liveFacts(live), reason, action: refusedAction(reason) };
    // Without a record only the event leaves, and not the text in front of it.
    if (await this.#finish(facts)) return { kind: "end", body: Buffer.concat([...before, event]) };
    const unrecorded = { ...refusal, reason: "audit_unavailable" } as const;
    return { kind: "end", body: Buffer.from(dialect.refusalEvent(unrecorded)) };
  }

  #liveFacts({ evidence }: LiveResponse): OutcomeFacts {
    return liveFacts(evidence, {
      judgedMs: this.#judgedMs,
      printable: this.#context.printable,
    });
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

  #bodyLimit(): number {
    return this.#context.decision.policy?.settings.egress.limits.bodyBytes ?? 0;
  }

  #isOpen(cause: Cause): boolean {
    return this.#context.decision.policy?.settings.failure[cause] === "allow";
  }

  #judge(): CallJudge {
    const { decision, printable, ledger, hold } = this.#context;
    if (decision.policy === undefined) throw new Error("a dialect without a policy");
    const { policy, modelName: model } = decision;
    return {
      policy,
      printable,
      model,
      decisionId: ledger.id,
      clock: ledger.clock,
      hold: hold.streams,
    };
  }

  #answerEdits(word: Word): HeaderEdits {
    return { set: said(word, this.#context.ledger.id), remove: [] };
  }

  #localReply(reason: Reason): LocalReply {
    return refuse(reason, this.#context.ledger.id, this.#context.dialect);
  }
}

function closeLive({ live, decoder }: Live): void {
  live.close();
  decoder?.close();
}

const sizeOf = (pieces: readonly Uint8Array[]): number =>
  pieces.reduce((sum, { length }) => sum + length, 0);
