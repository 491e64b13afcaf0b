/**
 * The model's threads: each has one question at a time, and is started again when it dies, later each time.
 * Whoever asks gets an answer, also when the thread dies of the question.
 */
import { Worker } from "node:worker_threads";
import type { Clock } from "../../core/clock.ts";
import type { Problem } from "../../core/errors.ts";
import { type Answer, CLOSE, type Opening, type Question, type ThreadStart } from "./protocol.ts";

/** JavaScript alone: texts, and the strings that make them. The weights lie outside of it. */
const HEAP_MB = 64;
const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 30_000;
/** A question takes tens of milliseconds: a thread that is not gone by then never goes by itself. */
const CLOSE_MS = 5_000;
/** The longest text takes a second: a thread that has not answered by then never will. */
const ANSWER_MS = 30_000;

type Seat = {
  worker: Worker | undefined;
  isReady: boolean;
  /** Answers the question that it is at, if any. */
  settle: ((answer: Answer) => void) | undefined;
  restartMs: number;
  cancelRestart: (() => void) | undefined;
};

export type ThreadsOptions = ThreadStart & {
  readonly threads: number;
  readonly clock: Clock;
  /** Called when a thread is ready for a question, and when one died. */
  readonly onChange: () => void;
  /** Called when one of those that were started died, or could not be started again. */
  readonly onDeath: () => void;
};

export class Threads {
  readonly #options: ThreadsOptions;
  readonly #seats: readonly Seat[];
  #state: "starting" | "open" | "closing" = "starting";

  constructor(options: ThreadsOptions) {
    this.#options = options;
    this.#seats = Array.from({ length: options.threads }, () => ({
      worker: undefined,
      isReady: false,
      settle: undefined,
      restartMs: FIRST_RESTART_MS,
      cancelRestart: undefined,
    }));
  }

  /** Starts all; the first problem of those that could not, else undefined. */
  async start(): Promise<Problem | undefined> {
    const problems = await Promise.all(this.#seats.map((seat) => this.#start(seat)));
    const problem = problems.find((one) => one !== undefined);
    if (problem === undefined) this.#state = "open";
    return problem;
  }

  get isIdle(): boolean {
    return this.#seats.some(isIdle);
  }

  /** Whether a thread can be asked, now or after what it is at. */
  get isAlive(): boolean {
    return this.#state !== "closing" && this.#seats.some(({ isReady }) => isReady);
  }

  /** Asks an idle thread; there must be one. `settle` is called once, never at once. */
  ask(question: Question, settle: (answer: Answer) => void): void {
    const seat = this.#seats.find(isIdle);
    const worker = seat?.worker;
    if (seat === undefined || worker === undefined) throw new Error("no thread is idle");
    const cancel = this.#options.clock.after(ANSWER_MS, () => void worker.terminate()); // it comes back
    seat.settle = (answer) => {
      cancel();
      settle(answer);
    };
    worker.postMessage(question);
  }

  /** Answers what is asked as failed, ends the threads and waits for their end. */
  async close(): Promise<void> {
    this.#state = "closing";
    await Promise.all(this.#seats.map((seat) => this.#end(seat)));
  }

  #start(seat: Seat): Promise<Problem | undefined> {
    const { directory, manifest, pieceLimit } = this.#options;
    const workerData: ThreadStart = { directory, manifest, pieceLimit };
    const worker = new Worker(new URL("./thread.ts", import.meta.url), {
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    seat.worker = worker;
    return new Promise((resolve) => {
      worker.once("message", (opening: Opening) => {
        if (opening.kind === "refused") return resolve(opening.problem);
        worker.on("message", (answer: Answer) => this.#answered(seat, answer));
        seat.isReady = true;
        resolve(undefined);
        this.#options.onChange();
      });
      // Its message may quote a text; that it died is all there is to know.
      worker.on("error", () => {});
      worker.once("exit", () => {
        resolve({ where: directory, what: "the model's thread could not start", fix: MEMORY });
        this.#gone(seat);
      });
    });
  }

  #answered(seat: Seat, answer: Answer): void {
    seat.restartMs = FIRST_RESTART_MS;
    settle(seat, answer);
    this.#options.onChange();
  }

  #gone(seat: Seat): void {
    seat.worker = undefined;
    seat.isReady = false;
    if (this.#state === "open") this.#options.onDeath();
    settle(seat, { kind: "failed" });
    if (this.#state === "closing") return;
    seat.cancelRestart = this.#options.clock.after(seat.restartMs, () => {
      void this.#start(seat); // cannot reject; what it says now is what it does: it exits, and comes back here
    });
    seat.restartMs = Math.min(2 * seat.restartMs, LAST_RESTART_MS);
    this.#options.onChange();
  }

  async #end(seat: Seat): Promise<void> {
    seat.cancelRestart?.();
    const { worker } = seat;
    if (worker === undefined) return;
    const gone = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    const stop = this.#options.clock.after(CLOSE_MS, () => void worker.terminate()); // ends `gone`
    worker.postMessage(CLOSE);
    await gone;
    stop();
  }
}

const MEMORY = "run Limen with Node 24.15 or newer and 150 MB of memory for each thread";

const isIdle = (seat: Seat): boolean => seat.isReady && seat.settle === undefined;

function settle(seat: Seat, answer: Answer): void {
  const { settle } = seat;
  seat.settle = undefined;
  settle?.(answer);
}
