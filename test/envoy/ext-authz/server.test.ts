/** Checks by a gRPC client, over loopback: what the server owes a call whatever the gate decides. */
import assert from "node:assert/strict";
import {
  type Client,
  type ClientUnaryCall,
  status as Code,
  credentials,
  makeGenericClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import fc from "fast-check";
import { service as healthService } from "grpc-health-check";
import { systemClock } from "../../../src/cli/clock.ts";
import type { PolicySet } from "../../../src/core/policy.ts";
import { type AuditRecord, type Recorder, RULES_ALONE } from "../../../src/core/record.ts";
import { authorization, EXT_AUTHZ_SERVICE } from "../../../src/envoy/proto.ts";
import { BoundaryServer } from "../../../src/envoy/server.ts";
import { Held } from "../../exchange/chat.ts";
import { policyWith } from "../ext-proc/session.ts";
import { NO_TRUST } from "../trust.ts";
import { chat, checkOf, codeOf, JSON_TYPE, type Reply } from "./gated.ts";
import { readReply } from "./second-decoder.ts";

const policies = policyWith("{ingress: {injection: {user: deny}}}");
const HELLO = checkOf({ headers: [JSON_TYPE], body: chat("hello") });
const DRAIN_MS = 500;

/** A log that takes what it is given, when it is let. */
class HeldLog implements Recorder {
  readonly records: AuditRecord[] = [];
  #held: (() => void)[] | undefined;
  #arrived: () => void = () => {};

  hold(): void {
    this.#held = [];
  }
  /** Resolves when the next records are here and wait. */
  arrival(): Promise<void> {
    return new Promise((resolve) => {
      this.#arrived = resolve;
    });
  }
  release(): void {
    for (const go of this.#held ?? []) go();
    this.#held = undefined;
  }
  async append(records: readonly AuditRecord[]): Promise<boolean> {
    const held = this.#held;
    if (held !== undefined) {
      const released = new Promise<void>((resolve) => held.push(resolve));
      this.#arrived();
      await released;
    }
    this.records.push(...records);
    return true;
  }
}

type Answer = {
  readonly reply: Reply | undefined;
  readonly code: number;
  readonly details: string;
};

type Options = {
  readonly policies?: PolicySet;
  readonly maxExchanges?: number;
  readonly maxHeldBytes?: number;
  readonly replyDeadlineMs?: number;
};

class Place {
  readonly log = new HeldLog();
  readonly failures: unknown[] = [];
  readonly server: BoundaryServer;
  #client: Client | undefined;

  constructor({ policies: own = policies, ...limits }: Options = {}) {
    const clock = systemClock();
    this.server = new BoundaryServer({
      clock,
      exchangeDeps: () => ({
        policies: own,
        recorder: this.log,
        clock,
        detector: RULES_ALONE,
        recorded: () => {},
      }),
      callFailed: (error) => this.failures.push(error),
      maxExchanges: 8,
      maxHeldBytes: 2 ** 20,
      maxMessageBytes: 2 ** 20,
      replyDeadlineMs: 10_000,
      trust: NO_TRUST,
      ...limits,
    });
  }

  async open(): Promise<this> {
    const address = await this.server.bind("127.0.0.1:0");
    const Both = makeGenericClientConstructor({ ...authorization, ...healthService }, "both");
    this.#client = new Both(address, credentials.createInsecure());
    return this;
  }

  async close(): Promise<void> {
    this.#client?.close();
    await this.server.drain(DRAIN_MS);
  }

  /** @param bytes the message as it stands on the wire */
  send(bytes: Buffer): { readonly call: ClientUnaryCall; readonly answer: Promise<Answer> } {
    const { promise: answer, resolve } = Promise.withResolvers<Answer>();
    const call = this.#client!.makeUnaryRequest(
      `/${EXT_AUTHZ_SERVICE}/Check`,
      (message: Buffer) => message,
      readReply,
      bytes,
      (error: ServiceError | null, reply?: Reply) => {
        const { code, details } = error ?? { code: Code.OK, details: "" };
        resolve({ reply, code, details });
      },
    );
    return { call, answer };
  }

  check = (check: object) => this.send(authorization["Check"]!.requestSerialize(check));

  health(): Promise<string> {
    const { Check } = healthService;
    return new Promise((resolve, reject) => {
      this.#client!.makeUnaryRequest(
        Check!.path,
        Check!.requestSerialize,
        Check!.responseDeserialize as (bytes: Buffer) => { status: string },
        { service: EXT_AUTHZ_SERVICE },
        (error: ServiceError | null, reply?: { status: string }) =>
          error === null ? resolve(String(reply?.status)) : reject(error),
      );
    });
  }
}

