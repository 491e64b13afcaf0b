/** Calls that wait for threads of any behaviour: who is next, and that each is answered once, in time. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ScoreCache } from "../../../src/detect/model/cache.ts";
import type { WindowScore } from "../../../src/detect/model/encoder.ts";
import type { Answer, Question } from "../../../src/detect/model/protocol.ts";
import { Queue, type Scores } from "../../../src/detect/model/queue.ts";
import { Reading } from "../../../src/detect/model/reading.ts";
import { windowsOf } from "../../../src/detect/model/windows.ts";
import { ManualClock } from "./manual-clock.ts";

const GRID = { length: 19, overlap: 4 };
const UNITS = 5_000;
const LONGEST_MS = 600_000;

/** The right answer; a text of `n` letters has `n` pieces. */
function answerTo(question: Question): Answer {
  if (question.kind === "score") {
    return { kind: "scored", cleared: true, scores: { direct: 7, embedded: 0, jailbreak: 0 } };
  }
  const pieces = new Uint16Array(question.text.length);
  const spans = windowsOf(pieces.length, GRID);
  const edges = Int32Array.from(spans.flatMap(({ start, end }) => [start, end]));
  const keys = spans.map((_, i) => `${question.text} ${i}`);
  return { kind: "read", pieces, edges, keys, complete: true };
}

type Asked = { readonly question: Question; readonly settle: (answer: Answer) => void };

/** Threads that do what the test says. */
class Seats {
  readonly asked: Asked[] = [];
  count: number;
  constructor(count: number) {
    this.count = count;
  }
  get isIdle(): boolean {
    return this.asked.length < this.count;
  }
  get isAlive(): boolean {
    return this.count > 0;
  }
  ask(question: Question, settle: (answer: Answer) => void): void {
    assert.ok(this.isIdle);
    this.asked.push({ question, settle });
  }
}

class Rig {
  readonly clock = new ManualClock();
  readonly seats: Seats;
  readonly queue: Queue;
  readonly ends: Scores[] = [];
  readonly windows = new ScoreCache<WindowScore["scores"]>(100);
  #texts = 0;

  constructor(threads: number) {
    this.seats = new Seats(threads);
    const limits = { calls: 200, units: UNITS };
    this.queue = new Queue({ threads: this.seats, clock: this.clock, limits });
  }

