/** Time that stands still until it is told to go on. */
import { decisionId } from "../../../src/core/brand.ts";
import type { Clock } from "../../../src/core/clock.ts";

export class ManualClock implements Clock {
  #ms = 0;
  #timers = new Set<{ readonly at: number; readonly then: () => void }>();

  /** How many timers run. */
  get timers(): number {
    return this.#timers.size;
  }
  advance(ms: number): void {
    this.#ms += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.at - b.at)) {
      if (timer.at <= this.#ms && this.#timers.delete(timer)) timer.then();
    }
  }
  after(ms: number, then: () => void): () => void {
    const timer = { at: this.#ms + ms, then };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }
  monotonicMs = (): number => this.#ms;
  wallUs = (): bigint => 0n;
  soon = (then: () => void): void => void setImmediate(then);
  turn = (): Promise<void> => Promise.resolve();
  newDecisionId = () => decisionId("");
}
