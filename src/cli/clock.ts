/** The real clock: the only place where time, timers and random bytes come from. */
import { randomUUID } from "node:crypto";
import { decisionId } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";

export function systemClock(): Clock {
  // One reading of the wall clock and the monotonic one from there: microseconds, which Date does not have.
  const offsetUs = BigInt(Date.now()) * 1000n - process.hrtime.bigint() / 1000n;
  let driftUs = 0n;
  const wallUs = (): bigint => {
    const now = process.hrtime.bigint() / 1000n + offsetUs + driftUs;
    const real = BigInt(Date.now()) * 1000n;
    // The wall clock was set, or has drifted by more than its own resolution.
    if (real - now > 2_000n || now - real > 2_000n) driftUs += real - now;
    return process.hrtime.bigint() / 1000n + offsetUs + driftUs;
  };
  let turn = Promise.resolve();
  return {
    wallUs,
    monotonicMs: () => performance.now(),
    after(ms, then) {
      const timer = setTimeout(then, ms);
      timer.unref();
      return () => clearTimeout(timer);
    },
    soon: (then) => void setImmediate(then),
    turn() {
      // Asked for in one turn, an immediate comes in the next: each waits for the one before.
      turn = turn.then(() => new Promise((resolve) => setImmediate(resolve)));
      return turn;
    },
    newDecisionId() {
      // UUIDv7: 48 bits of Unix milliseconds, the version, then 74 random bits of a version 4 UUID.
      const time = Date.now().toString(16).padStart(12, "0");
      return decisionId(`${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`);
    },
  };
}
