/**
 * The learned detector as the configuration asks for it: opened with all its threads, or switched off, which is then
 * said wherever a detector is named. What cannot be opened stops the start: nobody runs on rules alone unawares.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { Detection } from "../config.ts";
import type { Clock } from "../core/clock.ts";
import { type DetectorEntry, RULES_ALONE } from "../core/record.ts";
import { openModel } from "../detect/model/model.ts";
import type { OpenScorer, ScorerStats } from "../detect/scorer.ts";

export type Detector = {
  readonly entry: DetectorEntry;
  /** Undefined: rules alone. */
  readonly scorer: OpenScorer | undefined;
};

/** The weights that ship with Limen. */
const SHIPPED = fileURLToPath(new URL("../../models/injection", import.meta.url));

/** Each has the weights in memory once more, and further ones help only where many cores are free. */
const MAX_THREADS = 4;

/** The event loop and the log's writer keep a core, if there are more than one: a busy loop is late for everybody. */
const threadsHere = (): number => Math.max(1, Math.min(availableParallelism() - 1, MAX_THREADS));

/**
 * @param died called when a thread has died, or could not be started again
 * @throws LimenError `detector_unavailable`
 */
export async function openDetector(
  { model, threads = threadsHere() }: Detection,
  { clock, died }: { readonly clock: Clock; readonly died?: () => void },
): Promise<Detector> {
  if (model.kind === "off") return { entry: RULES_ALONE, scorer: undefined };
  const folder = model.kind === "folder" ? model.path : SHIPPED;
  const scorer = await openModel(folder, { threads, clock, ...(died && { died }) });
  return { entry: { injection: scorer.digest }, scorer };
}

const NOTHING: ScorerStats = { texts: 0, cached: 0, windows: 0, cleared: 0, queued: 0, died: 0 };

export const statsOf = ({ scorer }: Detector): ScorerStats => scorer?.stats() ?? NOTHING;
