/** What is judged at once has a limit; who waits for room is let in in order, or hears in time that there is none. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { systemClock } from "../../src/cli/clock.ts";
import { fail, ok, type Result } from "../../src/core/cause.ts";
import { JudgeBudget, type Wait } from "../../src/exchange/judge-budget.ts";
import { turn } from "./chat.ts";

const OVERLOADED = fail("overloaded");

/** A clock whose time the test makes pass. */
class HandClock {
  #ms = 0;
  readonly #timers = new Map<() => void, number>();
  readonly clock = {
    ...systemClock(),
    monotonicMs: () => this.#ms,
    after: (ms: number, then: () => void) => {
      this.#timers.set(then, this.#ms + ms);
      return () => void this.#timers.delete(then);
    },
  };

  get timers(): number {
    return this.#timers.size;
  }

  pass(ms: number): void {
    this.#ms += ms;
    for (const [then, at] of [...this.#timers]) {
      if (at > this.#ms || !this.#timers.delete(then)) continue;
      then();
    }
  }
}

/** A body that is judged until the test says otherwise. */
class Body {
  readonly bytes: number;
  state: "waits" | "judged" | "over" = "waits";
  readonly #gone = new AbortController();
  readonly #judged = Promise.withResolvers<string>();
  readonly answer: Promise<Result<string>>;

  constructor(budget: JudgeBudget, bytes: number, wait: Omit<Wait, "signal">) {
    this.bytes = bytes;
    const { signal } = this.#gone;
    const judge = (): Promise<string> => {
      this.state = "judged";
      return this.#judged.promise;
    };
    this.answer = budget.admit(bytes, { ...wait, signal }, judge).finally(() => {
      this.state = "over";
    });
    for (const one of [this.answer, this.#judged.promise]) one.catch(() => {}); // some tests look, some do not
  }

  finish = (): void => this.#judged.resolve("judged");
  break = (): void => this.#judged.reject(new Error("a defect"));
  leave = (): void => this.#gone.abort();
}

function placeOf(limitBytes: number) {
  const time = new HandClock();
  const budget = new JudgeBudget(limitBytes);
  const come = (bytes: number, until = 1_000): Body =>
    new Body(budget, bytes, { clock: time.clock, until });
  return { time, come };
}

const states = (...bodies: readonly Body[]): string => bodies.map(({ state }) => state).join(" ");

describe("bodies that are judged at once", () => {
  it("are begun at once where there is room, up to the limit and not a byte above", async () => {
    const { come, time } = placeOf(10);
    const [six, four, one] = [come(6), come(4), come(1)];
    await turn();
    assert.equal(states(six, four, one), "judged judged waits");
    assert.equal(time.timers, 1); // of the one that waits
    four.finish();
    assert.deepEqual(await four.answer, ok("judged"));
    await turn();
    assert.equal(states(six, four, one), "judged over judged");
  });

  it("are one, where it is larger than the limit", async () => {
    const { come } = placeOf(10);
    const [large, other] = [come(11), come(1)];
    await turn();
    assert.equal(states(large, other), "judged waits");
    large.finish();
    await turn();
    assert.equal(states(large, other), "over judged");
  });

  it("are begun in the order in which they came: a small one does not overtake", async () => {
    const { come } = placeOf(10);
    const [first, large, small] = [come(6), come(9), come(1)];
    await turn();
    assert.equal(states(first, large, small), "judged waits waits");
    first.finish();
    await turn();
    assert.equal(states(first, large, small), "over judged judged");
  });

  it("leave their room when judging fails, as itself", async () => {
    const { come } = placeOf(10);
    const [first, next] = [come(10), come(10)];
    await turn();
    first.break();
    await assert.rejects(first.answer, /a defect/);
    await turn();
    assert.equal(next.state, "judged");
  });

  it("leave the line when nobody waits for them, and those behind move up", async () => {
    const { come, time } = placeOf(10);
    const [first, large, small] = [come(6), come(9), come(4)];
    await turn();
    large.leave();
    assert.deepEqual(await large.answer, OVERLOADED);
    await turn();
    assert.equal(states(first, large, small), "judged over judged");
    assert.equal(time.timers, 0);
    first.leave(); // what is judged has to hear of it by itself
    await turn();
    assert.equal(first.state, "judged");
  });

  it("are not begun when they have gone before they came, although there is room", async () => {
    const budget = new JudgeBudget(10);
    const { clock } = new HandClock();
    const wait = { clock, until: 1_000, signal: AbortSignal.abort() };
    assert.deepEqual(await budget.admit(1, wait, () => assert.fail("begun")), OVERLOADED);
  });

  it("hear in time that there is no room, and take none later", async () => {
    const { come, time } = placeOf(10);
    const [first, second, patient] = [come(10), come(10, 500), come(10, 2_000)];
    time.pass(499);
    await turn();
    assert.equal(states(first, second, patient), "judged waits waits");
    time.pass(1);
    assert.deepEqual(await second.answer, OVERLOADED);
    time.pass(600);
    assert.equal(first.state, "judged"); // its time is another's to watch
    first.finish();
    await turn();
    assert.equal(states(first, second, patient), "over over judged");
  });

  it("never have more bytes than the limit, nor wait beside room, whatever happens to them", async () => {
    const LIMIT = 10;
    const event = fc.oneof(
      fc.record({ kind: fc.constant("come" as const), bytes: fc.integer({ min: 1, max: 14 }) }),
      fc.record({
        kind: fc.constantFrom("finish" as const, "break" as const, "leave" as const),
        which: fc.nat({ max: 5 }),
      }),
      fc.record({ kind: fc.constant("pass" as const), ms: fc.integer({ min: 1, max: 700 }) }),
    );
    let waits = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 30 }), async (events) => {
        const { come, time } = placeOf(LIMIT);
        const bodies: Body[] = [];
        let ms = 0;
        for (const one of events) {
          const open = bodies.filter(({ state }) => state !== "over");
          if (one.kind === "come") bodies.push(come(one.bytes, ms + 1_000));
          else if (one.kind === "pass") {
            time.pass(one.ms);
            ms += one.ms;
          } else open[one.which]?.[one.kind]();
          await turn();
          const judged = bodies.filter(({ state }) => state === "judged");
          const bytes = judged.reduce((sum, body) => sum + body.bytes, 0);
          assert.ok(bytes <= LIMIT || judged.length === 1, `${bytes}`);
          const next = bodies.find(({ state }) => state === "waits");
          waits += next === undefined ? 0 : 1;
          assert.ok(next === undefined || (judged.length > 0 && bytes + next.bytes > LIMIT));
        }
        for (const body of bodies) body.finish();
        for (let left = bodies.length; left > 0; left -= 1) await turn();
        assert.ok(bodies.every(({ state }) => state === "over"));
        assert.equal(time.timers, 0);
      }),
    );
    assert.ok(waits > 20, `${waits} looks at one that waits`); // so that "never" cannot mean "there was none"
  });
});
