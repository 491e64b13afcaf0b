import assert from "node:assert/strict";
import { decisionId, ownLabel } from "../../src/core/brand.ts";
import type { Clock } from "../../src/core/clock.ts";
import { Content } from "../../src/core/content.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { MESSAGES, type Message } from "../../src/telemetry/messages.ts";

/** 2026-01-02T03:04:05.006Z, and a monotonic clock that the test moves. */
function fakeClock(): Clock & { ms: number } {
  return {
    ms: 0,
    wallUs: () => 1_767_323_045_006_789n,
    monotonicMs() {
      return this.ms;
    },
    after: () => () => {},
    soon: (then: () => void) => void setImmediate(then),
    turn: () => Promise.resolve(),
    newDecisionId: () => decisionId("unused"),
  };
}

function open() {
  const clock = fakeClock();
  const lines: string[] = [];
  const log = createLog(clock, { write: (line) => lines.push(line) });
  return { clock, log, lines, parsed: () => lines.map((line) => JSON.parse(line)) };
}

describe("log", () => {
  it("writes one JSON line with the time of the clock, the key and the text of the message", () => {
    const { log, lines } = open();
    log("policy_swapped", { digest: ownLabel("ab12"), policies: 2 });
    assert.deepEqual(lines, [
      '{"level":"info","time":"2026-01-02T03:04:05.006Z","digest":"ab12","policies":2,"event":"policy_swapped","msg":"policy set swapped"}\n',
    ]);
  });

  for (const message of Object.keys(MESSAGES) as Message[]) {
    it(`writes ${message} at its level with nothing but what it was given`, () => {
      const { log, parsed } = open();
      log(message, { code: "protocol" });
      assert.deepEqual(parsed(), [
        {
          level: MESSAGES[message].level,
          time: "2026-01-02T03:04:05.006Z",
          code: "protocol",
          event: message,
          msg: MESSAGES[message].text,
        },
      ]);
    });
  }

  it("says what calls cause at most once a second and counts the rest", () => {
    const { clock, log, parsed } = open();
    for (let call = 0; call < 5; call += 1) log("call_failed", { code: "protocol" });
    clock.ms = 999.9;
    log("call_failed", { code: "protocol" });
    assert.equal(parsed().length, 1);
    clock.ms = 1000;
    log("call_failed", { code: "protocol" });
    assert.equal(parsed().length, 2);
    assert.equal(parsed()[1].suppressed, 5);
    clock.ms = 2000;
    log("call_failed", { code: "protocol" });
    assert.equal(parsed()[2].suppressed, undefined);
  });

  it("throttles each message for itself and what is not caused by calls never", () => {
    const { log, parsed } = open();
    log("call_failed");
    log("peer_protocol_error");
    log("audit_unwritable");
    log("audit_unwritable");
    assert.deepEqual(
      parsed().map(({ event }) => event),
      ["call_failed", "peer_protocol_error", "audit_unwritable", "audit_unwritable"],
    );
  });

  it("has no field type that a prompt, a plain string or an error message fits", () => {
    const { log, lines } = open();
    const secret = ["sk", "live", "canary"].join("-");
    // @ts-expect-error a plain string is not printable
    log("call_failed", { code: String(1) });
    // @ts-expect-error neither is content, and if a cast lets it in, its text stays in
    log("audit_unwritable", { what: new Content(secret) });
    assert.equal(lines.length, 2);
    assert.doesNotMatch(lines.join(""), new RegExp(secret));
    assert.match(lines[1] ?? "", /"what":"\[content\]"/);
  });
});
