/** What the learned detector says of texts. `detect/model/` implements it off the event loop. */
import type { Label } from "../core/brand.ts";
import type { Result } from "../core/cause.ts";
import type { Span } from "../core/segment.ts";
import type { Sensitivity } from "../core/settings.ts";

/** Where a text stands, as the encoder was taught: each place has a token of its own. */
export const PLACES = ["user", "tool", "document", "hidden"] as const;
export type Place = (typeof PLACES)[number];

/**
 * To drop or give away what the model was told; an order inside data; a frame that is to free the model (harmless
 * role-play looks much like it).
 */
export const HEADS = ["direct", "embedded", "jailbreak"] as const;
export type Head = (typeof HEADS)[number];

const IN_DATA: readonly Head[] = ["direct", "embedded"];
/** What a user writes for himself is an order by right, and data is nobody's role-play. */
export const HEADS_IN: Readonly<Record<Place, readonly Head[]>> = {
  user: ["direct", "jailbreak"],
  tool: IN_DATA,
  document: IN_DATA,
  hidden: IN_DATA,
};

export type ScoreJob = { readonly text: string; readonly place: Place };

/** The strongest window of a text for one head: 0 to 10,000, and where in the text it stands. */
export type HeadScore = { readonly score: number; readonly span: Span };

export type TextScore = Readonly<Record<Head, HeadScore>> & {
  /** False: time or bounds ended before all of the text was read. */
  readonly complete: boolean;
};

export type ScoreOptions = {
  /** Whose cached scores may be used: one tenant never learns from another's. */
  readonly scope: string;
  /** Monotonic milliseconds; what is not read by then is answered as incomplete. */
  readonly until: number;
  /** Aborted: nobody waits for the answer any more. What is not read by then is incomplete. */
  readonly signal?: AbortSignal | undefined;
};

/** A threshold that no score reaches: the highest is one less. */
export const NEVER = 10_000;

/** From which score on a head speaks, by sensitivity and place. */
export type Thresholds = Readonly<
  Record<Sensitivity, Readonly<Record<Place, Readonly<Record<Head, number>>>>>
>;

export interface Scorer {
  /** SHA-256 of the manifest, which names the digests of all files. */
  readonly digest: Label;
  readonly thresholds: Thresholds;
  /** Scores of `jobs` in their order; the first ones are read first. Never rejects. */
  score(jobs: readonly ScoreJob[], options: ScoreOptions): Promise<Result<readonly TextScore[]>>;
}

/** Counted from the start, `died` in threads; `queued` is how many windows wait now. */
export type ScorerStats = Readonly<
  Record<"texts" | "cached" | "windows" | "cleared" | "queued" | "died", number>
>;

/** The detector as the one who opened it has it: to count, and to end its threads. */
export interface OpenScorer extends Scorer {
  stats(): ScorerStats;
  close(): Promise<void>;
}
