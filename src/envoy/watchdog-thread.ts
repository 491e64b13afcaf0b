/**
 * The thread of `watchdog.ts`. It counts looks instead of reading a clock: after the whole process or
 * machine was suspended the loop gets its full limit again.
 */
import { write } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { runInThisContext } from "node:vm";
import { workerData } from "node:worker_threads";
import { MESSAGES } from "../telemetry/messages.ts";
import { BEATS, LOOKS, STOP, WALL_OFFSET, type WatchdogData } from "./watchdog.ts";

/** Time that the last line gets to be written. */
const LAST_LINE_MS = 100;

const { memory, limitMs }: WatchdogData = workerData;
const cells = new Int32Array(memory, 0, 2);

let seen = 0;
let silent = 0;
// Sleeps until the next look; anything but a timeout means that the watchdog was closed.
while (Atomics.wait(cells, STOP, 0, limitMs / LOOKS) === "timed-out") {
  const beats = Atomics.load(cells, BEATS);
  silent = beats === seen ? silent + 1 : 0;
  seen = beats;
  if (silent >= LOOKS) endProcess();
}

function endProcess(): void {
  const [lastBeatUs = 0n] = new BigInt64Array(memory, WALL_OFFSET, 1);
  const { level, text } = MESSAGES.event_loop_stalled;
  const time = new Date(Number(lastBeatUs / 1000n) + limitMs).toISOString();
  const line = { level, time, limit_ms: limitMs, event: "event_loop_stalled", msg: text };
  // Handed to the thread pool: the loop may be stuck because nobody reads standard error.
  write(2, `${JSON.stringify(line)}\n`, () => {});
  Atomics.wait(cells, STOP, 0, LAST_LINE_MS);
  process.kill(process.pid, "SIGKILL");
  // Still here: the first process of a container is exempt from signals of its own namespace, SIGKILL
  // too, and a thread may neither exit nor abort. A trap instruction is a fault, which kills it as well.
  setFlagsFromString("--allow-natives-syntax");
  runInThisContext("%SystemBreak()");
}
