/**
 * How much of requests may be judged at once. A body that is judged in steps is in memory many times over until the
 * last of them, and of many that are begun each waits for the others: so few are begun. The rest wait as bytes, which
 * `Hold.bodies` counts, in the order in which they came.
 */
import { fail, ok, type Result } from "../core/cause.ts";
import type { Clock } from "../core/clock.ts";

export type Wait = {
  readonly clock: Clock;
  /** Monotonic milliseconds. */
  readonly until: number;
  /** Aborted: nobody waits for the judgement any more. */
  readonly signal: AbortSignal;
};

type Waiting = { readonly bytes: number; readonly enter: () => void };

/** Invariant: together the bodies that are judged have at most `limitBytes`, or there is only one of them. */
export class JudgeBudget {
  readonly #limitBytes: number;
  /** Of those that are judged: added as a wait ends, taken away as the judging does. */
  #usedBytes = 0;
  /** In order; whose turn it is, who is late and who has gone leaves it. */
  readonly #queue = new Set<Waiting>();

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /**
   * Judges a body of so many bytes when there is room for it and nobody is before it.
   * @param judge fails as itself, and frees its room then too
   * @returns `overloaded` when the wait has ended first
   */
  async admit<T>(bytes: number, wait: Wait, judge: () => Promise<T>): Promise<Result<T>> {
    if (!(await this.#entered(bytes, wait))) return fail("overloaded");
    try {
      return ok(await judge());
    } finally {
      this.#usedBytes -= bytes;
      this.#letIn();
    }
  }

  async #entered(bytes: number, { clock, until, signal }: Wait): Promise<boolean> {
    if (signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiting = { bytes, enter: () => resolve(true) };
    const leave = (): void => {
      this.#queue.delete(waiting);
      resolve(false);
      this.#letIn(); // a smaller one may stand behind it
    };
    const stop = clock.after(until - clock.monotonicMs(), leave);
    signal.addEventListener("abort", leave);
    this.#queue.add(waiting);
    this.#letIn();
    try {
      return await promise;
    } finally {
      stop();
      signal.removeEventListener("abort", leave);
    }
  }

  /** A small one does not overtake a large one: it could be overtaken for ever. */
  #letIn(): void {
    for (const waiting of this.#queue) {
      const isRoom = this.#usedBytes + waiting.bytes <= this.#limitBytes;
      if (!isRoom && this.#usedBytes > 0) return;
      this.#queue.delete(waiting);
      this.#usedBytes += waiting.bytes; // here: whoever is looked at next must see it
      waiting.enter();
    }
  }
}

export type JudgeBudgets = {
  /** Of bodies whose judging takes a few turns, and of larger ones, which those need not wait for. */
  readonly middle: JudgeBudget;
  readonly large: JudgeBudget;
};

/**
 * What is judged takes up to 34 times its bytes (measured: the shortest addresses, all redacted), so that these take
 * 408 MiB of the 768 that istio/limen.yaml gives. One body as large as policies allow by default is all of `large`.
 */
export const judgeBudgets = (): JudgeBudgets => ({
  middle: new JudgeBudget(4 * 1_048_576),
  large: new JudgeBudget(8 * 1_048_576),
});
