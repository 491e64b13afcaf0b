/** Texts in, scores out: the threads, their queue and the cache together, with weights whose answers are known. */
import assert from "node:assert/strict";
import type { Result } from "../../../src/core/cause.ts";
import { type ModelOptions, openModel } from "../../../src/detect/model/model.ts";
import type { OpenScorer, Place, ScorerStats, TextScore } from "../../../src/detect/scorer.ts";
import { ManualClock } from "./manual-clock.ts";
import { SLOTS, tinyWeights, type Weights } from "./tiny-encoder.ts";

/** Pieces of these weights by how rare they are: the early head is sure, not sure, alarmed. */
const COMMON = "the of and";
const RARER = "kaleidoscope";
/** Only the head `direct` is not sure. */
const DOUBTFUL = "Straßenbahn";
const RAREST = "徘徊";
const LONG = `${"the ".repeat(1_000)}${RAREST}${" of".repeat(1_000)}`;

const sigmoid = (logit: number): number => Math.round(10_000 / (1 + Math.exp(-logit)));
const value = (result: Result<readonly TextScore[]>): readonly TextScore[] => {
  assert.ok(result.ok);
  return result.value;
};

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the model", () => {
  let weights: Weights;
  let shared: OpenScorer;
  let model: OpenScorer;
  let start: ScorerStats;
  /** Each test has its own part of the cache. */
  let options: { scope: string; until: number };
  const clock = new ManualClock();
  const ask = async (text: string, place: Place = "document"): Promise<TextScore> =>
    value(await model.score([{ text, place }], options))[0]!;
  const counted = (name: keyof ScorerStats): number => model.stats()[name] - start[name];

  before(async () => {
    weights = tinyWeights();
    shared = await openModel(weights.directory, { threads: 1, clock });
  });
  after(async () => {
    await shared.close();
    weights.remove();
  });
  beforeEach(function () {
    model = shared;
    start = model.stats();
    options = { scope: this.currentTest?.title ?? "", until: clock.monotonicMs() + 1_000 };
  });

  /** The same with other limits. */
  const under = async (limits: ModelOptions["limits"], then: () => Promise<void>) => {
    model = await openModel(weights.directory, { threads: 1, clock, limits: limits ?? {} });
    start = model.stats();
    await then().finally(() => model.close());
  };

  it("names the manifest it was opened with", () => {
    assert.match(model.digest, /^[0-9a-f]{64}$/);
    assert.equal(model.thresholds.strict.hidden.embedded, 200);
  });

  it("ends a window after the lower layers when they are sure, and lets it say less than any threshold", async () => {
    const { direct } = await ask(RARER);
    assert.deepEqual(direct, { score: 199, span: { start: 0, end: RARER.length } });
    assert.ok((await ask(COMMON)).direct.score < 10);
    assert.equal(counted("cleared"), 2);
  });

  it("asks the upper layers if one head is not sure", async () => {
    await ask(DOUBTFUL);
    assert.equal(counted("cleared"), 0);
  });

  it("asks the upper layers otherwise, about the window in its frame", async () => {
    for (const place of ["user", "tool", "document", "hidden"] as const) {
      const { direct, embedded, complete } = await ask(RAREST, place);
      assert.ok(direct.score > 9_500);
      assert.equal(embedded.score, sigmoid(SLOTS[place]));
      assert.equal(complete, true);
    }
    assert.deepEqual([counted("texts"), counted("windows"), counted("cleared")], [4, 4, 0]);
  });

  it("takes the strongest window of a text and says where it stands", async () => {
    const { direct, complete } = await ask(LONG);
    const at = LONG.indexOf(RAREST);
    assert.ok(direct.score > 9_500);
    assert.ok(direct.span.start <= at && direct.span.end >= at + RAREST.length);
    assert.ok(direct.span.end - direct.span.start < 1_000);
    assert.equal(complete, true);
  });

  it("answers in the order of the jobs, known texts among new ones", async () => {
    await ask(COMMON);
    const texts = [RAREST, COMMON, "", RARER, RAREST];
    const jobs = texts.map((text) => ({ text, place: "document" as const }));
    const scores = value(await model.score(jobs, options));
    assert.deepEqual(scores[0], scores[4]);
    assert.ok(scores[0]!.direct.score > 9_500);
    assert.ok(scores[1]!.direct.score < 10);
    assert.deepEqual(scores[2], {
      direct: NOTHING,
      embedded: NOTHING,
      jailbreak: NOTHING,
      complete: true,
    });
    assert.equal(scores[3]!.direct.score, 199);
    assert.deepEqual(value(await model.score([], options)), []);
  });

  it("reads a text once for each who asks and each place", async () => {
    const first = await ask(RAREST);
    assert.deepEqual(await ask(RAREST), first);
    assert.equal(counted("windows"), 1);
    assert.equal(counted("cached"), 1);
    await ask(RAREST, "user");
    await model.score([{ text: RAREST, place: "document" }], { ...options, scope: "another" });
    assert.equal(counted("windows"), 3);
  });

  it("says incomplete at the deadline, asks no more, and forgets it", async () => {
    const asked = model.score(
      [
        { text: LONG, place: "tool" },
        { text: COMMON, place: "tool" },
      ],
      {
        scope: "a",
        until: 50,
      },
    );
    assert.ok(model.stats().queued > 0);
    clock.advance(50);
    const scores = value(await asked);
    assert.deepEqual(
      scores.map(({ complete }) => complete),
      [false, false],
    );
    assert.equal(model.stats().queued, 0);
    options.until += 1_000;
    assert.equal((await ask(LONG, "tool")).complete, true);
    assert.equal(counted("cached"), 0);
  });

  it("answers at the third try a text that takes three times its time", async () => {
    const text = Array.from({ length: 1_000 }, (_, i) => `${RARER} ${i} of`).join(" ");
    const windows = (): number => counted("windows");
    await ask(text);
    const all = windows();
    options.scope = "comes again";
    const sum = (): number => windows() - all;
    for (const share of [1 / 3, 2 / 3]) {
      const asked = ask(text);
      while (sum() < share * all) await turn();
      clock.advance(1_001);
      assert.equal((await asked).complete, false);
      options.until = clock.monotonicMs() + 1_000;
    }
    const before = sum();
    assert.equal((await ask(text)).complete, true);
    assert.equal(sum(), all, "a window was scored twice");
    assert.ok(all > 20 && all - before <= all / 3);
    // Nobody else gains by it.
    options.scope = "another";
    await ask(text);
    assert.equal(sum(), 2 * all);
  });

  it("reads a text to its end also when it has more windows than are kept", async () => {
    await under({ cachedWindows: 2 }, async () => {
      const { complete } = await ask(LONG);
      assert.equal(complete, true);
    });
  });

  it("answers at once when the deadline is over", async () => {
    clock.advance(1_001);
    const asked = model.score([{ text: COMMON, place: "tool" }], options);
    clock.advance(0);
    assert.equal(value(await asked)[0]?.complete, false);
  });

  it("keeps no timer of a call that is answered", async () => {
    await ask(COMMON);
    assert.equal(clock.timers, 0);
  });

  it("finishes the short call before the long one that came first", async () => {
    const order: string[] = [];
    const long = ask(LONG).then(() => order.push("long"));
    const short = ask(COMMON).then(() => order.push("short"));
    await Promise.all([long, short]);
    assert.deepEqual(order, ["short", "long"]);
  });

  it("refuses the call that is one too many", async () => {
    await under({ calls: 2 }, async () => {
      const asked = [ask(COMMON), ask(RARER)];
      const refused = { ok: false, cause: "detector_timeout" };
      assert.deepEqual(await model.score([{ text: RAREST, place: "user" }], options), refused);
      await Promise.all(asked);
      assert.ok((await ask(RAREST)).complete);
    });
  });

  for (const { units, cause } of [
    { units: 2_000, cause: undefined },
    { units: 2_001, cause: "detector_timeout" },
  ]) {
    it(`${cause === undefined ? "takes" : "refuses"} texts of ${units} units where 2,000 may wait`, async () => {
      await under({ units: 2_000 }, async () => {
        const job = (length: number) => ({ text: "a".repeat(length), place: "user" as const });
        // Each text counts 256 units more.
        const asked = model.score([job(1_000)], options);
        const result = await model.score([job(units - 1_000 - 512)], options);
        assert.equal(result.ok ? undefined : result.cause, cause);
        assert.equal((await asked).ok, true);
      });
    });
  }

  it("reads so many windows of a text and says that there are more", async () => {
    await under({ windows: 2 }, async () => {
      const { direct, complete } = await ask(LONG);
      assert.equal(complete, false);
      assert.ok(direct.score < 200);
      assert.equal(counted("windows"), 2);
      await ask(LONG);
      assert.equal(counted("cached"), 0);
    });
  });

  it("answers what is open when it is closed, and nothing later", async () => {
    await under({}, async () => {
      const asked = model.score([{ text: LONG, place: "user" }], options);
      const unavailable = { ok: false, cause: "detector_unavailable" };
      const closed = model.close();
      assert.deepEqual(await asked, unavailable);
      assert.deepEqual(await model.score([{ text: LONG, place: "user" }], options), unavailable);
      await closed;
      assert.deepEqual(await model.score([{ text: LONG, place: "user" }], options), unavailable);
      assert.equal(clock.timers, 0);
    });
  });
});

const NOTHING = { score: 0, span: { start: 0, end: 0 } };
