/** What the stream handler owes Envoy beyond the content of its replies: order, deadlines, silence, refusal of weak modes. */
import assert from "node:assert/strict";
import { status as Code } from "@grpc/grpc-js";
import { systemClock } from "../../../src/cli/clock.ts";
import type { Clock } from "../../../src/core/clock.ts";
import { LimenError } from "../../../src/core/errors.ts";
import { type AuditRecord, RULES_ALONE } from "../../../src/core/record.ts";
import { StatusError } from "../../../src/envoy/call.ts";
import { processStream } from "../../../src/envoy/ext-proc/stream.ts";
import { Exchange } from "../../../src/exchange/exchange.ts";
import { holdOf } from "../../../src/exchange/hold-budget.ts";
import type { BodyModes } from "../../../src/exchange/http.ts";
import { NO_TRUST } from "../trust.ts";
import { policyWith } from "./session.ts";

type Reply = Record<string, unknown>;

/** A stream whose messages are all there at once, as Envoy pipelines them. */
class Peer {
  readonly replies: Reply[] = [];
  readonly records: AuditRecord[] = [];
  failure: unknown;
  /** Timers that are running; `expire` fires them as if their time had come. */
  readonly #timers = new Set<() => void>();
  readonly #gone = new AbortController();
  /** Resolved by the test: until then the log does not answer. */
  durable: Promise<boolean> = Promise.resolve(true);
  /** The same for the client: until then it reads nothing. */
  drained: Promise<void> = Promise.resolve();
  readonly hold = holdOf(2 ** 20);