describe("the server, asked for a check", () => {
  let place: Place;
  afterEach(async () => {
    place.log.release();
    await place.close();
  });

  it("answers after both records are on the log, not before", async () => {
    place = await new Place().open();
    place.log.hold();
    const arrived = place.log.arrival();
    const { answer } = place.check(HELLO);
    await arrived;
    assert.equal(place.server.open, 1);
    let answered = false;
    void answer.then(() => {
      answered = true;
    });
    assert.equal(await place.health(), "SERVING"); // a whole turn on the same connection
    assert.equal(answered, false);
    place.log.release();
    const { reply } = await answer;
    assert.deepEqual(reply?.status, { code: 0 });
    assert.equal(place.log.records.length, 2);
    assert.equal(place.server.open, 0);
  });

  it("refuses what is more than it takes on as a value, and counts from the admission on", async () => {
    place = await new Place({ maxExchanges: 2 }).open();
    place.log.hold();
    for (const _ of [1, 2]) {
      const arrived = place.log.arrival();
      place.check(HELLO);
      await arrived;
    }
    const arrived = place.log.arrival();
    const third = place.check(HELLO).answer;
    await arrived;
    place.log.release();
    const { reply, code } = await third;
    assert.deepEqual([code, reply?.status], [Code.OK, { code: 7 }]);
    assert.deepEqual(
      [codeOf(reply ?? {}), reply?.denied_response?.status],
      ["overloaded", { code: 503 }],
    );
  });

  it("records what it decided for a client that has gone", async () => {
    place = await new Place().open();
    place.log.hold();
    const arrived = place.log.arrival();
    const { call, answer } = place.check(HELLO);
    await arrived;
    call.cancel();
    assert.equal((await answer).code, Code.CANCELLED);
    place.log.release();
    await place.close();
    assert.deepEqual(
      place.log.records.map(({ type }) => type),
      ["request.decision", "response.outcome"],
    );
    assert.deepEqual(place.failures, []);
  });

  it("tells the control of a client that has gone, and records that it broke off", async () => {
    const held = new Held();
    place = await new Place({ policies: held.policies(policies) }).open();
    const { call, answer } = place.check(HELLO);
    await held.arrival;
    const signal = held.contexts[0]?.signal;
    assert.equal(signal?.aborted, false);
    call.cancel();
    await new Promise((resolve) => signal?.addEventListener("abort", resolve));
    held.answer({ cause: "detector_timeout" });
    assert.equal((await answer).code, Code.CANCELLED);
    await place.close();
    const [decision, outcome, ...more] = place.log.records;
    assert.ok(decision?.type === "request.decision" && outcome?.type === "response.outcome");
    assert.deepEqual(decision.verdict, { decision: "error", action: "failed_closed" });
    assert.deepEqual(decision.coverage.request, { state: "none", cause: "aborted" });
    assert.deepEqual(outcome.verdict, decision.verdict);
    assert.deepEqual([more, place.failures], [[], []]);
  });

  it("tells the control of a check that was late, and takes its later word for nothing", async () => {
    const held = new Held();
    place = await new Place({ policies: held.policies(policies), replyDeadlineMs: 30 }).open();
    const { code } = await place.check(HELLO).answer;
    assert.deepEqual([code, held.contexts[0]?.signal?.aborted], [Code.UNAVAILABLE, true]);
    held.answer({ cause: "detector_timeout" });
    await place.close();
    const [decision] = place.log.records;
    assert.ok(decision?.type === "request.decision");
    assert.equal(decision.coverage.request.cause, "aborted");
    assert.equal(place.failures.length, 1);
  });

  it("fails a check whose records do not come in time, and never lets it pass", async () => {
    place = await new Place({ replyDeadlineMs: 30 }).open();
    place.log.hold();
    const { reply, code, details } = await place.check(HELLO).answer;
    assert.deepEqual([code, details], [Code.UNAVAILABLE, "limen: no verdict in time"]);
    assert.deepEqual([reply, place.failures.length], [undefined, 1]);
  });

  it("says in a drain that it takes nothing new, and waits for what is open", async () => {
    place = await new Place().open();
    place.log.hold();
    const arrived = place.log.arrival();
    const { answer } = place.check(HELLO);
    await arrived;
    const drained = place.server.drain(DRAIN_MS);
    assert.equal(await place.health(), "NOT_SERVING");
    assert.deepEqual([place.server.draining, place.server.open], [true, 1]);
    place.log.release();
    assert.deepEqual((await answer).reply?.status, { code: 0 });
    await drained;
    assert.equal(place.server.open, 0);
  });

  it("waits in a drain for a check whose verdict takes its time", async () => {
    const held = new Held();
    place = await new Place({ policies: held.policies(policies) }).open();
    const { answer } = place.check(HELLO);
    await held.arrival;
    const drained = place.server.drain(DRAIN_MS);
    assert.equal(await place.health(), "NOT_SERVING");
    assert.deepEqual([place.server.open, place.log.records.length], [1, 0]);
    held.answer();
    assert.deepEqual((await answer).reply?.status, { code: 0 });
    await drained;
    assert.equal(place.log.records.length, 2);
  });

  it("counts the bodies of all checks that wait, and takes on no more than it may hold", async () => {
    const held = new Held();
    place = await new Place({ policies: held.policies(policies), maxHeldBytes: 3_000 }).open();
    const large = checkOf({ headers: [JSON_TYPE], body: chat("hello ".repeat(300)) });
    const first = place.check(large).answer;
    await held.arrival;
    assert.equal(codeOf((await place.check(large).answer).reply ?? {}), "overloaded");
    held.answer();
    assert.deepEqual((await first).reply?.status, { code: 0 });
    assert.deepEqual((await place.check(large).answer).reply?.status, { code: 0 });
  });

  it("never lets pass what is no check, whatever its bytes are", async () => {
    place = await new Place({ maxExchanges: 2 ** 16 }).open();
    const whole = authorization["Check"]!.requestSerialize(HELLO);
    // What is known to be allowed, so that the property says something of its neighbours.
    assert.deepEqual((await place.send(whole).answer).reply?.status, { code: 0 });
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc.nat({ max: whole.length - 1 }).map((length) => whole.subarray(0, length)),
      fc
        .tuple(fc.nat({ max: whole.length - 1 }), fc.integer({ min: 1, max: 255 }))
        .map(([at, bits]) => {
          const changed = Buffer.from(whole);
          changed[at] = (changed[at] ?? 0) ^ bits;
          return changed;
        }),
    );
    const property = fc.asyncProperty(hostile, async (bytes) => {
      const before = place.log.records.length;
      const { reply, code } = await place.send(Buffer.from(bytes)).answer;
      if (code !== Code.OK) {
        assert.ok([Code.INTERNAL, Code.INVALID_ARGUMENT].includes(code), String(code));
        assert.equal(reply, undefined);
        return;
      }
      assert.equal(place.log.records.length, before + 2);
      const [decision] = place.log.records.slice(before);
      assert.ok(decision?.type === "request.decision");
      const allowed = reply?.status?.code === 0;
      assert.equal(decision.verdict.action === "allowed", allowed);
      if (!allowed) assert.ok((reply?.denied_response?.status?.code ?? 0) >= 400);
    });
    await fc.assert(property, { numRuns: 300 });
  });
});
