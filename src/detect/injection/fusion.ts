/**
 * Rules and learned detector together. Either may speak alone: the detector from the threshold of the place on, a
 * rule where it is hardly ever wrong. What a rule says besides raises the detector's score, by a bounded step of its
 * log-odds: scores stay monotone in both, and a detector that is sure of the opposite is not outvoted.
 */
import { ruleId } from "../../core/brand.ts";
import type { Cause, Result } from "../../core/cause.ts";
import type { Finding } from "../../core/finding.ts";
import type { Provenance } from "../../core/segment.ts";
import { pattern, Subject } from "../re2.ts";
import {
  HEADS_IN,
  type Head,
  type HeadScore,
  NEVER,
  type ScoreJob,
  type ScoreOptions,
  type Scorer,
  type TextScore,
  type Thresholds,
} from "../scorer.ts";
import { SLOTS } from "./judge.ts";
import { type Passage, PLACE_OF } from "./passages.ts";

export type Levels = Thresholds[keyof Thresholds];
export type Model = {
  readonly scorer: Scorer;
  readonly levels: Levels;
  readonly options: ScoreOptions;
};

/**
 * Where the rules are wrong too often to speak against the detector: texts about attacks quote them. Benign rows of
 * the tuning sets and pools that they flag: documents 14 of 5,044, tool results 2 of 7,024, users 2 of 10,218.
 */
const UNSURE: ReadonlySet<Provenance> = new Set(["document", "system"]);
/** Log-odds that certain rules add. */
const STEP = 2;

const clamped = (score: number): number => Math.min(Math.max(score / 10_000, 1e-4), 1 - 1e-4);

/** @param rules from 0 to 10,000, as `model` and the answer */
export function fused(model: number, rules: number): number {
  if (rules === 0) return model;
  const odds = clamped(model) / (1 - clamped(model));
  const raised = odds * Math.exp((STEP * rules) / 10_000);
  return Math.max(model, Math.min(Math.round((10_000 * raised) / (1 + raised)), NEVER - 1));
}

/** A name of this form orders nothing: requests have thousands of them, as keys and values of schemas. */
const mereName = pattern("^\\s*[\\w./:@-]*\\s*$");
const NAME_LIMIT = 64;
/** Words of a name that signs part: the encoder reads `reveal-your-system-prompt`, four of them, as what it says. */
const nameWord = pattern("[A-Za-z]{2}\\w*");
const NAME_WORDS = 3;
const isName = (text: string): boolean => {
  if (text.length > NAME_LIMIT) return false;
  const subject = new Subject(text);
  return mereName.test(subject) && nameWord.spans(subject, NAME_WORDS + 1).length <= NAME_WORDS;
};

/** Asks the learned detector about a passage; not about a mere name in sight, which its neighbours may make more of. */
function jobOf({ provenance, view: { text } }: Passage): ScoreJob | undefined {
  const place = PLACE_OF[provenance];
  const isMere = place !== "hidden" && isName(text);
  return place === undefined || isMere ? undefined : { text, place };
}

type HeadFinding = HeadScore & { readonly head: Head };

/** What the heads that count in this place say, with what the rules add. */
export function headsOf({ provenance, said }: Passage, score: TextScore): readonly HeadFinding[] {
  const place = PLACE_OF[provenance];
  return (place === undefined ? [] : HEADS_IN[place]).map((head) => ({
    head,
    span: score[head].span,
    score: fused(score[head].score, said?.score ?? 0),
  }));
}

/** Whether what the rules say of such a passage stands, whatever the detector will say. */
export const isSure = ({ provenance }: Passage): boolean => !UNSURE.has(provenance);

/** What the rules say in their own name. Where they are unsure, the detector's word on all of the text replaces it. */
export const rulesAlone = (passage: Passage, score: TextScore | undefined): Finding | undefined =>
  isSure(passage) || score?.complete !== true ? passage.said : undefined;

/** What a passage comes to. Without a score, what the rules say. */
export function findingsOf(
  passage: Passage,
  score: TextScore | undefined,
  levels: Levels | undefined,
): readonly Finding[] {
  const { provenance, view } = passage;
  const said = rulesAlone(passage, score) ?? [];
  const place = PLACE_OF[provenance];
  if (score === undefined || levels === undefined || place === undefined) return [said].flat();
  const [speaker] = headsOf(passage, score)
    .map((one) => ({ ...one, threshold: levels[place][one.head] }))
    .sort((a, b) => b.score - b.threshold - (a.score - a.threshold));
  if (speaker === undefined) return [said].flat();
  const learned: Finding = {
    rule: ruleId(`injection.model_${speaker.head}`),
    kind: SLOTS[provenance].kind,
    span: view.toSource(speaker.span),
    score: speaker.score,
    threshold: speaker.threshold,
  };
  return [said, learned].flat();
}

export type Asked = {
  /** In the order of the passages; undefined where there was nothing to ask, or no answer. */
  readonly scores: readonly (TextScore | undefined)[];
  readonly cause: Cause | undefined;
};

/** One question about all passages, the first ones first; equal texts are asked about once. */
export async function ask(passages: readonly Passage[], model: Model): Promise<Asked> {
  const jobs: ScoreJob[] = [];
  const known = new Map<string, number>();
  const places = passages.map((passage) => {
    const job = jobOf(passage);
    if (job === undefined) return undefined;
    const key = `${job.place} ${job.text}`;
    const index = known.get(key) ?? jobs.push(job) - 1;
    known.set(key, index);
    return index;
  });
  if (jobs.length === 0) return { scores: passages.map(() => undefined), cause: undefined };
  const answer: Result<readonly TextScore[]> = await model.scorer.score(jobs, model.options);
  if (!answer.ok) return { scores: passages.map(() => undefined), cause: answer.cause };
  const complete = answer.value.length === jobs.length && answer.value.every((s) => s.complete);
  return {
    scores: places.map((index) => (index === undefined ? undefined : answer.value[index])),
    cause: complete ? undefined : "detector_timeout",
  };
}
