/** Requests whose judging waits for a detector: how the wait ends, and what may happen meanwhile. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { systemClock } from "../../src/cli/clock.ts";
import { ruleId } from "../../src/core/brand.ts";
import type { JudgeContext, RequestJudgement } from "../../src/core/control.ts";
import { Identity, NOBODY, type Vouched } from "../../src/core/identity.ts";
import type { PolicySet } from "../../src/core/policy.ts";
import { type AuditRecord, RULES_ALONE } from "../../src/core/record.ts";
import { ALLOW, type Verdict } from "../../src/core/verdict.ts";
import { processStream } from "../../src/envoy/ext-proc/stream.ts";
import { Exchange } from "../../src/exchange/exchange.ts";
import { passGate } from "../../src/exchange/gate.ts";
import { holdOf } from "../../src/exchange/hold-budget.ts";
import type { BodyMode } from "../../src/exchange/http.ts";
import { scopeOf } from "../../src/exchange/scope.ts";
import { judgedBy, policyWith, runSession, type Session } from "../envoy/ext-proc/session.ts";
import { NO_TRUST } from "../envoy/trust.ts";
import { ANSWER, BODY, CHAT, HEAD, HELLO, Held, LOCAL_504, turn } from "./chat.ts";

const open = policyWith("{failure: {detectorTimeout: allow}}");

/** `Hello` of the request becomes `Hi`. */
const MUTATE: Verdict = {
  kind: "mutate",
  reason: "injection_detected",
  redactions: [{ segment: 0, span: { start: 0, end: 5 }, replacement: "Hi" }],
  stripTools: [],
};
const DENY: Verdict = { kind: "deny", reason: "injection_detected", rule: ruleId("test.deny") };
const CAUSES = ["detector_timeout", "detector_unavailable"] as const;

const judging = (policies: PolicySet, judgement: Partial<RequestJudgement>): PolicySet =>
  judgedBy(policies, async () => ({ verdict: ALLOW, findings: [], ...judgement }));

const run = (policies: PolicySet, request: Partial<Session["request"]> = {}) =>
  runSession({
    policies,
    request: { path: CHAT, body: HELLO, ...request },
    response: { chunks: [ANSWER] },
  });

describe("a request that could not be judged in full", () => {
  for (const cause of CAUSES) {
    it(`is refused with 503 ${cause} and may come back`, async () => {
      const seen = await run(judging(policyWith("{}"), { cause }));
      assert.equal(seen.upstream, undefined);
      assert.equal(seen.client.status, 503);
      assert.equal(seen.client.headers["retry-after"], "1");
      assert.equal(JSON.parse(seen.client.body).error.code, cause);
      const [decision] = seen.decisions;
      assert.equal(decision?.verdict.action, "failed_closed");
      assert.equal(decision?.controls.length, 2);
      assert.deepEqual(decision?.detector, { injection: "rules" });
      assert.deepEqual(decision?.coverage.request, { state: "partial", cause });
    });
  }

  it("is refused for what was found all the same, and says that not all was looked at", async () => {
    for (const policies of [policyWith("{}"), open]) {
      const seen = await run(judging(policies, { verdict: DENY, cause: "detector_timeout" }));
      assert.equal(seen.client.status, 403);
      assert.equal(JSON.parse(seen.client.body).error.code, "injection_detected");
      const [decision] = seen.decisions;
      assert.equal(decision?.verdict.decision, "deny");
      assert.equal(decision?.verdict.action, "denied");
      const coverage = { state: "partial", cause: "detector_timeout" };
      assert.deepEqual(decision?.coverage.request, coverage);
    }
  });

  it("is refused for its tools although ingress came to no end", async () => {
    const policies = policyWith(
      "{failure: {detectorTimeout: allow}, action: {rules: [], definitions: {unlisted: deny}}}",
    );
    const tools = [{ type: "function", function: { name: "send", parameters: {} } }];
    const body = JSON.stringify({ ...JSON.parse(HELLO), tools });
    const seen = await run(judging(policies, { cause: "detector_timeout" }), { body });
    assert.equal(JSON.parse(seen.client.body).error.code, "action_denied");
  });

  it("passes where the policy opens the cause, on record as a failure that opened", async () => {
    const seen = await run(judging(open, { cause: "detector_timeout" }));
    assert.equal(seen.upstream?.body, HELLO);
    const [decision] = seen.decisions;
    assert.deepEqual(decision?.verdict, {
      decision: "error",
      action: "failed_open",
      reason: "detector_timeout",
    });
    const coverage = { state: "partial", cause: "detector_timeout" };
    assert.deepEqual(decision?.coverage.request, coverage);
    assert.equal(seen.outcomes[0]?.verdict.action, "failed_open");
    const other = await run(judging(open, { cause: "detector_unavailable" }));
    assert.equal(other.client.status, 503); // one cause is not the other
  });

  it("leaves with the changes that were found, decoded as it was read", async () => {
    const found = { verdict: MUTATE, cause: "detector_timeout" } as const;
    for (const [request, verdict] of [
      [{}, found],
      [{ body: gzipSync(HELLO), headers: { "content-encoding": "gzip" } }, found],
    ] as const) {
      const { upstream, decisions } = await run(judging(open, verdict), request);
      assert.equal(upstream?.body, HELLO.replace("Hello", "Hi"));
      assert.equal(upstream?.headers["content-encoding"], undefined);
      assert.equal(decisions[0]?.verdict.action, "failed_open");
    }
    const request = { body: gzipSync(HELLO), headers: { "content-encoding": "gzip" } };
    const clean = await run(judging(open, { cause: "detector_timeout" }), request);
    assert.equal(clean.upstream?.body, HELLO);
    assert.equal(clean.upstream?.headers["content-encoding"], undefined);
  });

  it("fails closed with detector_error when its control rejects, also where the cause is open", async () => {
    const policies = judgedBy(open, () => Promise.reject(new Error("a defect that quotes Hello")));
    const seen = await run(policies);
    assert.equal(JSON.parse(seen.client.body).error.code, "detector_error");
    assert.ok(!JSON.stringify([seen.decisions, seen.client]).includes("Hello"));
  });
});

