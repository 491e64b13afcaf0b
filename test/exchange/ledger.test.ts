/** The two records of an exchange whose directions do not wait for each other, over a log that is slow or fails. */
import assert from "node:assert/strict";
import { systemClock } from "../../src/cli/clock.ts";
import { type AuditRecord, RULES_ALONE } from "../../src/core/record.ts";
import { Exchange } from "../../src/exchange/exchange.ts";
import { holdOf } from "../../src/exchange/hold-budget.ts";
import type { BodyMode, ResponseHead } from "../../src/exchange/http.ts";
import { policyWith } from "../envoy/ext-proc/session.ts";
import { BODY, HEAD, turn } from "./chat.ts";

const policies = policyWith("{}");
const early: ResponseHead = {
  status: 200,
  headers: new Map([["content-type", "text/event-stream"]]),
  endOfStream: false,
  local: false,
};

/** A log that answers each append when the test says so. */
class Log {
  readonly asked: { readonly types: readonly string[]; readonly answer: (ok: boolean) => void }[] =
    [];
  readonly durable: string[] = [];
  append(records: readonly AuditRecord[]): Promise<boolean> {
    const types = records.map(({ type }) => type);
    return new Promise((resolve) => {
      const answer = (ok: boolean): void => {
        if (ok) this.durable.push(...types);
        resolve(ok);
      };
      this.asked.push({ types, answer });
    });
  }
}

const exchangeOver = (recorder: Pick<Log, "append">, request: BodyMode): Exchange =>
  new Exchange({
    policies,
    modes: { request, response: "buffered" },
    recorder,
    clock: systemClock(),
    detector: RULES_ALONE,
    recorded: () => {},
    hold: holdOf(2 ** 20),
    closed: undefined,
  });
/** A log that takes everything at once. */
const willing = (): { readonly records: AuditRecord[]; append: Log["append"] } => {
  const records: AuditRecord[] = [];
  return {
    records,
    append: async (more) => {
      records.push(...more);
      return true;
    },
  };
};

describe("a response that comes while the request's decision is on its way to the log", () => {
  for (const durable of [true, false]) {
    it(`waits for it, and ${durable ? "passes when it is durable" : "goes nowhere when it is not"}`, async () => {
      const log = new Log();
      const exchange = exchangeOver(log, "streamed");
      await exchange.requestHeaders(HEAD);
      const request = exchange.requestBody(BODY);
      await turn(); // judged, and not yet durable
      let answered = false;
      const response = exchange.responseHeaders(early).then((reply) => {
        answered = true;
        return reply;
      });
      await turn();
      assert.deepEqual(
        log.asked.map(({ types }) => types),
        [["request.decision"]],
      );
      assert.equal(answered, false);
      log.asked[0]?.answer(durable);
      assert.equal((await request).kind, durable ? "pass" : "refuse");
      assert.equal((await response).kind, durable ? "pass" : "refuse");
      const closed = exchange.close();
      await turn();
      log.asked[1]?.answer(true);
      await closed;
      assert.deepEqual(log.durable, durable ? ["request.decision", "response.outcome"] : []);
    });
  }
});

describe("a response to a request whose body was never shown", () => {
  // Envoy does not show trailers that it was not told to show: behind no body they are all there is.
  it("is refused where the proxy buffers, and both records say so", async () => {
    const log = willing();
    const exchange = exchangeOver(log, "buffered");
    await exchange.requestHeaders(HEAD);
    const reply = await exchange.responseHeaders(early);
    assert.equal(reply.kind === "refuse" && reply.reply.details, "limen_body_not_shown");
    await exchange.close();
    const words = log.records.map((one) => "verdict" in one && [one.type, one.verdict.action]);
    assert.deepEqual(words, [
      ["request.decision", "failed_closed"],
      ["response.outcome", "failed_closed"],
    ]);
  });

  it("passes where headers leave first, and is judged", async () => {
    const log = willing();
    const exchange = exchangeOver(log, "streamed");
    await exchange.requestHeaders(HEAD);
    const reply = await exchange.responseHeaders(early);
    assert.equal(reply.kind === "pass" && reply.reading, "live");
  });
});
