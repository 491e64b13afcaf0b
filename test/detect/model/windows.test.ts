/** Windows cover a text, as in training. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { piecesIn, windowsOf } from "../../../src/detect/model/windows.ts";

const GRID = { length: 144, overlap: 24 };
const BODY = 141;
const pairs = (count: number): number[][] =>
  windowsOf(count, GRID).map(({ start, end }) => [start, end]);

describe("windows", () => {
  // By scripts/train/pieces.py, `spans_of`.
  const rows: readonly { count: number; want: number[][] }[] = [
    { count: 0, want: [] },
    { count: 1, want: [[0, 1]] },
    { count: 141, want: [[0, 141]] },
    {
      count: 142,
      want: [
        [0, 141],
        [1, 142],
      ],
    },
    {
      count: 258,
      want: [
        [0, 141],
        [117, 258],
      ],
    },
    {
      count: 259,
      want: [
        [0, 141],
        [59, 200],
        [118, 259],
      ],
    },
    {
      count: 400,
      want: [
        [0, 141],
        [86, 227],
        [172, 313],
        [259, 400],
      ],
    },
  ];
  for (const { count, want } of rows) {
    it(`of ${count} pieces are ${want.length}`, () => assert.deepEqual(pairs(count), want));
  }

  it("cover every piece, have enough in common, and are as few as possible", () => {
    fc.assert(
      fc.property(fc.integer({ min: BODY + 1, max: 100_000 }), (count) => {
        const windows = pairs(count);
        assert.equal(windows[0]![0], 0);
        assert.equal(windows.at(-1)![1], count);
        for (const [i, [start, end]] of windows.entries()) {
          assert.equal(end! - start!, BODY);
          if (i > 0) assert.ok(windows[i - 1]![1]! - start! >= GRID.overlap);
        }
        assert.ok(count > piecesIn(windows.length - 1, GRID));
        assert.ok(count <= piecesIn(windows.length, GRID));
      }),
    );
  });
});
