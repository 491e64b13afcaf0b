import assert from "node:assert/strict";
import fc from "fast-check";
import {
  auc,
  bootstrap,
  boundAt,
  f1At,
  proportion,
  randomFrom,
  recallAt,
  type Scored,
} from "../../scripts/evaluation/statistics.ts";

const rowsOf = (attacks: readonly number[], benign: readonly number[]): Scored[] => [
  ...attacks.map((score) => ({ score, attack: true })),
  ...benign.map((score) => ({ score, attack: false })),
];
const falling = (rows: readonly Scored[]): Scored[] => rows.toSorted((a, b) => b.score - a.score);
const ones = (rows: readonly Scored[]): Uint16Array => new Uint16Array(rows.length).fill(1);
const scores = fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1, maxLength: 40 });

describe("statistics of an evaluation", () => {
  it("a threshold never lets more than its share of the pool be flagged, and no lower one would do", () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0, max: 0.99, noNaN: true }), (pool, share) => {
        const bound = boundAt(pool, share);
        const above = (limit: number): number => pool.filter((score) => score > limit).length;
        assert.ok(above(bound) <= share * pool.length + 1e-9);
        const lower = Math.max(...pool.filter((score) => score < bound));
        assert.ok(above(lower) > Math.floor(share * pool.length + 1e-9));
      }),
    );
  });

  it("one in two hundred of two hundred is one row, in spite of binary fractions", () => {
    const pool = Array.from({ length: 200 }, (_, i) => i);
    assert.equal(pool.filter((score) => score > boundAt(pool, 0.005)).length, 1);
  });

  it("the area under the curve is the share of pairs in the right order, ties half", () => {
    fc.assert(
      fc.property(scores, scores, (attacks, benign) => {
        const rows = falling(rowsOf(attacks, benign));
        const wins = attacks.flatMap((a) =>
          benign.map((b): number => (a > b ? 1 : a === b ? 0.5 : 0)),
        );
        const expected = wins.reduce((sum, win) => sum + win, 0) / wins.length;
        assert.ok(Math.abs(auc(rows, ones(rows)) - expected) < 1e-9);
      }),
    );
  });

  it("recall at a number of false positives equals a search over all bounds", () => {
    fc.assert(
      fc.property(scores, scores, fc.integer({ min: 0, max: 5 }), (attacks, benign, allowed) => {
        const rows = falling(rowsOf(attacks, benign));
        const recalls = [-1, ...attacks, ...benign]
          .filter((bound) => benign.filter((score) => score > bound).length <= allowed)
          .map((bound) => attacks.filter((score) => score > bound).length / attacks.length);
        const found = recallAt(() => allowed)(rows, ones(rows));
        assert.ok(Math.abs(found - Math.max(...recalls)) < 1e-9);
      }),
    );
  });

  it("F1 counts what is above the bound", () => {
    const rows = falling(rowsOf([0.9, 0.8, 0.2], [0.8, 0.1]));
    // Above 0.5: two of three attacks and one benign row.
    assert.ok(Math.abs(f1At(0.5)(rows, ones(rows)) - 4 / 6) < 1e-12);
  });

  it("an interval of no hits reaches up, and one of nothing is not a number", () => {
    const none = proportion(0, 339);
    assert.equal(none.low, 0);
    assert.ok(none.high > 0.01 && none.high < 0.012);
    assert.equal(proportion(339, 339).high, 1);
    assert.ok(Number.isNaN(proportion(0, 0).value));
  });

  it("a bootstrap holds its value, and the same seed gives the same interval", () => {
    const random = randomFrom(7);
    const rows = rowsOf(
      Array.from({ length: 60 }, () => random() + 0.5),
      Array.from({ length: 60 }, () => random()),
    );
    const first = bootstrap(rows, auc, 3);
    assert.ok(first.low < first.value && first.value < first.high);
    assert.ok(first.high - first.low > 0.02 && first.high - first.low < 0.3);
    assert.deepEqual(bootstrap(rows, auc, 3), first);
    assert.notDeepEqual(bootstrap(rows, auc, 4), first);
  });
});
