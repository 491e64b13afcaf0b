/**
 * Calls that wait for the model's threads, the shortest first. What is not done by a call's deadline, or when nobody
 * wants it any more, is answered as incomplete and asked no more. Every call is answered once, whatever the threads do.
 * What waits is bounded: calls, and units of text; where that is reached, the longest leave for shorter ones.
 */
import { fail, ok, type Result } from "../../core/cause.ts";
import type { Clock } from "../../core/clock.ts";
import type { ScoreOptions, TextScore } from "../scorer.ts";
import type { Answer } from "./protocol.ts";
import type { Reading } from "./reading.ts";
import type { Threads } from "./threads.ts";

export type Scores = Result<readonly TextScore[]>;

export type QueueOptions = {
  readonly threads: Pick<Threads, "isIdle" | "isAlive" | "ask">;
  readonly clock: Clock;
  /** Of calls that wait, and of UTF-16 units of all their texts. */
  readonly limits: { readonly calls: number; readonly units: number };
};

export type Waiting = Omit<ScoreOptions, "scope"> & { readonly units: number };

/** A call ends by then whatever its deadline; timers hold no more than 24 days. */
const MAX_WAIT_MS = 600_000;
/**
 * The share of its time that a call waits before newer ones of its length go first. With 1, under steady overload each
 * is read when it is too late for it; with 0, a short rush leaves the oldest behind. Simulated with 18 windows a call,
 * answered at 80 % and at 300 % of what can be read: 96 % and 34 % with 0.75, 96 % and 6 % with 1, 92 % and 34 % with 0.
 */
const PATIENCE = 0.75;

type Call = {
  readonly reading: Reading;
  readonly units: number;
  readonly patientUntil: number;
  readonly answer: (scores: Scores) => void;
};

export class Queue {
  readonly #options: QueueOptions;
  /** In the order they came; whoever is answered is out of it. */
  readonly #calls = new Set<Call>();
  #units = 0;
  readonly #counts = { windows: 0, cleared: 0 };

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  stats() {
    let queued = 0;
    for (const { reading } of this.#calls) queued += reading.left;
    return { ...this.#counts, queued };
  }

  /** What `reading` comes to; `detector_timeout` when the queue is full of shorter ones. Never rejects. */
  wait(reading: Reading, { units, until, signal }: Waiting): Promise<Scores> {
    const { clock } = this.#options;
    if (signal?.aborted === true) return Promise.resolve(ok(reading.scores()));
    if (!this.#makeRoom(reading, units)) return Promise.resolve(fail("detector_timeout"));
    return new Promise((resolve) => {
      const now = clock.monotonicMs();
      const leftMs = until - now;
      // No timer takes Infinity or what is no number.
      const waitMs = leftMs > 0 ? Math.min(leftMs, MAX_WAIT_MS) : 0;
      const leave = (): void => this.#settle(call, ok(reading.scores()));
      const cancelDeadline = clock.after(waitMs, leave);
      signal?.addEventListener("abort", leave);
      const answer = (scores: Scores): void => {
        cancelDeadline();
        signal?.removeEventListener("abort", leave);
        resolve(scores);
      };
      const call: Call = { reading, units, patientUntil: now + PATIENCE * waitMs, answer };
      this.#calls.add(call);
      this.#units += units;
      this.work();
    });
  }

  /** Keeps the threads busy. Called when one of them has time, has come, or is gone. */
  work(): void {
    const { threads } = this.#options;
    if (!threads.isAlive) this.close();
    while (threads.isIdle) {
      const call = this.#next();
      const errand = call?.reading.next();
      if (call === undefined || errand === undefined) return;
      threads.ask(errand.question, (answer) => {
        errand.take(answer);
        this.#answered(call, answer);
      });
    }
  }

  /**
   * Whether there is room for a call: those with more to read than it leave for it, the longest first. It would be
   * read before them anyway, and whoever fills the queue with long texts keeps nobody else out.
   */
  #makeRoom(reading: Reading, units: number): boolean {
    const { limits } = this.#options;
    while (this.#calls.size >= limits.calls || this.#units + units > limits.units) {
      let longest: Call | undefined;
      for (const call of this.#calls)
        if (call.reading.left > (longest?.reading.left ?? reading.left)) longest = call;
      if (longest === undefined) return false;
      this.#settle(longest, ok(longest.reading.scores()));
    }
    return true;
  }

  /** Answers all calls that wait. */
  close(): void {
    for (const call of this.#calls) this.#settle(call, fail("detector_unavailable"));
  }

  /**
   * The call that is nearest to its end, of equal ones the oldest until its patience is over, then the newest. In
   * turns, all of too many calls would miss their deadlines, and in the order they came, one long text would make all
   * behind it miss theirs.
   */
  #next(): Call | undefined {
    let oldest: Call | undefined;
    let newest: Call | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const call of this.#calls) {
      const { left } = call.reading;
      if (left === 0 || left > least) continue;
      if (left < least) oldest = call;
      least = left;
      newest = call;
    }
    if (oldest === undefined) return undefined;
    return this.#options.clock.monotonicMs() < oldest.patientUntil ? oldest : newest;
  }

  #answered(call: Call, answer: Answer): void {
    if (answer.kind === "scored") {
      this.#counts.windows += 1;
      if (answer.cleared) this.#counts.cleared += 1;
    }
    if (answer.kind === "failed") this.#settle(call, fail("detector_error"));
    else if (call.reading.isDone) this.#settle(call, ok(call.reading.scores()));
  }

  /** Answers a call that is not answered yet. */
  #settle(call: Call, scores: Scores): void {
    if (!this.#calls.delete(call)) return;
    this.#units -= call.units;
    call.answer(scores);
  }
}
