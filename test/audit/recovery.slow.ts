import assert from "node:assert/strict";
import { cpSync, readdirSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { FileOps } from "../../src/audit/file.ts";
import type { Writer } from "../../src/audit/writer.ts";
import { checkLog } from "./check-log.ts";
import { newId, Place } from "./fixtures.ts";
import {
  bareDecision,
  beat,
  commit,
  genesis,
  open,
  segmentPathOf,
  unsynced,
} from "./writer-fixture.ts";

describe("a log that a crash has cut", () => {
  it("loses no acknowledged record, at whatever byte the last batch is cut", async function () {
    this.timeout(60_000);
    const place = new Place();
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    writer.publish();
    const ends = [writer.segmentEnd];
    commit(writer, 1, [beat, bareDecision(newId())]);
    ends.push(writer.segmentEnd);
    commit(writer, 3, [beat]);
    ends.push(writer.segmentEnd);
    writer.close(); // with two batches under no checkpoint, as a crash leaves them
    const saved = join(place.root, "saved");
    cpSync(place.dir, saved, { recursive: true });
    const sizes = [1, 3, 4];
    for (let cut = ends[0]!; cut <= ends[2]!; cut++) {
      rmSync(place.dir, { recursive: true });
      cpSync(saved, place.dir, { recursive: true });
      truncateSync(segmentPathOf(place), cut);
      const again = open(place);
      const whole = ends.findLastIndex((end) => end <= cut);
      const torn = cut - ends[whole]!;
      assert.equal(again.report.size, sizes[whole], `cut at ${cut}`);
      assert.equal(again.report.torn?.bytes, torn === 0 ? undefined : torn);
      assert.equal(again.report.open.length, whole > 0 ? 1 : 0);
      commit(again, sizes[whole]!, [beat]);
      again.publish();
      again.close();
      assert.equal(checkLog(place).checkpoint?.size, sizes[whole]! + 1);
      const kept = readdirSync(join(place.dir, "state")).filter((name) => name.startsWith("torn"));
      assert.equal(kept.length, torn === 0 ? 0 : 1, `the ${torn} bytes are kept`);
    }
    await place.remove();
  });
});

describe("a failing disk", () => {
  /** Runs genesis and three exchanges' worth of batches; returns how many records were acknowledged. */
  function run(place: Place, ops: FileOps): { acknowledged: number; failed: boolean } {
    let acknowledged = 0;
    let writer: Writer | undefined;
    try {
      writer = open(place, ops);
      const { size } = writer.report;
      commit(writer, size, size === 0 ? [genesis(place)] : [beat]);
      acknowledged = size + 1;
      for (let i = 0; i < 3; i++) {
        commit(
          writer,
          acknowledged,
          Array.from({ length: 120 }, () => beat),
        );
        acknowledged += 120;
        writer.publish();
        writer.rotate([]);
      }
      writer.close();
      return { acknowledged, failed: false };
    } catch {
      writer?.close(); // the process is over; this only frees the lock
      return { acknowledged, failed: true };
    }
  }

  type Call = Exclude<keyof FileOps, "close">;
  const calls: readonly Call[] = [
    "open",
    "write",
    "fdatasync",
    "syncDir",
    "truncate",
    "rename",
    "makeDir",
    "remove",
  ];

  /** `ops` whose `nth` use of `call` fails: before it is done, after it is done, or half done. */
  function failing(
    call: Call,
    nth: number,
    how: "before" | "after" | "half",
  ): FileOps & { used: () => number } {
    let used = 0;
    const fail = (): never => {
      throw Object.assign(new Error("injected"), { code: "EIO", syscall: call });
    };
    const wrapped = (...args: never[]) => {
      used += 1;
      if (used < nth || (used > nth && how !== "half"))
        return (unsynced[call] as never as (...a: never[]) => unknown)(...args);
      if (how === "half" && call === "write" && used === nth) {
        const [fd, bytes, position] = args as never as [number, Uint8Array, number];
        return unsynced.write(fd, bytes.subarray(0, bytes.length >> 1), position);
      }
      if (how === "after") (unsynced[call] as never as (...a: never[]) => unknown)(...args);
      return fail();
    };
    return { ...unsynced, [call]: wrapped, used: () => used };
  }

  for (const call of calls) {
    for (const how of ["before", "after", "half"] as const) {
      if (how === "half" && call !== "write") continue;
      it(`loses nothing acknowledged and signs nothing twice when ${call} fails, ${how} its work`, async function () {
        this.timeout(60_000);
        let rounds = 0;
        for (let nth = 1; ; nth++) {
          const place = new Place();
          try {
            const clean = run(place, unsynced); // so that the start, too, has something to do
            const first = run(place, failing(call, nth, how));
            assert.ok(first.acknowledged >= clean.acknowledged || first.failed);
            if (!first.failed) break; // it was not called that often
            const again = run(place, unsynced);
            assert.equal(again.failed, false, `${call} ${nth}`);
            const least = Math.max(clean.acknowledged, first.acknowledged) + 361;
            assert.ok(again.acknowledged >= least, `${call} ${nth}`);
            assert.equal(checkLog(place).checkpoint?.size, again.acknowledged);
            rounds += first.failed ? 1 : 0;
          } finally {
            await place.remove();
          }
        }
        assert.ok(rounds > 0, `${call} was never called`);
      });
    }
  }

  it("that takes only parts of each write still holds whole batches", async () => {
    const place = new Place();
    const bit = (bytes: Uint8Array): Uint8Array => bytes.subarray(0, Math.min(bytes.length, 700));
    const ops: FileOps = {
      ...unsynced,
      write: (fd, bytes, at) => unsynced.write(fd, bit(bytes), at),
    };
    const { acknowledged, failed } = run(place, ops);
    assert.deepEqual([acknowledged, failed], [361, false]);
    checkLog(place);
    await place.remove();
  });
});
