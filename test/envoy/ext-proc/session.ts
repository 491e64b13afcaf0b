/**
 * Envoy's part of one exchange, in memory: sends messages to the real stream handler in the order and with the waits
 * of a real Envoy in profile P1, applies the replies, and says what upstream and client would have seen.
 */
import assert from "node:assert/strict";
import { createAction } from "../../../src/action/action.ts";
import { systemClock } from "../../../src/cli/clock.ts";
import type { PolicySet } from "../../../src/core/policy.ts";
import type { AuditRecord, DecisionRecord, OutcomeRecord } from "../../../src/core/record.ts";
import { createEgress } from "../../../src/egress/egress.ts";
import { processStream } from "../../../src/envoy/ext-proc/stream.ts";
import { Exchange } from "../../../src/exchange/exchange.ts";
import { HoldBudget } from "../../../src/exchange/hold-budget.ts";
import { createIngress } from "../../../src/ingress/ingress.ts";
import { compile } from "../../../src/policy/compile.ts";
import { parsePolicies } from "../../../src/policy/schema.ts";
import { NO_TRUST } from "../trust.ts";

export function policySet(text: string): PolicySet {
  const problems: Parameters<typeof parsePolicies>[1] = [];
  const documents = parsePolicies([{ name: "test.yaml", text }], problems);
  assert.deepEqual(problems, []);
  const factories = { ingress: createIngress, egress: createEgress, action: createAction };
  return compile(documents, factories);
}

/** A policy with this spec (YAML, flow or block). */
export const policyWith = (spec: string): PolicySet =>
  policySet(
    `apiVersion: limen.dev/v1alpha1\nkind: BoundaryPolicy\nmetadata: {name: test}\nspec: ${spec}\n`,
  );

type HttpRequest = {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
};
type HttpResponse = {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly chunks: readonly (string | Uint8Array)[];
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
  body_mutation?: { body?: Buffer; clear_body?: boolean };
};

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
  async next(failed: () => unknown): Promise<Reply> {
    while (this.#replies.length === 0) {
      if (failed() !== undefined) throw failed();
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
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
  readonly closed?: "overloaded";
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
      wire.heard({});
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
  const openExchange = () =>
    new Exchange({
      policies: session.policies,
      recorder,
      clock,
      recorded: () => {},
      hold: new HoldBudget(2 ** 30),
      closed: session.closed,
    });
  const done = processStream(wire.messages(), call, {
    clock,
    openExchange,
    replyDeadlineMs: 4_000,
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

async function talk(session: Session, wire: Wire, failed: () => unknown): Promise<Talked> {
  const { request, response } = session;
  const body = Buffer.from(request.body ?? "");
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
    protocol_config: { request_body_mode: "BUFFERED", response_body_mode: "BUFFERED" },
  });
  const head = await wire.next(failed);
  let client = refusal(head);
  if (client !== undefined) return { upstream: undefined, client };
  applied(up, (head["request_headers"] as { response: Mutation }).response);
  let sent: Uint8Array = body;
  if (!end_of_stream) {
    wire.push({ request: "request_body", request_body: { body, end_of_stream: true } });
    const reply = await wire.next(failed);
    client = refusal(reply);
    if (client !== undefined) return { upstream: undefined, client };
    const mutation = (reply["request_body"] as { response: Mutation }).response;
    applied(up, mutation);
    sent = bodyAfter(mutation, body);
  }
  const upstream = { body: Buffer.from(sent).toString(), headers: up };
  assert.ok(response !== undefined, "the request reached the provider, which has no response");
  return { upstream, client: await respond(response, wire, failed) };
}

async function respond(
  response: HttpResponse,
  wire: Wire,
  failed: () => unknown,
): Promise<Talked["client"]> {
  const down: Record<string, string> = {
    ":status": String(response.status ?? 200),
    "content-type": "application/json",
    ...response.headers,
  };
  const end_of_stream = response.chunks.length === 0;
  wire.push({
    request: "response_headers",
    response_headers: { headers: headerMap(down), end_of_stream },
    attributes: attributes({ "response.code_details": response.details ?? "via_upstream" }),
  });
  const head = await wire.next(failed);
  const refused = refusal(head);
  if (refused !== undefined) return refused;
  applied(down, (head["response_headers"] as { response: Mutation }).response);
  const override = head["mode_override"] as { response_body_mode: string } | undefined;
  const streamed = override?.response_body_mode === "STREAMED";
  const chunks = response.chunks.map((chunk) => Buffer.from(chunk));
  // In BUFFERED mode Envoy sends the whole body as one message, in STREAMED as it comes, with an empty last one.
  const messages = streamed ? [...chunks, Buffer.alloc(0)] : [Buffer.concat(chunks)];
  const parts: string[] = [];
  for (const [index, bytes] of end_of_stream ? [] : messages.entries()) {
    const last = index === messages.length - 1;
    wire.push({ request: "response_body", response_body: { body: bytes, end_of_stream: last } });
    const reply = await wire.next(failed);
    const late = refusal(reply);
    if (late !== undefined) {
      assert.ok(
        !streamed,
        "a refusal by status after the headers have gone only resets the client",
      );
      return late;
    }
    const mutation = (reply["response_body"] as { response: Mutation }).response;
    applied(down, mutation);
    parts.push(bodyAfter(mutation, bytes).toString());
  }
  const { ":status": status, ...headers } = down;
  return { status: Number(status), headers, body: parts.join(""), parts, streamed };
}
