/**
 * What is measured: each scorer gives a row one number, and only order and bound matter. The rules are asked through
 * the product's own detector; a learned tier that is not in the product yet comes as a file of scores.
 */
import { readFileSync } from "node:fs";
import { detectByRules } from "../../src/detect/injection/detect.ts";
import { passagesOf } from "../../src/detect/injection/passages.ts";
import type { Row, Slot } from "./rows.ts";

export type Scorer = {
  readonly name: string;
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

type Scores = ReadonlyMap<string, { readonly user: number; readonly data: number }>;

/**
 * One line for each row: `{"id", "score"}`, or `{"id", "direct", "embedded"}`, of which what a user writes is judged
 * by the first and everything else by the larger.
 */
export function scoresOf(text: string, where: string): Scores {
  const scores = new Map<string, { user: number; data: number }>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line === "") continue;
    const value: unknown = JSON.parse(line);
    const fields: Partial<Record<string, unknown>> =
      typeof value === "object" && value !== null ? { ...value } : {};
    const { id, score, direct = score, embedded = score } = fields;
    if (typeof id !== "string" || typeof direct !== "number" || typeof embedded !== "number")
      throw new Error(
        `${where}:${index + 1}: no "id" with a "score", or with "direct" and "embedded"`,
      );
    if (scores.has(id)) throw new Error(`${where}:${index + 1}: an id for the second time`);
    scores.set(id, { user: direct, data: Math.max(direct, embedded) });
  }
  return scores;
}

export function scorerOf(name: string, path: string): Scorer {
  const scores = scoresOf(readFileSync(path, "utf8"), path);
  return {
    name: `${name} (scores file)`,
    score: ({ id, slot }) => scores.get(id)?.[slot === "user" ? "user" : "data"],
  };
}

/** How many of ascending `values` are below, or at, `score`. */
function countBelow(values: readonly number[], score: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((values[middle] ?? 0) < score) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Several scorers as one: each says how rare such a score is among the benign rows of the slot, and the rarest counts.
 * Beyond the pool the score itself decides, so that order is kept.
 */
export function fusionOf(scorers: readonly Scorer[], pool: readonly Row[]): Scorer {
  const known = scorers.map((scorer) => {
    const bySlot = new Map<Slot, number[]>();
    for (const row of pool) {
      const score = scorer.score(row);
      if (score === undefined) continue;
      const scores = bySlot.get(row.slot) ?? [];
      bySlot.set(row.slot, scores);
      scores.push(score);
    }
    for (const scores of bySlot.values()) scores.sort((a, b) => a - b);
    return { scorer, bySlot };
  });
  return {
    name: "fusion",
    score: (row) => {
      let most: number | undefined = 0;
      for (const { scorer, bySlot } of known) {
        const score = scorer.score(row);
        if (score === undefined) return undefined;
        const benign = bySlot.get(row.slot) ?? [];
        const atLeast = benign.length - countBelow(benign, score);
        const rarity = -Math.log((atLeast + 1) / (benign.length + 1));
        most = Math.max(most, rarity + 1e-3 * score);
      }
      return most;
    },
  };
}
