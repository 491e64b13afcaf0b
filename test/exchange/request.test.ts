/** Requests that are judged beside others: whom they wait for, how the wait ends, and what it leaves behind. */
import assert from "node:assert/strict";
import { systemClock } from "../../src/cli/clock.ts";
import { NOBODY } from "../../src/core/identity.ts";
import type { PolicySet } from "../../src/core/policy.ts";
import { type AuditRecord, RULES_ALONE } from "../../src/core/record.ts";
import { Exchange } from "../../src/exchange/exchange.ts";
import { passGate } from "../../src/exchange/gate.ts";
import { type Hold, holdOf } from "../../src/exchange/hold-budget.ts";
import { JudgeBudget } from "../../src/exchange/judge-budget.ts";
import { judgeRequest, type RequestDecision } from "../../src/exchange/request.ts";
import { dialectFor } from "../../src/llm/registry.ts";
import { judgedBy, policyWith } from "../envoy/ext-proc/session.ts";
import { CHAT, HEAD, Held, turn } from "./chat.ts";

const SMALL = 16_384;
const LARGE = 65_536;
const HELD_BYTES = 2 ** 20;
const POLICY = policyWith("{budgetMs: {request: 700}}");
const WAITED_FOR = new AbortController().signal;

/** A chat of so many bytes. */
function bodyOf(bytes: number): Uint8Array {
  const chat = (content: string): string =>
    JSON.stringify({ model: "m", messages: [{ role: "user", content }] });
  return Buffer.from(chat("a".repeat(bytes - chat("").length)));
}

/** Room for one body of its kind at a time. */
const narrow = (): Hold => ({
  ...holdOf(HELD_BYTES),
  judging: { middle: new JudgeBudget(1), large: new JudgeBudget(1) },
});

/** Time passes when the test says so: all timers are due then. */
function standing() {
  const due = new Set<() => void>();
  const clock = {
    ...systemClock(),
    now: 0,
    waitsMs: [] as number[],
    monotonicMs: () => clock.now,
    after: (ms: number, then: () => void) => {
      clock.waitsMs.push(ms);
      due.add(then);
      return () => void due.delete(then);
    },
    ring: () => {
      for (const then of [...due]) then();
    },
  };
  return clock;
}

function placeOf(policies: PolicySet, hold = narrow(), clock = standing()) {
  const dialect = dialectFor("POST", CHAT);
  assert.ok(dialect !== undefined);
  const { judging } = hold;
  const facts = { dialect, policies, route: "llm", path: CHAT, identity: NOBODY, clock, judging };
  const judge = (bytes: Uint8Array, signal = WAITED_FOR): Promise<RequestDecision> =>
    judgeRequest({ ...facts, bytes, signal });
  return { judge, clock };
}

/** As many turns as judging anything here takes. */
async function turns(): Promise<void> {
  for (let left = 10; left > 0; left -= 1) await turn();
}

