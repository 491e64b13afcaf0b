/**
 * Figures with their uncertainty. Random draws come from a seed: the same data give the same table. A score flags
 * when it is above its bound, so that rows with equal scores are flagged together or not at all.
 */

/** 95 %. */
const Z = 1.959964;
const RESAMPLES = 400;

export type Estimate = { readonly value: number; readonly low: number; readonly high: number };

/** mulberry32: 32 bits of state, enough for resampling. */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The lowest bound that at most the `share` of the benign scores exceed. */
export function boundAt(benign: readonly number[], share: number): number {
  const falling = benign.toSorted((a, b) => b - a);
  return falling[Math.floor(share * falling.length + 1e-9)] ?? Number.NEGATIVE_INFINITY;
}

/**
 * A share with Wilson's interval: a bootstrap of none in 339 would claim that none in ten thousand is certain.
 */
export function proportion(hits: number, of: number): Estimate {
  if (of === 0) return { value: Number.NaN, low: Number.NaN, high: Number.NaN };
  const value = hits / of;
  const spread = Z * Math.sqrt((value * (1 - value)) / of + (Z * Z) / (4 * of * of));
  const scale = 1 + (Z * Z) / of;
  const middle = value + (Z * Z) / (2 * of);
  return {
    value,
    low: hits === 0 ? 0 : (middle - spread) / scale,
    high: hits === of ? 1 : (middle + spread) / scale,
  };
}

export type Scored = { readonly score: number; readonly attack: boolean };
/** A figure of rows in falling order of score, of which the one at `i` counts `weights[i]` times. */
export type Figure = (falling: readonly Scored[], weights: Uint16Array) => number;

/** The probability that an attack scores above a benign row; equal scores count half. */
export const auc: Figure = (falling, weights) => {
  let attacks = 0;
  let benign = 0;
  let wins = 0;
  for (let i = 0; i < falling.length; ) {
    let tiedAttacks = 0;
    let tiedBenign = 0;
    const score = falling[i]?.score;
    for (; i < falling.length && falling[i]?.score === score; i += 1) {
      if (falling[i]?.attack === true) tiedAttacks += weights[i] ?? 0;
      else tiedBenign += weights[i] ?? 0;
    }
    // Benign rows of this score lose against every attack above, and half against those beside them.
    wins += tiedBenign * (attacks + tiedAttacks / 2);
    attacks += tiedAttacks;
    benign += tiedBenign;
  }
  return wins / (attacks * benign);
};

/** Recall at the lowest bound that lets at most `allowed` of the benign rows be flagged. */
export function recallAt(allowed: (benign: number) => number): Figure {
  return (falling, weights) => {
    let attacks = 0;
    let benign = 0;
    for (const [i, { attack }] of falling.entries()) {
      if (attack) attacks += weights[i] ?? 0;
      else benign += weights[i] ?? 0;
    }
    const limit = allowed(benign);
    let found = 0;
    let flagged = 0;
    for (let i = 0; i < falling.length; ) {
      let tiedAttacks = 0;
      let tiedBenign = 0;
      const score = falling[i]?.score;
      for (; i < falling.length && falling[i]?.score === score; i += 1) {
        if (falling[i]?.attack === true) tiedAttacks += weights[i] ?? 0;
        else tiedBenign += weights[i] ?? 0;
      }
      if (flagged + tiedBenign > limit) break;
      flagged += tiedBenign;
      found += tiedAttacks;
    }
    return found / attacks;
  };
}

/** F1 of attacks at a given bound. */
export const f1At =
  (bound: number): Figure =>
  (falling, weights) => {
    let found = 0;
    let flagged = 0;
    let attacks = 0;
    for (const [i, { score, attack }] of falling.entries()) {
      const weight = weights[i] ?? 0;
      if (attack) attacks += weight;
      if (score > bound) flagged += weight;
      if (attack && score > bound) found += weight;
    }
    return (2 * found) / (flagged + attacks);
  };

/** The figure with the interval that holds 95 % of resamples; attacks and benign rows are drawn apart. */
export function bootstrap(rows: readonly Scored[], figure: Figure, seed: number): Estimate {
  const falling = rows.toSorted((a, b) => b.score - a.score);
  const value = figure(falling, new Uint16Array(falling.length).fill(1));
  const random = randomFrom(seed);
  const classes = [true, false].map((attack) =>
    falling.flatMap((row, i) => (row.attack === attack ? [i] : [])),
  );
  const drawn = Array.from({ length: RESAMPLES }, () => {
    const weights = new Uint16Array(falling.length);
    for (const members of classes) {
      for (let left = members.length; left > 0; left -= 1) {
        const index = members[Math.floor(random() * members.length)] ?? 0;
        weights[index] = (weights[index] ?? 0) + 1;
      }
    }
    return figure(falling, weights);
  }).sort((a, b) => a - b);
  const quantile = (share: number): number =>
    drawn[Math.min(RESAMPLES - 1, Math.floor(share * RESAMPLES))] ?? value;
  return { value, low: quantile(0.025), high: quantile(0.975) };
}