const GZIP = new Map([...HEAD.headers, ["content-encoding", "gzip"]]);
const HOLD_BYTES = 2 ** 20;
const SHOWN = { kind: "whole", bytes: BODY.bytes } as const;
const WAITED_FOR = new AbortController().signal;

function exchangeOf(policies: PolicySet, request: BodyMode = "buffered") {
  const records: AuditRecord[] = [];
  const hold = holdOf(HOLD_BYTES);
  const recorder = {
    append: async (batch: readonly AuditRecord[]) => {
      records.push(...batch);
      return true;
    },
  };
  const deps = {
    policies,
    recorder,
    clock: systemClock(),
    detector: RULES_ALONE,
    recorded: () => {},
    closed: undefined,
    hold,
  };
  const modes = { request, response: "buffered" } as const;
  return { records, hold, deps, open: () => new Exchange({ ...deps, modes }) };
}
/** Asked for a verdict, which has not come yet. */
async function asked(policies: PolicySet, request: BodyMode = "buffered") {
  const held = new Held();
  const { open: begin, ...rest } = exchangeOf(held.policies(policies), request);
  const exchange = begin();
  await exchange.requestHeaders(HEAD);
  const body = exchange.requestBody(BODY);
  await held.arrival;
  return { ...rest, held, exchange, body };
}

const words = (records: readonly AuditRecord[]) =>
  records.map((one) => "verdict" in one && [one.type, one.verdict.action]);

