/** A process with a watchdog, for `watchdog.slow.ts`: what it does with its event loop is its argument. */
import { decisionId } from "../../src/core/brand.ts";
import type { Clock } from "../../src/core/clock.ts";
import { openWatchdog } from "../../src/envoy/watchdog.ts";
import { createLog } from "../../src/telemetry/log.ts";

const clock: Clock = {
  wallUs: () => BigInt(Date.now()) * 1000n,
  monotonicMs: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  soon: (then) => void setImmediate(then),
  turn: () => Promise.resolve(),
  newDecisionId: () => decisionId("unused"),
};
const LIMIT_MS = 400;
const deadline = performance.now() + 4 * LIMIT_MS;

const watchdog = openWatchdog(clock, LIMIT_MS);
const spin = (untilMs: number): void => {
  while (performance.now() < untilMs);
};
const acts: Record<string, () => void | Promise<void>> = {
  /** Blocks for ever, once the watchdog has surely started. */
  block: () => void setTimeout(() => spin(Number.POSITIVE_INFINITY), LIMIT_MS),
  /** Blocks in the diary, which nobody reads. */
  mute() {
    const log = createLog(clock);
    for (;;) log("service_started");
  },
  /** Busy, but never for as long as the limit. */
  async busy() {
    while (performance.now() < deadline) {
      spin(performance.now() + LIMIT_MS / 2);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await watchdog.close();
    process.stdout.write("closed");
  },
  /** Nobody watches any more. */
  async closed() {
    await watchdog.close();
    spin(deadline);
    process.stdout.write("closed");
  },
};
await acts[process.argv[2] ?? ""]?.();