describe("a request beside others that are judged", () => {
  it("waits for those of its own size, and a small one for nobody", async () => {
    const held = new Held();
    const { judge } = placeOf(held.policies(POLICY));
    const all: Promise<RequestDecision>[] = [];
    const begun: number[] = [];
    for (const bytes of [LARGE + 1, LARGE + 1, LARGE, SMALL + 1, SMALL, SMALL]) {
      all.push(judge(bodyOf(bytes)));
      await turns();
      begun.push(held.contexts.length);
    }
    assert.deepEqual(begun, [1, 1, 2, 2, 3, 4]);
    held.answer();
    for (const { verdict, coverage } of await Promise.all(all)) {
      assert.deepEqual([verdict.kind, coverage.state], ["allow", "full"]);
    }
    assert.equal(held.contexts.length, all.length);
  });

  it("is refused as overloaded at the end of its budget, unread, and takes no room", async () => {
    const held = new Held();
    const { judge, clock } = placeOf(held.policies(POLICY));
    const first = judge(bodyOf(LARGE + 1));
    await held.arrival;
    const late = judge(Buffer.alloc(LARGE + 1)); // no JSON: to read it would have another cause
    assert.deepEqual(clock.waitsMs, [700, 700]);
    clock.ring();
    const { cause, verdict, coverage } = await late;
    assert.deepEqual([cause, verdict.kind], ["overloaded", "deny"]);
    assert.deepEqual(coverage, { state: "none", cause: "overloaded" });
    held.answer();
    assert.equal((await first).verdict.kind, "allow");
    assert.equal((await judge(bodyOf(LARGE + 1))).verdict.kind, "allow");
  });

  it("has of its budget what the wait has left", async () => {
    const held = new Held();
    const { judge, clock } = placeOf(held.policies(POLICY));
    const first = judge(bodyOf(LARGE));
    await held.arrival;
    clock.now = 100;
    const next = judge(bodyOf(LARGE));
    assert.deepEqual(clock.waitsMs, [700, 700]); // each from when it came
    clock.now = 650;
    held.answer();
    await Promise.all([first, next]);
    assert.deepEqual(
      held.contexts.map(({ until }) => until),
      [700, 800],
    );
  });

  it("is not read for a client that has gone before its turn", async () => {
    const gone = new AbortController();
    const { judge } = placeOf(POLICY);
    const left = judge(Buffer.alloc(LARGE + 1), gone.signal);
    const next = judge(bodyOf(LARGE + 1));
    await Promise.resolve();
    gone.abort();
    assert.equal((await left).cause, "overloaded"); // read, it were malformed_json
    assert.equal((await next).verdict.kind, "allow");
  });

  it("leaves its room when its control fails", async () => {
    const failing = judgedBy(POLICY, () => Promise.reject(new Error("a defect")));
    const { judge } = placeOf(failing);
    for (const bytes of [LARGE + 1, LARGE + 1, LARGE, LARGE]) {
      assert.equal((await judge(bodyOf(bytes))).cause, "detector_error");
    }
  });
});

describe("exchanges and checks of one process", () => {
  const place = (policies: PolicySet) => {
    const records: AuditRecord[] = [];
    const hold = narrow();
    const append = async (batch: readonly AuditRecord[]): Promise<boolean> => {
      records.push(...batch);
      return true;
    };
    const deps = {
      ...{ policies, hold, recorder: { append }, clock: systemClock(), closed: undefined },
      ...{ detector: RULES_ALONE, recorded: () => {} },
    };
    const modes = { request: "buffered", response: "buffered" } as const;
    return { records, hold, deps, exchange: new Exchange({ ...deps, modes }) };
  };
  const actions = (records: readonly AuditRecord[]) =>
    records.map((one) => "verdict" in one && [one.type, one.verdict.action]);
  const BYTES = bodyOf(LARGE + 1);
  const SHOWN = { kind: "whole", bytes: BYTES } as const;

  it("wait for each other, in line until their client goes, and are on record as broken off", async () => {
    const held = new Held();
    const { deps, records, exchange } = place(held.policies(POLICY));
    await exchange.requestHeaders(HEAD);
    const first = exchange.requestBody({ bytes: BYTES, endOfStream: true });
    await held.arrival;
    const gone = new AbortController();
    const check = passGate({ head: HEAD, body: SHOWN }, deps, gone.signal);
    await turns();
    assert.equal(held.contexts.length, 1);
    gone.abort();
    assert.equal((await check).kind, "refuse");
    assert.deepEqual(actions(records), [
      ["request.decision", "failed_closed"],
      ["response.outcome", "failed_closed"],
    ]);
    held.answer();
    assert.equal((await first).kind, "pass");
    assert.equal(held.contexts.length, 1);
  });

  it("hold the bytes of a body that waits, and of one that was given up no longer", async () => {
    const held = new Held();
    const { deps, records, exchange, hold } = place(held.policies(POLICY));
    const check = passGate({ head: HEAD, body: SHOWN }, deps, WAITED_FOR);
    await held.arrival;
    await exchange.requestHeaders(HEAD);
    const waiting = exchange.requestBody({ bytes: BYTES, endOfStream: true });
    hold.bodies.change(HELD_BYTES - BYTES.length);
    assert.equal(hold.bodies.isExceeded, false);
    hold.bodies.change(1);
    assert.equal(hold.bodies.isExceeded, true);
    exchange.giveUp();
    assert.equal((await waiting).kind, "withhold");
    assert.equal(hold.bodies.isExceeded, false);
    await exchange.close();
    assert.deepEqual(actions(records)[0], ["request.decision", "failed_closed"]);
    held.answer();
    assert.equal((await check).kind, "pass");
    assert.equal(held.contexts.length, 1);
  });
});
