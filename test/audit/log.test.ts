import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { readLeaf } from "../../src/audit/leaf.ts";
import type { AuditOptions } from "../../src/audit/log.ts";
import { decodeBundle } from "../../src/audit/tiles.ts";
import { ownLabel } from "../../src/core/brand.ts";
import type { Clock } from "../../src/core/clock.ts";
import { LimenError } from "../../src/core/errors.ts";
import { type AuditRecord, RULES_ALONE } from "../../src/core/record.ts";
import { checkLog } from "./check-log.ts";
import {
  BUILD,
  decisionRecord,
  newId,
  ORIGIN,
  outcomeRecord,
  Place,
  testClock,
} from "./fixtures.ts";

const exchange = (): AuditRecord[] => {
  const id = newId();
  return [decisionRecord(id), outcomeRecord(id)];
};

const isCode = (code: string) => (error: unknown) =>
  error instanceof LimenError && error.code === code;

describe("the audit log", () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(async () => place.remove());

  /** Types of the first entries, from the bundle on disk. */
  const typesOnDisk = (width: number): string[] => {
    const bytes = readFileSync(join(place.dir, `tile/entries/000.p/${width}`));
    return decodeBundle(bytes, width)!.map((entry) => readLeaf(entry)!.type);
  };

  it("begins with genesis, keeps the order of appends and ends with close", async () => {
    const log = await place.open();
    const appends = [exchange(), exchange(), [{ type: "heartbeat" } as const]];
    assert.deepEqual(await Promise.all(appends.map((records) => log.append(records))), [
      true,
      true,
      true,
    ]);
    await log.close();
    const pair = ["request.decision", "response.outcome"];
    assert.deepEqual(typesOnDisk(7), ["genesis", ...pair, ...pair, "heartbeat", "close"]);
    const report = checkLog(place);
    assert.equal(report.checkpoint?.size, 7);
    assert.deepEqual([report.decisions, report.outcomes, report.openCount], [2, 2, 0]);
    assert.equal(log.stats().checkpoint.size, 7);
  });

  it("goes on where it stopped, without a second genesis and without a recovery", async () => {
    for (let i = 0; i < 3; i++) {
      const log = await place.open();
      assert.equal(await log.append(exchange()), true);
      await log.close();
      assert.equal(checkLog(place).checkpoint?.size, 1 + 3 * (i + 1));
      assert.equal(log.stats().recovery.clean, true);
    }
    assert.deepEqual(readdirSync(join(place.dir, "wal")).length, 1);
  });

  it("verifies at every size around the edges of tiles and bundles", async () => {
    await (await place.open()).close(); // a new log has no checkpoint for its first second
    const log = await place.open({ limits: { integrateMs: 1 } });
    let size = 2;
    for (const goal of [254, 255, 256, 257, 511, 512, 513]) {
      const records = Array.from({ length: goal - size }, () => ({ type: "heartbeat" }) as const);
      assert.equal(await log.append(records), true);
      size = goal;
      const { checkpoint, unpublished } = checkLog(place);
      assert.equal((checkpoint?.size ?? 0) + unpublished.length, goal);
    }
    await log.close();
    assert.equal(checkLog(place).checkpoint?.size, 514);
    for (const size of [515, 516]) {
      await (await place.open()).close();
      assert.equal(checkLog(place).checkpoint?.size, size);
    }
    // Partial tiles go one pass after the tile became full.
    const names = readdirSync(join(place.dir, "tile/0")).sort();
    assert.deepEqual(names, ["000", "001", "002.p"]);
  });

  it("answers false for all of an append that does not fit, and true for the next that does", async () => {
    const log = await place.open({ limits: { records: 8 } });
    const nine = Array.from({ length: 9 }, () => ({ type: "heartbeat" }) as const);
    assert.equal(await log.append(nine), false);
    assert.equal(await log.append(nine.slice(1)), true);
    assert.equal(log.stats().refused, 1);
    await log.close();
    assert.equal(checkLog(place).checkpoint?.size, 10);
  });

  it("counts records that the writer has not yet confirmed against the limit", async () => {
    const log = await place.open({ limits: { records: 4 } });
    const answers = await Promise.all(
      Array.from({ length: 6 }, () => log.append([{ type: "heartbeat" }])),
    );
    assert.deepEqual(answers, [true, true, true, true, false, false]);
    await log.close();
    assert.equal(checkLog(place).checkpoint?.size, 6);
  });

  it("has a limit in bytes, and a record that no bundle could hold never enters", async () => {
    const log = await place.open({ limits: { bytes: 1 << 20 } });
    const named = (letters: number): AuditRecord => ({
      type: "config.activated",
      digest: ownLabel("d"),
      detector: RULES_ALONE,
      names: [ownLabel("n".repeat(letters))],
    });
    assert.equal(await log.append([named(65_600)]), false);
    assert.equal(await log.append([named(65_000)]), true);
    assert.equal(await log.append(Array.from({ length: 9 }, () => named(65_000))), false);
    assert.equal(await log.append(Array.from({ length: 7 }, () => named(65_000))), true);
    await log.close();
    assert.equal(checkLog(place).checkpoint?.size, 10);
  });

  it("answers false for a record that cannot be written canonically, and goes on", async () => {
    const log = await place.open();
    const broken: AuditRecord = { type: "recovery", bytes: 0.5, sha256: ownLabel(""), dangling: 0 };
    assert.equal(await log.append([{ type: "heartbeat" }, broken]), false);
    assert.equal(await log.append(exchange()), true);
    await log.close();
    assert.equal(checkLog(place).checkpoint?.size, 4);
  });

  it("answers false at the deadline; the record may become durable all the same", async () => {
    const timers: (() => void)[] = [];
    let nowMs = 0;
    const clock: Clock = {
      ...testClock,
      monotonicMs: () => nowMs,
      after: (_, then) => {
        timers.push(then);
        return () => undefined;
      },
    };
    const log = await place.open({ clock });
    const answer = log.append(exchange());
    const before = timers.length;
    nowMs = 250;
    timers[before - 1]?.(); // no acknowledgement can have been heard: the event loop has not turned
    assert.equal(await answer, false);
    await log.close();
    assert.equal(log.stats().refused, 1);
    assert.equal(checkLog(place).decisions, 1);
  });

  it("takes nothing after close, closes twice as once, and finishes what was queued", async () => {
    const log = await place.open();
    const queued = Array.from({ length: 50 }, () => log.append(exchange()));
    const closing = Promise.all([log.close(), log.close()]);
    assert.equal(await log.append(exchange()), false);
    assert.ok((await Promise.all(queued)).every((isDurable) => isDurable));
    await closing;
    assert.equal(log.stats().writable, false);
    assert.equal(checkLog(place).checkpoint?.size, 102);
  });

  it("has one writer: a second is refused while it runs, and welcome afterwards", async () => {
    const log = await place.open();
    await assert.rejects(place.open(), isCode("log_locked"));
    await log.close();
    await (await place.open()).close();
  });

  const losses = {
    "was deleted": (dir: string) => rmSync(dir, { recursive: true }),
    "was moved away": (dir: string) => renameSync(dir, `${dir}-2`),
    "was replaced by a copy": (dir: string) => {
      renameSync(dir, `${dir}-2`);
      cpSync(`${dir}-2`, dir, { recursive: true });
    },
  };
  for (const [name, lose] of Object.entries(losses)) {
    it(`acknowledges nothing once its folder ${name}`, async () => {
      const problems: string[] = [];
      const onState: AuditOptions["onState"] = (_, { what }) => void problems.push(what);
      const log = await place.open({ onState });
      assert.equal(await log.append(exchange()), true);
      lose(place.dir);
      assert.equal(await log.append(exchange()), false);
      assert.equal(log.stats().writable, false);
      assert.deepEqual(problems, ["was deleted, moved or mounted over while it was written"]);
    });
  }

  it("does not open under another key, another origin or without a key", async () => {
    await (await place.open()).close();
    const other = new Place();
    try {
      const foreign = place.open({ keyFile: other.keyFile });
      await assert.rejects(foreign, isCode("log_corrupt"));
      await assert.rejects(place.open({ origin: "limen.example/b" }), isCode("config_invalid"));
      await assert.rejects(place.open({ origin: "https://b" }), isCode("config_invalid"));
      await assert.rejects(place.open({ keyFile: "/nowhere" }), isCode("file_unreadable"));
    } finally {
      await other.remove();
    }
    await (await place.open()).close();
  });

  it("gives decisions that never got an outcome one that says so, once", async () => {
    const log = await place.open();
    const [left, done] = [newId(), newId()];
    assert.equal(await log.append([decisionRecord(left), decisionRecord(done)]), true);
    assert.equal(await log.append([outcomeRecord(done)]), true);
    await log.close();
    assert.deepEqual(checkLog(place).open, [left]);
    const again = await place.open();
    assert.equal(again.stats().recovery.dangling, 1);
    await again.close();
    const report = checkLog(place);
    assert.deepEqual([report.decisions, report.outcomes, report.openCount], [2, 2, 0]);
    const types = typesOnDisk(8).slice(4);
    assert.deepEqual(types, ["close", "recovery", "response.outcome", "close"]);
    await (await place.open()).close();
    assert.equal(checkLog(place).checkpoint?.size, 9);
  });

  it("closes segments at their limit, deletes what is in full bundles, and starts from the rest", async () => {
    const limits = { segmentBytes: 20_000, integrateMs: 1 };
    let log = await place.open({ limits });
    const left = newId();
    assert.equal(await log.append([decisionRecord(left)]), true);
    for (let i = 0; i < 400; i++) assert.equal(await log.append(exchange()), true);
    await log.close();
    checkLog(place);
    const segments = readdirSync(join(place.dir, "wal")).sort();
    assert.ok(segments.length > 1, "several are kept: their entries are in no full bundle");
    assert.ok(Number.parseInt(segments[0]!, 10) > 0, "the first is deleted");
    assert.ok(Number.parseInt(segments[1]!, 10) > 768, "and no more is kept than needed");
    log = await place.open({ limits });
    // The decision stands in a segment that is gone; the segments' headers carried it along.
    assert.equal(log.stats().recovery.dangling, 1);
    await log.close();
    assert.equal(checkLog(place).openCount, 0);
  });

  it("reports each commit, its own state, and a sign of life when nothing happens", async () => {
    const commits: number[] = [];
    const onCommit = ({ records, seconds }: { records: number; seconds: number }): void => {
      assert.ok(seconds >= 0 && seconds < 60);
      commits.push(records);
    };
    const timers: (() => void)[] = [];
    const clock: Clock = {
      ...testClock,
      after(ms, then) {
        if (ms === 777) timers.push(then);
        return ms === 777 ? () => undefined : testClock.after(ms, then);
      },
    };
    const log = await place.open({ clock, onCommit, limits: { heartbeatMs: 777 } });
    assert.equal(await log.append(exchange()), true);
    timers[0]?.(); // genesis and the exchange were records enough
    timers[1]?.();
    await log.close();
    assert.deepEqual(commits, [1, 2, 2]); // the sign of life and the end in one
    assert.equal(typesOnDisk(5)[3], "heartbeat");
    assert.equal(log.stats().size, 5);
    assert.equal(statSync(join(place.dir, "lock")).size, 0);
  });

  it("says who wrote it in every entry", async () => {
    await (await place.open()).close();
    const bytes = readFileSync(join(place.dir, "tile/entries/000.p/2"));
    const [genesis] = decodeBundle(bytes, 2)!.map((entry) =>
      JSON.parse(Buffer.from(entry).toString()),
    );
    const { time, ...fields } = genesis;
    assert.match(time, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    assert.deepEqual(fields, {
      v: "limen.audit/v1",
      type: "genesis",
      wseq: 0,
      origin: ORIGIN,
      epoch: 7,
      build: BUILD,
      key: place.key.vkey,
    });
  });
});