describe("while a request waits for its verdict", () => {
  it("Envoy may answer by itself: the verdict comes too late and changes nothing", async () => {
    for (const late of [ALLOW, MUTATE, DENY]) {
      const { held, exchange, body, records } = await asked(open);
      assert.equal((await exchange.responseHeaders(LOCAL_504)).kind, "pass");
      held.answer({ verdict: late });
      assert.equal((await body).kind, "withhold");
      await exchange.close();
      assert.deepEqual(words(records), [
        ["request.decision", "local_reply"],
        ["response.outcome", "local_reply"],
      ]);
    }
  });

  it("an upstream that answers before it is refused, where headers leave first", async () => {
    const { held, exchange, body, records } = await asked(open, "streamed");
    const headers = new Map([["content-type", "application/json"]]);
    const early = { status: 200, headers, endOfStream: false, local: false };
    await exchange.responseHeaders(early);
    held.answer({ verdict: DENY });
    assert.equal((await body).kind, "withhold");
    await exchange.close();
    assert.equal(records.filter(({ type }) => type === "request.decision").length, 1);
    assert.deepEqual(words(records)[0], ["request.decision", "failed_closed"]);
  });

  it("its client may go: what was decided is recorded, and nothing is sent", async () => {
    const held = new Held();
    const { records, hold, deps, open: begin } = exchangeOf(held.policies(open));
    const gone = new AbortController();
    const sent: object[] = [];
    const fields = { ":method": "POST", ":path": CHAT, "content-type": "application/json" };
    const from = async function* (): AsyncGenerator<object> {
      yield {
        request: "request_headers",
        request_headers: {
          headers: {
            headers: Object.entries(fields).map(([key, value]) => ({
              key,
              raw_value: Buffer.from(value),
            })),
          },
        },
        protocol_config: { request_body_mode: "BUFFERED", response_body_mode: "BUFFERED" },
      };
      yield {
        request: "request_body",
        request_body: { body: BODY.bytes, end_of_stream: true },
      };
      await held.arrival;
      sent.length = 0;
      gone.abort();
    };
    const send = async (reply: object) => {
      if (!gone.signal.aborted) sent.push(reply); // as the owner of the call does
    };
    const call = { gone: gone.signal, fail: () => assert.fail("no failure"), send };
    const done = processStream(from(), call, {
      clock: deps.clock,
      openExchange: begin,
      replyDeadlineMs: 4_000,
      hold,
      trust: NO_TRUST,
    });
    await held.arrival;
    await turn();
    assert.equal(records.length, 0);
    assert.equal(held.contexts[0]?.signal?.aborted, true);
    held.answer();
    await done;
    assert.deepEqual(sent, []);
    const [decision, outcome] = records;
    assert.ok(decision?.type === "request.decision" && outcome?.type === "response.outcome");
    assert.equal(decision.verdict.action, "allowed");
    assert.deepEqual(outcome.coverage.response, { state: "none", cause: "aborted" });
    assert.equal(outcome.output.aborted, true);
  });

  it("nobody may want it any more: its control hears of it, and its record says that it broke off", async () => {
    const timedOut = { cause: "detector_timeout" } as const;
    for (const { leaves, judgement, want } of [
      {
        leaves: async (exchange: Exchange) => exchange.giveUp(),
        judgement: timedOut,
        want: ["request.decision", "failed_closed", "aborted"],
      },
      {
        leaves: async (exchange: Exchange) => exchange.giveUp(),
        judgement: { ...timedOut, verdict: DENY }, // found before it was given up
        want: ["request.decision", "denied", "detector_timeout"],
      },
      {
        leaves: (exchange: Exchange) => exchange.responseHeaders(LOCAL_504),
        judgement: timedOut,
        want: ["request.decision", "local_reply", "local_reply"],
      },
    ]) {
      const { held, exchange, body, records } = await asked(open);
      const signal = held.contexts[0]?.signal;
      assert.equal(signal?.aborted, false);
      await leaves(exchange);
      assert.equal(signal.aborted, true);
      held.answer(judgement);
      await body;
      await exchange.close();
      const [decision] = records;
      assert.ok(decision?.type === "request.decision");
      const { type, verdict, coverage } = decision;
      assert.deepEqual([type, verdict.action, coverage.request.cause], want);
      assert.equal(records.length, 2);
    }
  });

  it("another is judged and answered, each within its own policy's budget", async () => {
    const held = new Held();
    const policies = held.policies(policyWith("{budgetMs: {request: 1500}}"));
    const first = run(policies);
    await held.arrival;
    const second = await run(policyWith("{budgetMs: {request: 20}}"));
    assert.equal(second.client.status, 200);
    held.answer({ verdict: DENY });
    assert.equal((await first).client.status, 403);
  });

  it("its body counts as held, and its decoded form too", async () => {
    const held = new Held();
    const { hold, open: begin } = exchangeOf(held.policies(open));
    const exchange = begin();
    await exchange.requestHeaders({ ...HEAD, headers: GZIP });
    const bytes = gzipSync(HELLO);
    const body = exchange.requestBody({ bytes, endOfStream: true });
    await held.arrival;
    hold.bodies.change(HOLD_BYTES - bytes.length - HELLO.length);
    assert.equal(hold.bodies.isExceeded, false);
    hold.bodies.change(1);
    assert.equal(hold.bodies.isExceeded, true);
    held.answer();
    await body;
    assert.equal(hold.bodies.isExceeded, false);
  });
});

describe("a small body that decodes to more than all bodies may hold", () => {
  it("is refused as overloaded before it is judged, and given back", async () => {
    const held = new Held();
    const { hold, open: begin } = exchangeOf(held.policies(open));
    const exchange = begin();
    await exchange.requestHeaders({ ...HEAD, headers: GZIP });
    const bytes = gzipSync(`${HELLO}${" ".repeat(HOLD_BYTES)}`);
    const reply = await exchange.requestBody({ bytes, endOfStream: true });
    assert.equal(reply.kind === "refuse" && reply.reply.details, "limen_overloaded");
    assert.deepEqual(held.contexts, []);
    hold.bodies.change(HOLD_BYTES);
    assert.equal(hold.bodies.isExceeded, false);
  });
});

