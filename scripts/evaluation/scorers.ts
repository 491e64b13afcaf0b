/**
 * What is measured: each scorer gives a row one number, and only order and bound matter. Rules and fusion are asked
 * through the product's own detector; the learned tier comes as a file of scores.
 */
import { readFileSync } from "node:fs";
import { detectByRules } from "../../src/detect/injection/detect.ts";
import { passagesOf } from "../../src/detect/injection/passages.ts";
import { HEADS, type Head } from "../../src/detect/scorer.ts";
import type { Row } from "./rows.ts";

export type Scorer = {
  readonly name: string;
  /** Above it a row is flagged, whatever the pool says: the scorer has thresholds of its own. */
  readonly bound?: number;
  /** Undefined: this scorer has not seen the row. */
  score(row: Row): number | undefined;
};

/** The strongest finding of the rules, flagged or not; 0 when no rule speaks. Each row is looked at once. */
export function rulesScorer(): Scorer {
  const known = new Map<string, number>();
  return {
    name: "rules",
    score: ({ id, text, provenance }) => {
      const before = known.get(id);
      if (before !== undefined) return before;
      const findings = detectByRules(passagesOf(text, provenance)).flatMap((one) => one.findings);
      const strongest = findings.reduce((most, { score }) => Math.max(most, score), 0) / 10_000;
      known.set(id, strongest);
      return strongest;
    },
  };
}

export type HeadScores = Readonly<Record<Head, number>>;
/** Probabilities from 0 to 1. */
type RowScores = {
  /** Of the row's passages, in the product's order; a file of whole rows knows one, the first. */
  readonly passages: readonly (HeadScores | undefined)[];
  readonly early: HeadScores | undefined;
};
export type Scores = ReadonlyMap<string, RowScores>;

const isNumber = (value: unknown): value is number => typeof value === "number";

function headScores(
  fields: Partial<Record<string, unknown>>,
  prefix: string,
): HeadScores | undefined {
  const [direct, embedded] = HEADS.map((head) => fields[`${prefix}${head}`] ?? fields["score"]);
  const jailbreak = fields[`${prefix}jailbreak`] ?? 0;
  return isNumber(direct) && isNumber(embedded) && isNumber(jailbreak)
    ? { direct, embedded, jailbreak }
    : undefined;
}

function passageScores(value: unknown): HeadScores | undefined {
  if (!Array.isArray(value) || !value.every(isNumber)) return undefined;
  const [direct, embedded, jailbreak = 0] = value;
  return direct === undefined || embedded === undefined
    ? undefined
    : { direct, embedded, jailbreak };
}

/**
 * One line for each row: `{"id", "direct", "embedded"}` with `early_direct` and `early_embedded` where they are known,
 * `{"id", "score"}`, or `{"id", "passages": [[direct, embedded, jailbreak], null, ...]}`. What has no third number frees nobody.
 */
export function scoresOf(text: string, where: string): Scores {
  const scores = new Map<string, RowScores>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const value: unknown = JSON.parse(line);
    const fields: Partial<Record<string, unknown>> =
      typeof value === "object" && value !== null ? { ...value } : {};
    const { id, passages } = fields;
    const whole = headScores(fields, "");
    if (typeof id !== "string" || (whole === undefined && !Array.isArray(passages)))
      throw new Error(
        `${where}:${index + 1}: no "id" with a "score", with "direct" and "embedded" or with "passages"`,
      );
    if (scores.has(id)) throw new Error(`${where}:${index + 1}: an id for the second time`);
    scores.set(id, {
      passages: Array.isArray(passages) ? passages.map(passageScores) : [whole],
      early: "early_direct" in fields ? headScores(fields, "early_") : undefined,
    });
  }
  return scores;
}

export const readScores = (path: string): Scores => scoresOf(readFileSync(path, "utf8"), path);

/** What a user writes is judged by the first head, everything else by the larger of both. */
const strongest = (scores: readonly (HeadScores | undefined)[], isUser: boolean): number =>
  Math.max(
    0,
    ...scores.map((one, at) =>
      one === undefined ? 0 : isUser && at === 0 ? one.direct : Math.max(one.direct, one.embedded),
    ),
  );

/** The learned tier alone. */
export const learnedScorer = (name: string, scores: Scores): Scorer => ({
  name,
  score: ({ id, slot }) => {
    const known = scores.get(id);
    return known && strongest(known.passages, slot === "user");
  },
});

/** Its lower layers alone, where the file has them. */
export function earlyScorer(name: string, scores: Scores): Scorer | undefined {
  if ([...scores.values()].every(({ early }) => early === undefined)) return undefined;
  return {
    name: `${name}, early`,
    score: ({ id, slot }) => {
      const early = scores.get(id)?.early;
      return early && strongest([early], slot === "user");
    },
  };
}
