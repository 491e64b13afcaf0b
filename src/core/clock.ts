import type { DecisionId } from "./brand.ts";

/**
 * Clocks, timers and random bytes: one value, built in `cli/serve.ts` and passed down. Durations use the
 * monotonic clock, records the wall clock.
 */
export interface Clock {
  /** Microseconds since the Unix epoch. */
  wallUs(): bigint;
  /** Milliseconds, with fractions, from an arbitrary start; never goes back. */
  monotonicMs(): number;
  /** Runs `then` once after `ms` milliseconds unless the returned function is called first. */
  after(ms: number, then: () => void): () => void;
  /** Runs `then` once at the end of this turn of the event loop. */
  soon(then: () => void): void;
  /**
   * A turn of the event loop for whoever asks: two never get the same one, so that others wait for one piece of long
   * work, not for one of each.
   */
  turn(): Promise<void>;
  /** A fresh UUIDv7 (RFC 9562 section 5.7). */
  newDecisionId(): DecisionId;
}