describe("what a request is judged with", () => {
  const clock = { ...systemClock(), monotonicMs: () => 5_000 };
  const contextOf = async (
    said: Partial<Vouched>,
    spec = "{}",
  ): Promise<JudgeContext | undefined> => {
    const held = new Held();
    held.answer();
    const { deps } = exchangeOf(held.policies(policyWith(spec)));
    const identity = new Identity({ ...NOBODY.reveal(), ...said });
    await passGate({ head: { ...HEAD, identity }, body: SHOWN }, { ...deps, clock }, WAITED_FOR);
    return held.contexts[0];
  };

  it("is the policy's budget from when it is there whole", async () => {
    assert.equal((await contextOf({}))?.until, 6_000);
    assert.equal((await contextOf({}, "{budgetMs: {request: 30}}"))?.until, 5_030);
  });

  it("is a scope that one tenant shares with nobody, and that names nobody", async () => {
    const scope = async (said: Partial<Vouched>) => (await contextOf(said))?.scope;
    const acme = await scope({ tenant: "acme" });
    assert.equal(acme, await scope({ tenant: "acme", spiffe: "spiffe://prod/other" }));
    const subject = (sub: string, jti: string) =>
      scope({
        claims: new Map([
          ["sub", [sub]],
          ["jti", [jti]],
        ]),
      });
    assert.equal(await subject("ann", "1"), await subject("ann", "2")); // every token is another
    const all = [
      acme,
      await scope({ tenant: "other" }),
      await scope({}),
      await scope({ spiffe: "spiffe://prod/acme" }),
      await scope({ spiffe: "acme" }),
      await scope({ headers: new Map([["x-team", "acme"]]) }),
      await subject("ann", "1"),
      await subject("acme", "1"),
    ];
    assert.equal(new Set(all).size, all.length);
    for (const one of all) assert.match(String(one), /^[\w-]{43}$/);
    assert.equal(scopeOf(NOBODY), await scope({}));
  });
});

describe("a gate, whose request waits", () => {
  const judged = async (judgement: Partial<RequestJudgement>, policies = policyWith("{}")) => {
    const { deps, records } = exchangeOf(judging(policies, judgement));
    return { reply: await passGate({ head: HEAD, body: SHOWN }, deps, WAITED_FOR), records };
  };

  it("refuses what it cannot judge in time, and what it would have to change", async () => {
    for (const cause of CAUSES) {
      const { reply } = await judged({ cause });
      assert.equal(reply.kind === "refuse" && reply.reply.status, 503);
      assert.equal(reply.kind === "refuse" && reply.reason, cause);
    }
    const { reply } = await judged({ verdict: MUTATE });
    assert.equal(reply.kind === "refuse" && reply.reason, "injection_detected");
  });

  it("never passes what nobody waits for and was not judged in full, also where the cause is open", async () => {
    for (const [judgement, action] of [
      [{ cause: "detector_timeout" }, "failed_closed"],
      [{ verdict: MUTATE, cause: "detector_timeout" }, "failed_closed"],
      [{ verdict: DENY, cause: "detector_timeout" }, "denied"], // found before it was given up
      [{}, "allowed"], // judged in full before it was
    ] as const) {
      const held = new Held();
      const { deps, records } = exchangeOf(held.policies(open));
      const gone = new AbortController();
      const reply = passGate({ head: HEAD, body: SHOWN }, deps, gone.signal);
      await held.arrival;
      gone.abort();
      held.answer(judgement);
      assert.equal((await reply).kind, action === "allowed" ? "pass" : "refuse");
      assert.deepEqual(words(records), [
        ["request.decision", action],
        ["response.outcome", action],
      ]);
    }
  });

  it("passes it where the policy opens the cause, but nothing that was found with it", async () => {
    const { reply, records } = await judged({ cause: "detector_timeout" }, open);
    assert.deepEqual([reply.kind, reply.reason], ["pass", "detector_timeout"]);
    assert.deepEqual(words(records)[0], ["request.decision", "failed_open"]);
    const found = await judged({ verdict: MUTATE, cause: "detector_timeout" }, open);
    assert.equal(found.reply.kind === "refuse" && found.reply.reason, "injection_detected");
    assert.deepEqual(words(found.records)[0], ["request.decision", "denied"]);
  });
});
