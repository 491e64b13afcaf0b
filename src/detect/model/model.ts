/**
 * The learned detector: texts in, scores out, read and scored by threads of its own, a window at a time. What was
 * scored before, for the same one who asks, is not scored again.
 */
import { type Label, ownLabel } from "../../core/brand.ts";
import { ok } from "../../core/cause.ts";
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
import { ScoreCache, textKey } from "./cache.ts";
import type { WindowScore } from "./encoder.ts";
import type { Manifest, Shape } from "./manifest.ts";
import { Queue, type Scores } from "./queue.ts";
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
  /** Texts whose scores are kept: 0.3 kB each (measured), 5 MB. */
  cached: 16_384,
  /** The same for windows: 0.15 kB, 10 MB. A thread takes at least four minutes for so many. */
  cachedWindows: 65_536,
};
/** What a text takes beside its letters, in units. */
const JOB_UNITS = 256;

export type ModelOptions = {
  /** Each has the weights in memory once more, some 130 MB. */
  readonly threads: number;
  readonly clock: Clock;
  readonly limits?: Partial<typeof LIMITS>;
  /** Called when a thread has died, or could not be started again. */
  readonly died?: () => void;
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

class Model implements OpenScorer {
  readonly digest: Label;
  readonly thresholds: Thresholds;
  readonly #shape: Shape;
  readonly #threads: Threads;
  readonly #queue: Queue;
  readonly #texts: ScoreCache<TextScore>;
  readonly #windows: ScoreCache<WindowScore["scores"]>;
  readonly #counts = { texts: 0, cached: 0, died: 0 };

  constructor(
    directory: string,
    { manifest, digest }: { readonly manifest: Manifest; readonly digest: string },
    { threads, clock, limits: changed, died }: ModelOptions,
  ) {
    const limits = { ...LIMITS, ...changed };
    this.digest = ownLabel(digest);
    this.thresholds = manifest.thresholds;
    this.#shape = manifest.shape;
    this.#texts = new ScoreCache(limits.cached);
    this.#windows = new ScoreCache(limits.cachedWindows);
    this.#threads = new Threads({
      directory,
      manifest,
      pieceLimit: piecesIn(limits.windows, manifest.shape),
      threads,
      clock,
      onChange: () => this.#queue.work(),
      onDeath: () => {
        this.#counts.died += 1;
        died?.();
      },
    });
    this.#queue = new Queue({ threads: this.#threads, clock, limits });
  }

  start(): Promise<Problem | undefined> {
    return this.#threads.start();
  }

  async score(jobs: readonly ScoreJob[], options: ScoreOptions): Promise<Scores> {
    // A text that is too long is never complete, so nothing is known of it.
    const keys = jobs.map((job) => (fits(job) ? textKey(options.scope, job) : undefined));
    const known = keys.map((key) => (key === undefined ? undefined : this.#texts.get(key)));
    const news = jobs.filter((_, i) => known[i] === undefined);
    this.#counts.texts += jobs.length;
    this.#counts.cached += jobs.length - news.length;
    const read: Scores = news.length === 0 ? ok([]) : await this.#read(news, options);
    if (!read.ok) return read;
    const fresh = read.value.values();
    const scores: TextScore[] = [];
    for (const [i, key] of keys.entries()) {
      const score = known[i] ?? fresh.next().value;
      if (score === undefined) throw new Error("a text without a score");
      if (key !== undefined && score.complete) this.#texts.set(key, score);
      scores.push(score);
    }
    return ok(scores);
  }

  stats(): ScorerStats {
    return { ...this.#counts, ...this.#queue.stats() };
  }

  async close(): Promise<void> {
    this.#queue.close();
    await this.#threads.close();
  }

  #read(jobs: readonly ScoreJob[], options: ScoreOptions): Promise<Scores> {
    const { scope } = options;
    const reading = new Reading(jobs, { grid: this.#shape, scope, windows: this.#windows });
    const units = jobs.reduce((sum, { text }) => sum + text.length + JOB_UNITS, 0);
    return this.#queue.wait(reading, { ...options, units });
  }
}