  /** A new text of so many letters. */
  call(letters: number, until: number, signal?: AbortSignal): Promise<Scores> {
    this.#texts += 1;
    const text = String.fromCharCode(0x4e00 + this.#texts).repeat(letters);
    const options = { grid: GRID, scope: "a", windows: this.windows };
    const reading = new Reading([{ text, place: "tool" }], options);
    return this.queue.wait(reading, { units: letters, until, signal }).then((scores) => {
      this.ends.push(scores);
      return scores;
    });
  }

  /** The thread at this place is done with its question, and has said `answer`. */
  done(index: number, answer?: Answer): void {
    const [asked] = this.seats.asked.splice(index, 1);
    if (asked === undefined) return;
    asked.settle(answer ?? answerTo(asked.question));
    this.queue.work();
  }

  /** The first letter of the text that is being read. */
  get reads(): string | undefined {
    const question = this.seats.asked[0]?.question;
    return question?.kind === "read" ? question.text[0] : undefined;
  }
}
const letter = (number: number): string => String.fromCharCode(0x4e00 + number);
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** The share of 1,000 calls that are answered whole when `load` times as much comes as one thread can read. */
async function share(load: number): Promise<number> {
  const WINDOW_MS = 9;
  const WINDOWS = 18;
  const rig = new Rig(1);
  let draw = 1;
  let comes = 0;
  let ends = Number.POSITIVE_INFINITY;
  for (let calls = 0; calls < 1_000; ) {
    rig.clock.advance(Math.min(comes, ends) - rig.clock.monotonicMs());
    if (ends <= comes) rig.done(0);
    else {
      calls += 1;
      void rig.call(16 + 12 * (WINDOWS - 1), comes + 1_000);
      // Poisson's arrivals, the same each time.
      draw = (draw * 48_271) % 2_147_483_647;
      comes -= (Math.log(draw / 2_147_483_647) * WINDOWS * WINDOW_MS) / load;
    }
    if (rig.reads !== undefined) rig.done(0); // takes no time beside windows
    const isBusy = rig.seats.asked.length > 0;
    if (!isBusy) ends = Number.POSITIVE_INFINITY;
    else if (ends <= rig.clock.monotonicMs() || ends === Number.POSITIVE_INFINITY) {
      ends = rig.clock.monotonicMs() + WINDOW_MS;
    }
  }
  rig.clock.advance(LONGEST_MS);
  await settled();
  return rig.ends.filter((end) => end.ok && end.value[0]?.complete).length / 1_000;
}

type Step = (rig: Rig, controllers: AbortController[]) => void;

const untils = fc.oneof(
  fc.integer({ min: -5, max: 500 }),
  fc.constantFrom(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, 1e300),
);
/** What can happen: `at` names a thread. */
const steps: fc.Arbitrary<Step> = fc.oneof(
  fc.tuple(fc.nat(60), untils).map(
    ([letters, until]): Step =>
      (rig, controllers) => {
        const controller = new AbortController();
        controllers.push(controller);
        void rig.call(letters, until, controller.signal); // never rejects: what the test is about
      },
  ),
  fc.nat(3).map(
    (at): Step =>
      (rig) =>
        rig.done(at),
  ),
  fc.nat(3).map(
    (at): Step =>
      (rig) =>
        rig.done(at, { kind: "failed" }),
  ),
  // Of another question.
  fc.nat(3).map(
    (at): Step =>
      (rig) =>
        rig.done(at, answerTo({ kind: "read", text: "xyz", owner: "" })),
  ),
  // Twice, the second one when the thread may be at something else.
  fc.nat(3).map(
    (at): Step =>
      (rig) => {
        const asked = rig.seats.asked[at];
        rig.done(at);
        asked?.settle(answerTo(asked.question));
        rig.queue.work();
      },
  ),
  // Dies; what it was at fails.
  fc.nat(3).map(
    (at): Step =>
      (rig) => {
        rig.seats.count = Math.max(0, rig.seats.count - 1);
        rig.done(at, { kind: "failed" });
        rig.queue.work();
      },
  ),
  fc.constant<Step>((rig) => {
    rig.seats.count += 1;
    rig.queue.work();
  }),
  fc.nat(200).map(
    (ms): Step =>
      (rig) =>
        rig.clock.advance(ms),
  ),
  fc.nat().map(
    (draw): Step =>
      (_, controllers) =>
        controllers[draw % (controllers.length || 1)]?.abort(),
  ),
);

describe("the queue of the model", () => {
  it("lets the longest leave for a shorter one when it is full, and takes no longer one", async () => {
    const rig = new Rig(1);
    const [long, longer] = [rig.call(1_900, 1_000), rig.call(2_900, 1_000)];
    const short = rig.call(500, 1_000);
    const end = await longer;
    assert.ok(end.ok && end.value[0]?.complete === false, "it is answered with what was read");
    assert.equal(rig.ends.length, 1);
    const longest = await rig.call(4_000, 1_000);
    assert.deepEqual(longest, { ok: false, cause: "detector_timeout" });
    assert.equal(rig.ends.length, 2);
    rig.clock.advance(1_000);
    for (const call of [long, short]) assert.ok((await call).ok);
  });

  it("answers each call once and by its deadline, whatever the threads do", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(3), fc.array(steps, { maxLength: 80 }), async (threads, all) => {
        const rig = new Rig(threads);
        const controllers: AbortController[] = [];
        for (const step of all) step(rig, controllers);
        // Those that are left never hear from their threads.
        rig.clock.advance(LONGEST_MS);
        await settled();
        assert.equal(rig.ends.length, controllers.length);
        assert.equal(rig.clock.timers, 0);
        assert.equal(rig.queue.stats().queued, 0);
        // What it holds is counted right: it is empty.
        rig.seats.count = 1;
        const full = { ok: false, cause: "detector_timeout" };
        assert.deepEqual(await rig.call(UNITS + 1, LONGEST_MS), full);
      }),
      { numRuns: 300 },
    );
  });

  it("sets no timer for longer than ten minutes, and none that is no number", async () => {
    for (const [until, waits] of [
      [Number.POSITIVE_INFINITY, LONGEST_MS],
      [1e300, LONGEST_MS],
      [Number.NaN, 0],
      [Number.NEGATIVE_INFINITY, 0],
    ] as const) {
      const rig = new Rig(1);
      const call = rig.call(30, until);
      if (waits > 0) rig.clock.advance(waits - 1);
      await settled();
      assert.equal(rig.ends.length, 0);
      rig.clock.advance(waits === 0 ? 0 : 1);
      const scores = await call;
      assert.equal(scores.ok && scores.value[0]?.complete, false);
    }
  });

  it("gives up a call that nobody waits for, and what it has scored is known", async () => {
    const rig = new Rig(1);
    const gone = new AbortController();
    const call = rig.call(40, 1_000, gone.signal);
    rig.done(0);
    rig.done(0);
    gone.abort();
    const scores = await call;
    assert.equal(scores.ok && scores.value[0]?.complete, false);
    assert.equal(scores.ok && scores.value[0]?.direct.score, 7);
    assert.equal(rig.clock.timers, 0);
    rig.done(0); // it was at the second window
    assert.deepEqual(rig.seats.asked, []);
    assert.equal(rig.queue.stats().windows, 2);
    assert.ok(rig.windows.get(`${letter(1).repeat(40)} 1`));
  });

  it("asks nothing for a call that nobody waits for when it comes", async () => {
    const rig = new Rig(1);
    const scores = await rig.call(40, 1_000, AbortSignal.abort());
    assert.equal(scores.ok && scores.value[0]?.complete, false);
    assert.deepEqual(rig.seats.asked, []);
  });

  for (const { waited, next } of [
    { waited: 749, next: "oldest" },
    { waited: 750, next: "newest" },
  ]) {
    it(`reads the ${next} of equal calls when the oldest has waited ${waited} of 1,000 ms`, () => {
      const rig = new Rig(1);
      void rig.call(1, 2_000);
      void rig.call(30, 1_000);
      rig.clock.advance(100);
      void rig.call(30, 1_100);
      void rig.call(30, 1_100);
      void rig.call(600, 1_100); // longer
      rig.clock.advance(waited - 100);
      rig.done(0);
      rig.done(0);
      assert.equal(rig.reads, letter(next === "oldest" ? 2 : 4));
    });
  }

  it("finishes the call that it has begun before a newer one of the same length", async () => {
    const rig = new Rig(1);
    const ended: string[] = [];
    void rig.call(30, 1_000).then(() => ended.push("begun"));
    rig.done(0);
    rig.done(0); // the first of its windows
    rig.clock.advance(900);
    void rig.call(30, 1_900).then(() => ended.push("newer"));
    while (ended.length === 0) {
      rig.done(0);
      await settled();
    }
    assert.deepEqual(ended, ["begun"]);
  });

  it("answers nearly all in rushes, and as many as can be when too many come all the time", async () => {
    const [calm, overload] = [await share(0.8), await share(3)];
    assert.ok(calm > 0.95, `${calm}`);
    assert.ok(overload > 0.32, `${overload}`); // of 0.33 that can be
  });
});
