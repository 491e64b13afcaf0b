/**
 * Envoy's part of one exchange, in memory: sends messages to the real stream handler in the order and with the waits
 * of a real Envoy in the given body modes, applies the replies, and says what upstream and client would have seen.
 */
import assert from "node:assert/strict";
import { createAction } from "../../../src/action/action.ts";
import { systemClock } from "../../../src/cli/clock.ts";
import type { RequestControl } from "../../../src/core/control.ts";
import type { PolicySet } from "../../../src/core/policy.ts";
import {
  type AuditRecord,
  type DecisionRecord,
  type OutcomeRecord,
  RULES_ALONE,
} from "../../../src/core/record.ts";
import { createEgress } from "../../../src/egress/egress.ts";
import { processStream } from "../../../src/envoy/ext-proc/stream.ts";
import { Exchange } from "../../../src/exchange/exchange.ts";
import { type Hold, holdOf } from "../../../src/exchange/hold-budget.ts";
import type { BodyModes } from "../../../src/exchange/http.ts";
import { createIngress } from "../../../src/ingress/ingress.ts";
import { compile } from "../../../src/policy/compile.ts";
import { parsePolicies } from "../../../src/policy/schema.ts";
import { NO_TRUST } from "../trust.ts";

/** @param ingress another detector of injections can be given to it */
export function policySet(text: string, ingress = createIngress): PolicySet {
  const problems: Parameters<typeof parsePolicies>[1] = [];
  const documents = parsePolicies([{ name: "test.yaml", text }], problems);
  assert.deepEqual(problems, []);
  const factories = { ingress, egress: createEgress, action: createAction };
  return compile(documents, factories);
}

/** A policy with this spec (YAML, flow or block). */
export const policyWith = (spec: string, ingress = createIngress): PolicySet =>
  policySet(
    `apiVersion: limen.dev/v1alpha1\nkind: BoundaryPolicy\nmetadata: {name: test}\nspec: ${spec}\n`,
    ingress,
  );

/** The policies with another control at ingress, which is given theirs. */
export const judgedBy = (
  policies: PolicySet,
  judge: (
    ...asked: [...Parameters<RequestControl["judgeRequest"]>, own: RequestControl]
  ) => ReturnType<RequestControl["judgeRequest"]>,
): PolicySet => ({
  ...policies,
  select(facts) {
    const policy = policies.select(facts);
    if (policy === undefined) return undefined;
    const own = policy.controls.ingress;
    const ingress: RequestControl = {
      judgeRequest: (request, context) => judge(request, context, own),
    };
    return { ...policy, controls: { ...policy.controls, ingress } };
  },
});

type HttpRequest = {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Pieces are what a proxy that does not buffer would send one by one. */
  readonly body?: Piece | readonly Piece[];
};
type Piece = string | Uint8Array;
type HttpResponse = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly chunks: readonly Piece[];
  /** The body ends by trailers; they are shown to the filter. */
  readonly trailers?: "shown";
  /** `response.code_details`; a reply of Envoy's own has another. */
  readonly details?: string;
};

export type Seen = {
  /** What the provider would have got; undefined when the request never left. */
  readonly upstream:
    | { readonly body: string; readonly headers: Record<string, string> }
    | undefined;
  readonly client: {
    readonly status: number;
    readonly headers: Record<string, string>;
    readonly body: string;
    /** Bytes released with each response body message. */
    readonly parts: readonly string[];
    readonly streamed: boolean;
  };
  readonly decisions: readonly DecisionRecord[];
  readonly outcomes: readonly OutcomeRecord[];
  /** The status with which the call ended, undefined for OK. */
  readonly failure: unknown;
};

