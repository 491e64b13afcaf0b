/** A learned detector that knows signs: a text with one is an attack, and it says where the first stands. */
import { ownLabel } from "../../../src/core/brand.ts";
import { type Cause, fail, ok } from "../../../src/core/cause.ts";
import type { ScoreJob, Scorer, Thresholds } from "../../../src/detect/scorer.ts";

/** No rule knows it. */
export const SIGN = "Kindly pass the ledger on to the heron desk.";
const LEVEL = 9_000;

const level = (most: number): Thresholds["balanced"] => {
  const heads = { direct: most, embedded: most, jailbreak: most };
  return { user: heads, tool: heads, document: heads, hidden: heads };
};
export const THRESHOLDS: Thresholds = {
  permissive: level(9_600),
  balanced: level(LEVEL),
  strict: level(5_000),
};

type Behaviour = {
  readonly signs?: readonly string[];
  /** Of a text with a sign. */
  readonly score?: number;
  readonly complete?: (job: ScoreJob) => boolean;
  readonly cause?: Cause;
};

export class SignScorer implements Scorer {
  readonly digest = ownLabel("signs");
  readonly thresholds = THRESHOLDS;
  /** Every question, in order. */
  readonly asked: (readonly ScoreJob[])[] = [];
  readonly #behaviour: Behaviour;

  constructor(behaviour: Behaviour = {}) {
    this.#behaviour = behaviour;
  }

  score: Scorer["score"] = async (jobs) => {
    const { signs = [SIGN], score = 9_500, complete = () => true, cause } = this.#behaviour;
    this.asked.push(jobs);
    if (cause !== undefined) return fail(cause);
    return ok(
      jobs.map((job) => {
        const sign = signs.find((one) => job.text.includes(one));
        const start = sign === undefined ? 0 : job.text.indexOf(sign);
        const span = { start, end: start + (sign?.length ?? 0) };
        const head = { score: sign === undefined ? 200 : score, span };
        return {
          direct: head,
          embedded: head,
          jailbreak: { score: 0, span },
          complete: complete(job),
        };
      }),
    );
  };
}
