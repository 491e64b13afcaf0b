/**
 * The product's fusion of rules and learned detector on labelled rows, and the thresholds that let it flag a given
 * share of a benign pool. What the rules flag in their own name is part of that share.
 */
import type { Sensitivity } from "../../src/core/settings.ts";
import { findingsOf, headsOf, type Levels, rulesAlone } from "../../src/detect/injection/fusion.ts";
import { type Passage, PLACE_OF, passagesOf } from "../../src/detect/injection/passages.ts";
import { NEVER, type Place, type TextScore, type Thresholds } from "../../src/detect/scorer.ts";
import type { Row } from "./rows.ts";
import type { HeadScores, Scorer, Scores } from "./scorers.ts";

/**
 * Share of benign texts of a place that may be flagged. The pools are easier than the tuning sets: balanced is what
 * keeps mails, tool results and documents of those below one in a hundred.
 */
const SHARES: Readonly<Record<Sensitivity, Readonly<Record<Place, number>>>> = {
  permissive: { user: 0.001, tool: 0.0015, document: 0.001, hidden: 0.003 },
  balanced: { user: 0.004, tool: 0.004, document: 0.0025, hidden: 0.012 },
  strict: { user: 0.01, tool: 0.02, document: 0.02, hidden: 0.03 },
};
/** Share of benign users whose frames may be taken for a jailbreak; undefined: that head does not speak. */
const FRAMES: Readonly<Partial<Record<Sensitivity, number>>> = { strict: 0.005 };

const textScore = ({ direct, embedded, jailbreak }: HeadScores): TextScore => {
  const of = (score: number) => ({
    score: Math.min(Math.round(score * NEVER), NEVER - 1),
    span: { start: 0, end: 0 },
  });
  return {
    direct: of(direct),
    embedded: of(embedded),
    jailbreak: of(jailbreak),
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

/** One benign passage: the most that orders and overrides come to, the frame, and whether the rules flag it already. */
type Benign = { readonly ruled: boolean; readonly most: number; readonly frame: number };

/** The lowest level that, with what the rules flag, no more than the share of the passages reach. */
function levelAt(benign: readonly Benign[], of: "most" | "frame", share: number): number {
  const allowed = Math.floor(share * benign.length + 1e-9);
  const ruled = of === "most" ? benign.filter((one) => one.ruled).length : 0;
  const falling = benign.flatMap((one) => (one.ruled ? [] : one[of])).sort((a, b) => b - a);
  return Math.min(NEVER, (falling[Math.max(0, allowed - ruled)] ?? NEVER) + 1);
}

function strongest(heads: ReturnType<typeof headsOf>): Pick<Benign, "most" | "frame"> {
  const of = (isFrame: boolean): number =>
    heads.reduce(
      (most, { head, score }) =>
        (head === "jailbreak") === isFrame ? Math.max(most, score) : most,
      0,
    );
  return { most: of(false), frame: of(true) };
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
        ...strongest(headsOf(passage, score)),
      });
    }
  }
  // A file of whole rows has no hidden passages: they are taken for documents.
  const source = (place: Place): readonly Benign[] =>
    place === "hidden" && benign.hidden.length === 0 ? benign.document : benign[place];
  // One level for orders and overrides: apart, the rarer one would take half of the share and find little.
  const levels = (sensitivity: Sensitivity): Levels => {
    const of = (place: Place) => {
      const level = levelAt(source(place), "most", SHARES[sensitivity][place]);
      const frames = place === "user" ? FRAMES[sensitivity] : undefined;
      const jailbreak = frames === undefined ? NEVER : levelAt(source(place), "frame", frames);
      return { direct: level, embedded: level, jailbreak };
    };
    return { user: of("user"), tool: of("tool"), document: of("document"), hidden: of("hidden") };
  };
  const count = (place: Place): number => benign[place].length;
  return {
    thresholds: {
      permissive: levels("permissive"),
      balanced: levels("balanced"),
      strict: levels("strict"),
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
        .reduce((most, { score, threshold }) => Math.max(most, score - threshold), -NEVER),
  };
}
