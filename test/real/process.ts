/** Processes that a test started, and conditions that it waits for: every wait has an end and a name. */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";

const POLL_MS = 15;
const STOP_LIMIT_MS = 10_000;

/**
 * Asks until there is an answer. For what has no event to wait on: another process's port, file or log.
 * @throws Error that names `what` after `limitMs`
 */
export async function until<T>(
  limitMs: number,
  what: string,
  ask: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const end = performance.now() + limitMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > end) throw new Error(`waited ${limitMs} ms for ${what}`);
    await pause(POLL_MS);
  }
}

/** SIGTERM, and SIGKILL when that is not obeyed in time; returns when the process is gone. */
export async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, "exit");
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), STOP_LIMIT_MS);
  await gone;
  clearTimeout(late);
}
