/**
 * The product's fusion of rules and learned detector on labelled rows, and the thresholds that let it flag a given
 * share of a benign pool. What the rules flag in their own name is part of that share.
 */
import type { Sensitivity } from "../../src/core/settings.ts";
import { findingsOf, headsOf, type Levels, rulesAlone } from "../../src/detect/injection/fusion.ts";
import { type Passage, PLACE_OF, passagesOf } from "../../src/detect/injection/passages.ts";
import type { Place, TextScore, Thresholds } from "../../src/detect/scorer.ts";
import type { Row } from "./rows.ts";
import type { HeadScores, Scorer, Scores } from "./scorers.ts";

/** Share of benign texts of a place that may be flagged (balanced), and how much more or less the others take. */
const SHARES: Readonly<Record<Place, number>> = {
  user: 0.005,
  tool: 0.01,
  document: 0.01,
  hidden: 0.03,
};
const FACTORS: Readonly<Record<Sensitivity, number>> = { permissive: 0.25, balanced: 1, strict: 3 };
const TOP = 10_000;

const textScore = ({ direct, embedded }: HeadScores): TextScore => {
  const span = { start: 0, end: 0 };
  return {
    direct: { score: Math.round(direct * TOP), span },
    embedded: { score: Math.round(embedded * TOP), span },
    complete: true,
  };
};

type Scored = { readonly passage: Passage; readonly score: TextScore | undefined };

function scored({ id, text, provenance }: Row, scores: Scores): readonly Scored[] | undefined {
  const known = scores.get(id)?.passages;
  return (
    known &&
    passagesOf(text, provenance).map((passage, index) => {
      const heads = known[index];
      return { passage, score: heads && textScore(heads) };
    })
  );
}

/** One benign passage: the most that a head says of it, and whether the rules flag it already. */
type Benign = { readonly ruled: boolean; readonly most: number };

/** The lowest level that, with what the rules flag, no more than the share of the passages reach. */
function levelAt(benign: readonly Benign[], share: number): number {
  const allowed = Math.floor(share * benign.length + 1e-9);
  const ruled = benign.filter((one) => one.ruled).length;
  const falling = benign.flatMap((one) => (one.ruled ? [] : one.most)).sort((a, b) => b - a);
  return Math.min(TOP, (falling[Math.max(0, allowed - ruled)] ?? TOP) + 1);
}

/** @returns with them, how many benign passages of each place they rest on */
export function thresholdsFrom(
  pool: readonly Row[],
  scores: Scores,
): { readonly thresholds: Thresholds; readonly passages: Readonly<Record<Place, number>> } {
  const benign: Record<Place, Benign[]> = { user: [], tool: [], document: [], hidden: [] };
  for (const row of pool) {
    for (const { passage, score } of scored(row, scores) ?? []) {
      const place = PLACE_OF[passage.provenance];
      if (place === undefined || score === undefined) continue;
      const said = rulesAlone(passage, score);
      benign[place].push({
        ruled: said !== undefined && said.score >= said.threshold,
        most: Math.max(...headsOf(passage, score).map((one) => one.score)),
      });
    }
  }
  // A file of whole rows has no hidden passages: they are taken for documents.
  const source = (place: Place): readonly Benign[] =>
    place === "hidden" && benign.hidden.length === 0 ? benign.document : benign[place];
  // One level for both heads: apart, the rarer one would take half of the share and find little.
  const levels = (factor: number): Levels => {
    const of = (place: Place) => {
      const level = levelAt(source(place), SHARES[place] * factor);
      return { direct: level, embedded: level };
    };
    return { user: of("user"), tool: of("tool"), document: of("document"), hidden: of("hidden") };
  };
  const { permissive, balanced, strict } = FACTORS;
  const count = (place: Place): number => benign[place].length;
  return {
    thresholds: {
      permissive: levels(permissive),
      balanced: levels(balanced),
      strict: levels(strict),
    },
    passages: {
      user: count("user"),
      tool: count("tool"),
      document: count("document"),
      hidden: count("hidden"),
    },
  };
}

/** How far the strongest finding of any passage is beyond its threshold, in whole steps: at 0 it is flagged. */
export function fusionScorer(name: string, scores: Scores, levels: Levels): Scorer {
  return {
    name,
    bound: -0.5,
    score: (row) =>
      scored(row, scores)
        ?.flatMap(({ passage, score }) => findingsOf(passage, score, levels))
        .reduce((most, { score, threshold }) => Math.max(most, score - threshold), -TOP),
  };
}