  expire(): void {
    for (const fire of [...this.#timers]) fire();
  }

  get timers(): number {
    return this.#timers.size;
  }

  async run(messages: AsyncIterable<object> | readonly object[]): Promise<void> {
    const clock: Clock = {
      ...systemClock(),
      after: (_ms, then) => {
        this.#timers.add(then);
        return () => this.#timers.delete(then);
      },
    };
    const recorder = {
      append: async (batch: readonly AuditRecord[]) => {
        this.records.push(...batch);
        return this.durable;
      },
    };
    const call = {
      gone: this.#gone.signal,
      send: async (reply: object) => {
        if (this.#gone.signal.aborted) return; // as the owner of the call does
        this.replies.push(reply as Reply);
        await this.drained;
      },
      fail: (error: unknown) => {
        this.failure ??= error;
        this.#gone.abort();
      },
    };
    const policies = policyWith("{ingress: {passThrough: ['GET /v1/models']}}");
    const { hold } = this;
    const openExchange = (modes: BodyModes) =>
      new Exchange({
        modes,
        policies,
        recorder,
        clock,
        detector: RULES_ALONE,
        recorded: () => {},
        closed: undefined,
        hold,
      });
    const from = (async function* () {
      yield* messages;
    })();
    await processStream(from, call, {
      clock,
      openExchange,
      replyDeadlineMs: 1_000,
      hold,
      trust: NO_TRUST,
    });
  }
}

const map = (headers: Record<string, string>) => ({
  headers: Object.entries(headers).map(([key, value]) => ({ key, raw_value: Buffer.from(value) })),
});
const BUFFERED = { request_body_mode: "BUFFERED", response_body_mode: "BUFFERED" };
const CHAT = {
  ":method": "POST",
  ":path": "/v1/chat/completions",
  "content-type": "application/json",
};
const head = (headers: Record<string, string>, config: object = BUFFERED) => ({
  request: "request_headers",
  request_headers: { headers: map(headers) },
  protocol_config: config,
});
const body = {
  request: "request_body",
  request_body: {
    body: Buffer.from(JSON.stringify({ model: "m", messages: [{ role: "user", content: "x" }] })),
    end_of_stream: true,
  },
};
const answered = (details: string) => ({
  request: "response_headers",
  response_headers: { headers: map({ ":status": "413", "content-type": "text/plain" }) },
  attributes: {
    "envoy.filters.http.ext_proc": {
      fields: { "response.code_details": { stringValue: details } },
    },
  },
});
const kinds = ({ replies }: Peer): string[] =>
  replies.flatMap((reply) => Object.keys(reply)[0] ?? []);

describe("the stream handler", () => {
  for (const weak of [
    { request_body_mode: "NONE", response_body_mode: "BUFFERED" },
    { request_body_mode: "BUFFERED_PARTIAL", response_body_mode: "BUFFERED" },
    { request_body_mode: "BUFFERED", response_body_mode: "NONE" },
    { request_body_mode: "GRPC", response_body_mode: "FULL_DUPLEX_STREAMED" },
    {},
  ]) {
    it(`refuses a request that the modes ${JSON.stringify(weak)} do not show, on record`, async () => {
      const peer = new Peer();
      await peer.run([head(CHAT, weak), body]);
      assert.deepEqual(kinds(peer), ["immediate_response"]);
      const [decision, outcome] = peer.records;
      assert.ok(decision?.type === "request.decision" && outcome?.type === "response.outcome");
      assert.equal(decision.verdict.reason, "body_not_shown");
      assert.equal(outcome.verdict.action, "failed_closed");
    });
  }

  for (const [what, messages] of Object.entries({
    "a body before its headers": [{ ...body, protocol_config: BUFFERED }],
    "the headers of a request twice": [head(CHAT), head(CHAT)],
    "the headers of a response twice": [
      head(CHAT),
      answered("request_payload_too_large"),
      answered("request_payload_too_large"),
    ],
    "a response body before its headers": [
      head(CHAT),
      { request: "response_body", response_body: { body: Buffer.from("x") } },
    ],
    "trailers before everything": [
      { request: "request_trailers", request_trailers: {}, protocol_config: BUFFERED },
    ],
  })) {
    it(`calls ${what} what it is, a breach of the protocol`, async () => {
      const peer = new Peer();
      await peer.run(messages);
      assert.ok(peer.failure instanceof LimenError);
      assert.equal(peer.failure.code, "protocol");
      assert.ok(!kinds(peer).some((kind) => kind.endsWith("_body")));
    });
  }

  it("refuses a stream whose modes nobody tells", async () => {
    const peer = new Peer();
    const { protocol_config: _, ...silent } = head(CHAT);
    await assert.rejects(peer.run([silent]), { code: Code.FAILED_PRECONDITION });
    assert.deepEqual([peer.replies, peer.records], [[], []]);
  });

  it("answers in order, one reply per message, and stops all its timers", async () => {
    const peer = new Peer();
    await peer.run([head(CHAT), body]);
    assert.deepEqual(kinds(peer), ["request_headers", "request_body"]);
    assert.equal(peer.timers, 0);
  });

  it("gives no reply to messages that ask for none, and none in observability mode", async () => {
    const peer = new Peer();
    const { protocol_config: _, ...silent } = head(CHAT);
    const observed = [silent, body].map((message) => ({ ...message, observability_mode: true }));
    await peer.run([{}, ...observed, { flow_control_init: {} }]);
    assert.deepEqual(peer.replies, []);
    assert.deepEqual(
      peer.records.map((record) => "verdict" in record && record.verdict.action),
      ["bypassed", "bypassed"],
    );
  });

  it("answers trailers, and writes nothing after a refusal", async () => {
    const peer = new Peer();
    await peer.run([
      head({ ...CHAT, upgrade: "websocket" }),
      body,
      { request: "request_trailers", request_trailers: {} },
    ]);
    assert.deepEqual(kinds(peer), ["immediate_response"]);
    const passing = new Peer();
    await passing.run([head(CHAT), body, { request: "request_trailers", request_trailers: {} }]);
    assert.deepEqual(kinds(passing).at(-1), "request_trailers");
  });

  it("ends with UNAVAILABLE when the log does not answer in time, and never with a pass", async () => {
    const peer = new Peer();
    let settle: (value: boolean) => void = () => {};
    peer.durable = new Promise((resolve) => {
      settle = resolve;
    });
    const running = peer.run([head(CHAT), body]);
    while (peer.records.length === 0) await new Promise(setImmediate);
    peer.expire();
    assert.ok(peer.failure instanceof StatusError);
    assert.equal(peer.failure.code, Code.UNAVAILABLE);
    settle(true);
    await running;
    assert.deepEqual(kinds(peer), ["request_headers"]);
    assert.equal(peer.timers, 0);
  });

  it("passes a reply of Envoy's own that comes first of all, with both records", async () => {
    const peer = new Peer();
    await peer.run([{ ...answered("ext_authz_denied"), protocol_config: BUFFERED }]);
    assert.deepEqual(kinds(peer), ["response_headers"]);
    assert.deepEqual(
      peer.records.map(({ type }) => type),
      ["request.decision", "response.outcome"],
    );
  });

  it("answers one direction while the other waits for the log", async () => {
    const peer = new Peer();
    await peer.run([head(CHAT), answered("request_payload_too_large")]);
    assert.deepEqual(kinds(peer), ["request_headers", "response_headers"]);
    assert.equal(peer.failure, undefined);
  });

  it("refuses a response of the model that comes before the request was decided", async () => {
    const peer = new Peer();
    await peer.run([head(CHAT), answered("via_upstream")]);
    assert.equal(peer.failure, undefined);
    assert.deepEqual(kinds(peer), ["request_headers", "immediate_response"]);
  });

  it("waits for a client that reads slowly, for as long as it takes", async () => {
    const peer = new Peer();
    let drain: () => void = () => {};
    peer.drained = new Promise((resolve) => {
      drain = resolve;
    });
    const running = peer.run([head(CHAT), body]);
    while (peer.replies.length === 0) await new Promise(setImmediate);
    await new Promise(setImmediate);
    peer.expire();
    assert.equal(peer.failure, undefined);
    drain();
    await running;
    assert.deepEqual(kinds(peer), ["request_headers", "request_body"]);
  });

  it("stops reading while a client takes nothing, and counts what it has for it", async () => {
    const peer = new Peer();
    let drain: () => void = () => {};
    peer.drained = new Promise((resolve) => {
      drain = resolve;
    });
    let read = 0;
    const duplex = "FULL_DUPLEX_STREAMED";
    const modes = { request_body_mode: duplex, response_body_mode: duplex };
    const bytes = Buffer.alloc(200 * 1024);
    const running = peer.run(
      (async function* () {
        yield head({ ":method": "GET", ":path": "/v1/models" }, modes);
        for (; read < 30; read += 1) {
          yield { request: "request_body", request_body: { body: bytes } };
        }
      })(),
    );
    for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
    assert.ok(read >= 5 && read <= 7, `${read} messages were read`);
    drain();
    await running;
    assert.equal(read, 30);
    const pieces = peer.replies.flatMap((reply) => ("request_body" in reply ? [1] : []));
    assert.equal(pieces.length, 30 * 4); // 62,000 bytes at most in each
    peer.hold.bodies.change(2 ** 20);
    assert.equal(peer.hold.bodies.isExceeded, false); // nothing is held any more
  });

  it("keeps up with more messages than it lets wait", async () => {
    const peer = new Peer();
    const streamed = { request_body_mode: "STREAMED", response_body_mode: "BUFFERED" };
    const get = head({ ":method": "GET", ":path": "/v1/models" }, streamed);
    const chunk = { request: "request_body", request_body: { body: Buffer.from("x") } };
    await peer.run([get, ...Array(500).fill(chunk)]);
    assert.equal(peer.replies.length, 501);
  });
});
