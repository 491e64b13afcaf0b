import assert from "node:assert/strict";
import fc from "fast-check";
import { systemClock } from "../../src/cli/clock.ts";
import { atOnce, inTurns, type Steps } from "../../src/core/steps.ts";

/** A clock of the test's own: each look at it is `stepMs` after the last, and turns are counted. */
function ticking(stepMs: number) {
  let ms = 0;
  const clock = {
    ...systemClock(),
    turns: 0,
    monotonicMs: () => {
      ms += stepMs;
      return ms;
    },
    turn: async () => {
      clock.turns += 1;
    },
  };
  return clock;
}

function* sumOf(numbers: readonly number[], log: number[] = []): Steps<number> {
  let sum = 0;
  for (const number of numbers) {
    log.push(number);
    sum += number;
    yield;
  }
  return sum;
}

describe("long work in steps", () => {
  it("comes to the same in one go and in turns, however long a step takes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer()), fc.double({ min: 0, max: 9 }), async (list, ms) => {
        const sum = list.reduce((a, b) => a + b, 0);
        assert.equal(atOnce(sumOf(list)), sum);
        assert.equal(await inTurns(sumOf(list), { clock: ticking(ms) }), sum);
      }),
    );
  });

  it("has others wait for 5 ms of it and no longer than its step", async () => {
    const turns = [];
    for (const stepMs of [0, 1, 2.5, 5, 80]) {
      const clock = ticking(stepMs);
      await inTurns(sumOf(Array(20).fill(1)), { clock });
      turns.push(clock.turns);
    }
    // A turn begins with a look at the clock: four steps of 1 ms and one look behind each.
    assert.deepEqual(turns, [0, 4, 10, 20, 20]);
  });

  it("takes turns with other work, one piece of one work in each", async () => {
    const clock = { ...systemClock(), monotonicMs: ticking(5).monotonicMs };
    const log: number[] = [];
    let turns = 0;
    let isOver = false;
    const count = (): void => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    await Promise.all([
      inTurns(sumOf([1, 2, 3, 4], log), { clock }),
      inTurns(sumOf([10, 20, 30, 40], log), { clock }),
    ]);
    isOver = true;
    assert.deepEqual(log, [1, 10, 2, 20, 3, 30, 4, 40]);
    assert.ok(turns >= 8, `${turns} turns of the loop for eight pieces`);
  });

  it("ends at the next turn when nobody waits for it any more", async () => {
    const given = new Error("given up");
    const wanted = new AbortController();
    const log: number[] = [];
    const clock = ticking(5);
    clock.turn = async () => {
      if (log.length === 3) wanted.abort(given);
    };
    const work = inTurns(sumOf([1, 2, 3, 4, 5], log), { clock, signal: wanted.signal });
    await assert.rejects(work, given);
    assert.deepEqual(log, [1, 2, 3]);
  });

  it("fails as its steps do", async () => {
    const failing = function* (): Steps<never> {
      yield;
      throw new Error("a bug");
    };
    assert.throws(() => atOnce(failing()), /a bug/);
    await assert.rejects(inTurns(failing(), { clock: ticking(5) }), /a bug/);
  });
});
