/** What is asked of the threads about a call's texts, in which order, and what the answers come to. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ScoreCache } from "../../../src/detect/model/cache.ts";
import type { WindowScore } from "../../../src/detect/model/encoder.ts";
import type { Answer } from "../../../src/detect/model/protocol.ts";
import { type Errand, Reading, TEXT_LIMIT } from "../../../src/detect/model/reading.ts";
import { windowsOf } from "../../../src/detect/model/windows.ts";

const GRID = { length: 19, overlap: 4 }; // windows of 16 pieces, a step of 12

type Known = WindowScore["scores"];

/** A text of `n` letters has `n` pieces; a window's score is its first piece. */
function answer({ question }: Errand): Answer {
  if (question.kind === "score") {
    const [direct = 0] = question.pieces;
    return { kind: "scored", cleared: false, scores: { direct, embedded: 100, jailbreak: 0 } };
  }
  const pieces = Uint16Array.from(question.text, (_, i) => i);
  const edges = windowsOf(pieces.length, GRID).flatMap(({ start, end }) => [start, end]);
  // Windows of the same pieces have the same key.
  const keys = windowsOf(pieces.length, GRID).map(({ start, end }) => `${start} ${end}`);
  return { kind: "read", pieces, edges: Int32Array.from(edges), keys, complete: true };
}
const options = (limit = 100) => ({
  grid: GRID,
  scope: "a",
  windows: new ScoreCache<Known>(limit),
});
const job = (length: number) => ({ text: "x".repeat(length), place: "tool" as const });
const kindsOf = (errands: readonly (Errand | undefined)[]): (string | undefined)[] =>
  errands.map((errand) => errand?.question.kind);

describe("a reading", () => {
  it("asks for all windows of a text before the next text", () => {
    const reading = new Reading([job(20), job(3)], options());
    const asked: string[] = [];
    for (let errand = reading.next(); errand !== undefined; errand = reading.next()) {
      const { question } = errand;
      asked.push(question.kind === "read" ? `read ${question.text.length}` : "score");
      errand.take(answer(errand));
    }
    assert.deepEqual(asked, ["read 20", "score", "score", "read 3", "score"]);
    assert.equal(reading.isDone, true);
  });

  it("goes on to the next text while the first is being read", () => {
    const reading = new Reading([job(20), job(3)], options());
    const errands = [reading.next(), reading.next(), reading.next()];
    assert.deepEqual(kindsOf(errands), ["read", "read", undefined]);
    assert.equal(reading.left, 0);
    errands[1]!.take(answer(errands[1]!));
    errands[0]!.take(answer(errands[0]!));
    assert.equal(reading.left, 3);
    const windows = [reading.next(), reading.next()].map((errand) => errand!.question);
    assert.ok(
      windows.every((question) => question.kind === "score" && question.pieces.length === 16),
    );
  });

  it("takes the strongest window, the first of equal ones, in whatever order they are answered", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 200 }),
        fc.infiniteStream(fc.nat()),
        (length, draws) => {
          const reading = new Reading([job(length)], options());
          const read = reading.next()!;
          read.take(answer(read));
          const open: Errand[] = [];
          for (let next = reading.next(); next !== undefined; next = reading.next())
            open.push(next);
          const last = windowsOf(length, GRID).at(-1)!;
          while (open.length > 0) {
            assert.equal(reading.scores()[0]?.complete, false);
            const [draw = 0] = draws.take(1);
            const [errand] = open.splice(draw % open.length, 1);
            errand!.take(answer(errand!));
          }
          assert.equal(reading.isDone, true);
          assert.deepEqual(reading.scores(), [
            {
              direct: { score: last.start, span: last },
              embedded: { score: 100, span: { start: 0, end: Math.min(length, 16) } },
              jailbreak: { score: 0, span: { start: 0, end: Math.min(length, 16) } },
              complete: true,
            },
          ]);
        },
      ),
    );
  });

  it("goes on where it was when the same text comes again, and comes to the same", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), fc.nat(20), (length, answered) => {
        const shared = options();
        const read = (most: number): { asked: number; reading: Reading } => {
          const reading = new Reading([job(length)], shared);
          let asked = 0;
          let errand = reading.next();
          for (; errand !== undefined && asked <= most; errand = reading.next()) {
            errand.take(answer(errand));
            if (errand.question.kind === "score") asked += 1;
          }
          return { asked, reading };
        };
        const first = read(answered).asked;
        const { asked, reading } = read(Number.POSITIVE_INFINITY);
        assert.equal(first + asked, windowsOf(length, GRID).length);
        assert.equal(reading.isDone, true);
        assert.equal(reading.left, 0);
        const whole = new Reading([job(length)], options());
        for (let next = whole.next(); next !== undefined; next = whole.next())
          next.take(answer(next));
        assert.deepEqual(reading.scores(), whole.scores());
      }),
    );
  });

  it("is done with texts that have no pieces", () => {
    const reading = new Reading([job(0), job(0)], options());
    for (const errand of [reading.next()!, reading.next()!]) errand.take(answer(errand));
    assert.equal(reading.next(), undefined);
    assert.equal(reading.isDone, true);
    assert.ok(reading.scores().every(({ complete, direct }) => complete && direct.score === 0));
  });

  for (const { length, complete } of [
    { length: TEXT_LIMIT, complete: true },
    { length: TEXT_LIMIT + 1, complete: false },
  ]) {
    it(`calls a text of ${length} units ${complete ? "complete" : "incomplete"}`, () => {
      const reading = new Reading([job(length)], options());
      const { question, take } = reading.next()!;
      assert.ok(question.kind === "read" && question.text.length === TEXT_LIMIT);
      take({
        kind: "read",
        pieces: new Uint16Array(),
        edges: new Int32Array(),
        keys: [],
        complete: true,
      });
      assert.equal(reading.scores()[0]?.complete, complete);
    });
  }

  it("calls a text incomplete that had more pieces than were read", () => {
    const reading = new Reading([job(5)], options());
    reading.next()!.take({
      kind: "read",
      pieces: new Uint16Array(),
      edges: new Int32Array(),
      keys: [],
      complete: false,
    });
    assert.equal(reading.scores()[0]?.complete, false);
  });

  it("has nothing left exactly when there is nothing to ask", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 60 })),
        fc.infiniteStream(fc.boolean()),
        (lengths, draws) => {
          const reading = new Reading(lengths.map(job), options());
          const open: Errand[] = [];
          while (!reading.isDone) {
            const asks = reading.left > 0;
            const [isAnswered = false] = draws.take(1);
            if (isAnswered && open.length > 0) {
              const errand = open.pop()!;
              errand.take(answer(errand));
              continue;
            }
            const errand = reading.next();
            assert.equal(errand !== undefined, asks);
            if (errand !== undefined) open.push(errand);
          }
          assert.equal(reading.left, 0);
        },
      ),
    );
  });
});
