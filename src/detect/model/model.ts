/**
 * The learned detector: texts in, scores out, read and scored by threads of its own, a window at a time, the
 * shortest call first. What is not done by a call's deadline is answered as incomplete and asked no more.
 * What waits is bounded: calls, and units of text.
 */
import { type Label, ownLabel } from "../../core/brand.ts";
import { fail, ok, type Result } from "../../core/cause.ts";
import type { Clock } from "../../core/clock.ts";
import { LimenError, type Problem } from "../../core/errors.ts";
import type {
  OpenScorer,
  ScoreJob,
  ScoreOptions,
  ScorerStats,
  TextScore,
  Thresholds,
} from "../scorer.ts";
import { cacheKey, ScoreCache } from "./cache.ts";
import type { Manifest, Shape } from "./manifest.ts";
import type { Answer } from "./protocol.ts";
import { fits, Reading, TEXT_LIMIT } from "./reading.ts";
import { Threads } from "./threads.ts";
import { isProblem, readManifest } from "./weights.ts";
import { piecesIn } from "./windows.ts";

const LIMITS = {
  /** Calls that wait. */
  calls: 1_024,
  /** UTF-16 units of the texts of all calls that wait: 32 MB. */
  units: 16 * TEXT_LIMIT,
  /** Windows that are scored of one text. */
  windows: 2_048,
  /** Scores that are kept. */
  cached: 16_384,
};
/** A call ends by then whatever its deadline; timers hold no more than 24 days. */
const MAX_WAIT_MS = 600_000;
/** What a text takes beside its letters, in units. */
const JOB_UNITS = 256;

export type ModelOptions = {
  /** Each has the weights in memory once more, some 130 MB. */
  readonly threads: number;
  readonly clock: Clock;
  readonly limits?: Partial<typeof LIMITS>;
};

/**
 * Opens the weights in `directory` with all threads.
 * @throws LimenError `detector_unavailable` when they are missing, not what the manifest says, or cannot run here
 */
export async function openModel(directory: string, options: ModelOptions): Promise<OpenScorer> {
  const read = readManifest(directory);
  if (isProblem(read)) throw new LimenError("detector_unavailable", read);
  const model = new Model(directory, read, options);
  const problem = await model.start();
  if (problem === undefined) return model;
  await model.close();
  throw new LimenError("detector_unavailable", problem);
}

type Scores = Result<readonly TextScore[]>;

/** A call on its way. */
type Call = {
  readonly reading: Reading;
  readonly units: number;
  readonly resolve: (scores: Scores) => void;
  readonly cancelDeadline: () => void;
};

class Model implements OpenScorer {
  readonly digest: Label;
  readonly thresholds: Thresholds;
  readonly #shape: Shape;
  readonly #clock: Clock;
  readonly #limits: typeof LIMITS;
  readonly #threads: Threads;
  readonly #cache: ScoreCache;
  /** In the order they came; whoever is answered is out of it. */
  readonly #calls = new Set<Call>();
  #units = 0;
  readonly #counts = { texts: 0, cached: 0, windows: 0, cleared: 0 };

  constructor(
    directory: string,
    { manifest, digest }: { readonly manifest: Manifest; readonly digest: string },
    { threads, clock, limits }: ModelOptions,
  ) {
    this.digest = ownLabel(digest);
    this.thresholds = manifest.thresholds;
    this.#shape = manifest.shape;
    this.#clock = clock;
    this.#limits = { ...LIMITS, ...limits };
    this.#cache = new ScoreCache(this.#limits.cached);
    const pieceLimit = piecesIn(this.#limits.windows, manifest.shape);
    const onChange = (): void => this.#work();
    this.#threads = new Threads({ directory, manifest, pieceLimit, threads, clock, onChange });
  }

  start(): Promise<Problem | undefined> {
    return this.#threads.start();
  }

  async score(jobs: readonly ScoreJob[], { scope, until }: ScoreOptions): Promise<Scores> {
    // A text that is too long is never complete, so nothing is known of it.
    const keys = jobs.map((job) => (fits(job) ? cacheKey(scope, job) : undefined));
    const known = keys.map((key) => (key === undefined ? undefined : this.#cache.get(key)));
    const news = jobs.filter((_, i) => known[i] === undefined);
    this.#counts.texts += jobs.length;
    this.#counts.cached += jobs.length - news.length;
    const read: Scores = news.length === 0 ? ok([]) : await this.#read(news, until);
    if (!read.ok) return read;
    const fresh = read.value.values();
    const scores: TextScore[] = [];
    for (const [i, key] of keys.entries()) {
      const score = known[i] ?? fresh.next().value;
      if (score === undefined) throw new Error("a text without a score");
      if (key !== undefined && score.complete) this.#cache.set(key, score);
      scores.push(score);
    }
    return ok(scores);
  }

  stats(): ScorerStats {
    let queued = 0;
    for (const { reading } of this.#calls) queued += reading.left;
    return { ...this.#counts, queued };
  }

  async close(): Promise<void> {
    for (const call of this.#calls) this.#settle(call, fail("detector_unavailable"));
    await this.#threads.close();
  }

  #read(jobs: readonly ScoreJob[], until: number): Promise<Scores> {
    const reading = new Reading(jobs, this.#shape);
    const units = jobs.reduce((sum, { text }) => sum + text.length + JOB_UNITS, 0);
    const isFull =
      this.#calls.size >= this.#limits.calls || this.#units + units > this.#limits.units;
    if (isFull) return Promise.resolve(fail("detector_timeout"));
    return new Promise((resolve) => {
      const waitMs = Math.min(Math.max(until - this.#clock.monotonicMs(), 0), MAX_WAIT_MS);
      const cancelDeadline = this.#clock.after(waitMs, () =>
        this.#settle(call, ok(reading.scores())),
      );
      const call: Call = { reading, units, resolve, cancelDeadline };
      this.#calls.add(call);
      this.#units += units;
      this.#work();
    });
  }

  /** Keeps the threads busy. */
  #work(): void {
    if (!this.#threads.isAlive) {
      for (const call of this.#calls) this.#settle(call, fail("detector_unavailable"));
    }
    while (this.#threads.isIdle) {
      const call = this.#shortest();
      const errand = call?.reading.next();
      if (call === undefined || errand === undefined) return;
      this.#threads.ask(errand.question, (answer) => {
        errand.take(answer);
        this.#answered(call, answer);
      });
    }
  }

  /**
   * The call that is nearest to its end, of equal ones the oldest. In turns, all of too many calls would miss
   * their deadlines, and in the order they came, one long text would make all behind it miss theirs.
   */
  #shortest(): Call | undefined {
    let shortest: Call | undefined;
    for (const call of this.#calls) {
      const { left } = call.reading;
      if (left > 0 && (shortest === undefined || left < shortest.reading.left)) shortest = call;
    }
    return shortest;
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
    call.cancelDeadline();
    call.resolve(scores);
  }
}