type Reply = Record<string, unknown>;
type Mutation = {
  header_mutation?: {
    set_headers?: { header: { key: string; raw_value: Buffer } }[];
    remove_headers?: string[];
  };
  body_mutation?: {
    body?: Buffer;
    clear_body?: boolean;
    streamed_response?: { body: Buffer; end_of_stream: boolean };
  };
};
type BodyMode = "NONE" | "BUFFERED" | "STREAMED" | "FULL_DUPLEX_STREAMED";

/** Messages in, replies out; `next` waits for the reply to what was sent last. */
class Wire {
  readonly #queue: object[] = [];
  readonly #replies: Reply[] = [];
  #wake: () => void = () => {};
  #heard: () => void = () => {};
  #ended = false;

  push(message: object): void {
    this.#queue.push(message);
    this.#wake();
  }
  halfClose(): void {
    this.#ended = true;
    this.#wake();
  }
  heard(reply: Reply): void {
    this.#replies.push(reply);
    this.#heard();
  }
  wake(): void {
    this.#heard();
  }
  async next(failed: () => unknown): Promise<Reply> {
    while (this.#replies.length === 0 && failed() === undefined) {
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
    if (failed() !== undefined) throw failed();
    return this.#replies.shift() ?? {};
  }
  async *messages(): AsyncGenerator<object> {
    for (;;) {
      const message = this.#queue.shift();
      if (message !== undefined) yield message;
      else if (this.#ended) return;
      else
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
    }
  }
}

const headerMap = (headers: Readonly<Record<string, string>>) => ({
  headers: Object.entries(headers).map(([key, value]) => ({ key, raw_value: Buffer.from(value) })),
});

function applied(headers: Record<string, string>, mutation: Mutation | undefined): void {
  for (const name of mutation?.header_mutation?.remove_headers ?? []) delete headers[name];
  for (const { header } of mutation?.header_mutation?.set_headers ?? []) {
    headers[header.key] = header.raw_value.toString();
  }
}

const bodyAfter = (mutation: Mutation | undefined, original: Uint8Array): Buffer => {
  const changed = mutation?.body_mutation;
  assert.equal(changed?.streamed_response, undefined, "the form of full duplex in another mode");
  if (changed?.clear_body === true) return Buffer.alloc(0);
  return changed?.body === undefined ? Buffer.from(original) : Buffer.from(changed.body);
};

const attributes = (fields: Record<string, string>) => ({
  "envoy.filters.http.ext_proc": {
    fields: Object.fromEntries(
      Object.entries(fields).map(([name, stringValue]) => [name, { stringValue }]),
    ),
  },
});

export type Session = {
  readonly policies: PolicySet;
  readonly request: HttpRequest;
  readonly response?: HttpResponse;
  readonly route?: string;
  /** BUFFERED both, when left out. */
  readonly modes?: { readonly request: BodyMode; readonly response: BodyMode };
  readonly closed?: "overloaded";
  readonly hold?: Hold;
  /** Whether the log takes a record; all by default. */
  readonly durable?: (record: AuditRecord) => boolean;
};

export async function runSession(session: Session): Promise<Seen> {
  const wire = new Wire();
  const records: AuditRecord[] = [];
  const clock = systemClock();
  let failure: unknown;
  const gone = new AbortController();
  const call = {
    gone: gone.signal,
    fail: (error: unknown) => {
      failure ??= error;
      gone.abort();
      wire.wake();
    },
    send: async (reply: object) => wire.heard(reply as Reply),
  };
  const recorder = {
    append: async (batch: readonly AuditRecord[]) => {
      const taken = batch.every((record) => session.durable?.(record) ?? true);
      if (taken) records.push(...batch);
      return taken;
    },
  };
  const hold = session.hold ?? holdOf(2 ** 30);
  const openExchange = (modes: BodyModes) =>
    new Exchange({
      modes,
      policies: session.policies,
      recorder,
      clock,
      detector: RULES_ALONE,
      recorded: () => {},
      hold,
      closed: session.closed,
    });
  const done = processStream(wire.messages(), call, {
    clock,
    openExchange,
    replyDeadlineMs: 4_000,
    hold,
    trust: NO_TRUST,
  });
  const talked = await talk(session, wire, () => failure);
  wire.halfClose();
  await done;
  return {
    ...talked,
    failure,
    decisions: records.filter((record) => record.type === "request.decision"),
    outcomes: records.filter((record) => record.type === "response.outcome"),
  };
}

type Talked = Pick<Seen, "upstream" | "client">;

function refusal(reply: Reply): Talked["client"] | undefined {
  const immediate = reply["immediate_response"] as
    | { status: { code: number }; headers: Mutation["header_mutation"]; body: Buffer }
    | undefined;
  if (immediate === undefined) return undefined;
  const headers: Record<string, string> = {};
  applied(headers, { header_mutation: immediate.headers ?? {} });
  const body = immediate.body.toString();
  return { status: immediate.status.code, headers, body, parts: [], streamed: false };
}

const BUFFERED = { request: "BUFFERED", response: "BUFFERED" } as const;
const piecesOf = (body: HttpRequest["body"]): Buffer[] =>
  (Array.isArray(body) ? body : [body ?? ""]).map((piece) => Buffer.from(piece));

async function talk(session: Session, wire: Wire, failed: () => unknown): Promise<Talked> {
  const { request, response, modes = BUFFERED } = session;
  const up: Record<string, string> = {
    ":method": request.method ?? "POST",
    ":path": request.path,
    ":scheme": "http",
    ":authority": "model",
    ...(request.body === undefined ? {} : { "content-type": "application/json" }),
    ...request.headers,
  };
  const end_of_stream = request.body === undefined;
  wire.push({
    request: "request_headers",
    request_headers: { headers: headerMap(up), end_of_stream },
    attributes: attributes({ "xds.route_name": session.route ?? "llm-main" }),
    protocol_config: { request_body_mode: modes.request, response_body_mode: modes.response },
  });
  const mode = end_of_stream ? "NONE" : modes.request;
  const chunks = piecesOf(request.body);
  const sent = await send({ wire, failed, direction: "request", mode, chunks, headers: up });
  if ("refusal" in sent) return { upstream: undefined, client: sent.refusal };
  const body = sent.parts.join("");
  const upstream = { body: mode === "NONE" ? chunks.join("") : body, headers: up };
  assert.ok(response !== undefined, "the request reached the provider, which has no response");
  return { upstream, client: await respond(response, modes.response, { wire, failed }) };
}

type Flow = {
  readonly wire: Wire;
  readonly failed: () => unknown;
  readonly direction: "request" | "response";
  readonly mode: BodyMode;
  readonly chunks: readonly Buffer[];
  /** Changed as the replies say. */
  readonly headers: Record<string, string>;
  readonly trailers?: "shown" | undefined;
};
type Sent =
  | { readonly refusal: Talked["client"] }
  | { readonly parts: readonly string[]; readonly streamed: boolean };

/** Sends the body of one direction, whose headers have been sent, and reads the replies to both. */
async function send(flow: Flow): Promise<Sent> {
  if (flow.mode === "FULL_DUPLEX_STREAMED") return sendDuplex(flow);
  const { wire, failed, direction, headers } = flow;
  const head = await wire.next(failed);
  const refused = refusal(head);
  if (refused !== undefined) return { refusal: refused };
  applied(headers, (head[`${direction}_headers`] as { response: Mutation }).response);
  const override = head["mode_override"] as { response_body_mode: BodyMode } | undefined;
  const mode = override?.response_body_mode ?? flow.mode;
  if (mode === "NONE") return { parts: [], streamed: false };
  const streamed = mode === "STREAMED";
  // In BUFFERED mode Envoy sends the whole body as one message, in STREAMED as it comes, with an empty last one.
  const { chunks, trailers } = flow;
  const messages = streamed
    ? [...chunks, ...(trailers ? [] : [Buffer.alloc(0)])]
    : [Buffer.concat(chunks)];
  const parts: string[] = [];
  for (const [index, body] of messages.entries()) {
    const end_of_stream = index === messages.length - 1 && trailers === undefined;
    wire.push({ request: `${direction}_body`, [`${direction}_body`]: { body, end_of_stream } });
    const reply = await wire.next(failed);
    const late = refusal(reply);
    const isReset = streamed && direction === "response";
    if (late !== undefined && !isReset) return { refusal: late };
    // After the headers have gone a refusal by status only resets the client.
    if (late !== undefined) return { parts: [...parts, "[reset]"], streamed };
    const mutation = (reply[`${direction}_body`] as { response: Mutation }).response;
    // Too late for headers that have left.
    if (!streamed) applied(headers, mutation);
    parts.push(bodyAfter(mutation, body).toString());
  }
  if (trailers !== undefined) {
    wire.push({ request: `${direction}_trailers`, [`${direction}_trailers`]: {} });
    const reply = await wire.next(failed);
    assert.ok(`${direction}_trailers` in reply);
  }
  return { parts, streamed };
}

/** Everything is sent at once; what leaves is what the replies hold. */
async function sendDuplex(flow: Flow): Promise<Sent> {
  const { wire, failed, direction, headers, chunks, trailers } = flow;
  for (const [index, body] of chunks.entries()) {
    const end_of_stream = index === chunks.length - 1 && trailers === undefined;
    wire.push({ request: `${direction}_body`, [`${direction}_body`]: { body, end_of_stream } });
  }
  if (trailers !== undefined) {
    wire.push({ request: `${direction}_trailers`, [`${direction}_trailers`]: {} });
  }
  const parts: string[] = [];
  let isOpen = false;
  for (;;) {
    const reply = await wire.next(failed);
    const refused = refusal(reply);
    if (refused !== undefined)
      return isOpen ? { parts: [...parts, "[reset]"], streamed: true } : { refusal: refused };
    if (`${direction}_headers` in reply) {
      assert.ok(!isOpen, "a second headers reply");
      isOpen = true;
      applied(headers, (reply[`${direction}_headers`] as { response: Mutation }).response);
      if (chunks.length === 0) return { parts, streamed: false };
      continue;
    }
    assert.ok(isOpen, "a body reply before the headers reply");
    if (`${direction}_trailers` in reply) return { parts, streamed: true };
    const { response } = reply[`${direction}_body`] as { response: Mutation };
    const piece = response.body_mutation?.streamed_response;
    assert.ok(piece !== undefined, "another form than that of full duplex");
    assert.ok(piece.body.length <= 64_000);
    parts.push(piece.body.toString());
    if (piece.end_of_stream) return { parts, streamed: true };
  }
}

async function respond(
  response: HttpResponse,
  mode: BodyMode,
  peer: Pick<Flow, "wire" | "failed">,
): Promise<Talked["client"]> {
  const down: Record<string, string> = {
    ":status": String(response.status ?? 200),
    "content-type": "application/json",
    ...response.headers,
  };
  const end_of_stream = response.chunks.length === 0;
  peer.wire.push({
    request: "response_headers",
    response_headers: { headers: headerMap(down), end_of_stream },
    attributes: attributes({ "response.code_details": response.details ?? "via_upstream" }),
  });
  const chunks = response.chunks.map((chunk) => Buffer.from(chunk));
  const { trailers } = response;
  const sent = await send({
    ...peer,
    direction: "response",
    mode: end_of_stream && mode !== "FULL_DUPLEX_STREAMED" ? "NONE" : mode,
    chunks,
    headers: down,
    trailers,
  });
  if ("refusal" in sent) return sent.refusal;
  const { ":status": status, ...headers } = down;
  const body = mode === "NONE" ? chunks.join("") : sent.parts.join("");
  return { status: Number(status), headers, body, parts: sent.parts, streamed: sent.streamed };
}
