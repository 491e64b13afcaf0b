/**
 * Ends the process when its event loop does not answer: a dead Limen fails closed at once, a stuck one
 * keeps Envoy waiting with every exchange. The loop counts up in shared memory; a thread that has nothing
 * else to do looks whether it still does (`watchdog-thread.ts`).
 */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { Clock } from "../core/clock.ts";

/** The thread looks this many times per limit, and as many silent looks in a row end the process. */
export const LOOKS = 8;
/** Int32 cells of the shared memory; behind them, at `WALL_OFFSET`, the wall time of the last beat. */
export const BEATS = 0;
export const STOP = 1;
export const WALL_OFFSET = 8;

export type WatchdogData = { readonly memory: SharedArrayBuffer; readonly limitMs: number };

export interface Watchdog {
  close(): Promise<void>;
}

/** @param limitMs silence of the event loop that ends the process, give or take two looks */
export function openWatchdog(clock: Clock, limitMs = 2000): Watchdog {
  const memory = new SharedArrayBuffer(16);
  const cells = new Int32Array(memory, 0, 2);
  const wall = new BigInt64Array(memory, WALL_OFFSET, 1);
  let cancel = (): void => {};
  const beat = (): void => {
    wall[0] = clock.wallUs();
    Atomics.add(cells, BEATS, 1);
    cancel = clock.after(limitMs / LOOKS, beat);
  };
  beat();
  const workerData: WatchdogData = { memory, limitMs };
  // Its output is not piped: that would make our standard error non-blocking.
  const options = { workerData, stdout: true, stderr: true };
  // No listener for its errors: a watchdog that fails takes the process with it.
  const thread = new Worker(new URL("./watchdog-thread.ts", import.meta.url), options);
  thread.unref();
  return {
    async close() {
      cancel();
      thread.ref();
      const ended = once(thread, "exit");
      Atomics.store(cells, STOP, 1);
      Atomics.notify(cells, STOP);
      await ended;
    },
  };
}
