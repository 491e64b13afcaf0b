/**
 * Long work in steps, so that whoever shares the event loop does not wait for all of it. Between two steps stands a
 * `yield`; nothing is passed through it, so that what the work comes to does not depend on where it paused.
 */
import type { Clock } from "./clock.ts";

export type Steps<T> = Generator<undefined, T, undefined>;

export type Pace = {
  readonly clock: Clock;
  /** Aborted: nobody waits for the work any more. */
  readonly signal?: AbortSignal | undefined;
};

/** How long work goes on before others have a turn. A step ends when it ends: the longest are some tens of it. */
const TURN_MS = 5;

/** All steps in one go. */
export function atOnce<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** Some steps in each turn of the event loop. Rejects as `pauses` does. */
export async function inTurns<T>(steps: Steps<T>, pace: Pace): Promise<T> {
  const pause = pauses(pace);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    const turn = pause();
    if (turn !== undefined) await turn;
  }
}

/**
 * For work that waits for others too: what to wait for between two pieces of it; nothing while the turn may go on. It
 * rejects with the signal's reason when it is aborted by the next turn.
 */
export function pauses({ clock, signal }: Pace): () => Promise<void> | undefined {
  let beganMs = clock.monotonicMs();
  const next = async (): Promise<void> => {
    await clock.turn();
    signal?.throwIfAborted();
    beganMs = clock.monotonicMs();
  };
  return () => (clock.monotonicMs() - beganMs < TURN_MS ? undefined : next());
}
