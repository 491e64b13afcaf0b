import assert from "node:assert/strict";
import {
  appendFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { type FileOps, nodeOps } from "../../src/audit/file.ts";
import { encodeLeaf } from "../../src/audit/leaf.ts";
import { BATCH_BYTES, FRAME_BYTES, noteEntry } from "../../src/audit/wal.ts";
import { Writer } from "../../src/audit/writer.ts";
import type { DecisionId } from "../../src/core/brand.ts";
import { LimenError } from "../../src/core/errors.ts";
import type { AuditRecord } from "../../src/core/record.ts";
import { checkLog } from "./check-log.ts";
import { decisionRecord, newId, ORIGIN, Place } from "./fixtures.ts";

/** For tests of what is on disk in which order, not of the disk: without syncs a start takes 3 ms. */
const unsynced: FileOps = { ...nodeOps, fdatasync: () => undefined, syncDir: () => undefined };

const open = (place: Place, ops: FileOps = unsynced): Writer =>
  new Writer(ops, { dir: place.dir, origin: ORIGIN, keyFile: place.keyFile });

/** Commits records as the writer's thread does. */
function commit(writer: Writer, first: number, records: readonly AuditRecord[]): void {
  const buffer = Buffer.alloc(BATCH_BYTES + 4096 * records.length);
  let at = BATCH_BYTES;
  for (const [i, record] of records.entries()) {
    const text = encodeLeaf(
      record,
      { wseq: first + i, wallUs: 1n },
      { origin: ORIGIN, epoch: 7, build: "t" },
    );
    const length = buffer.write(text, at + FRAME_BYTES);
    noteEntry(buffer, at, length);
    at += FRAME_BYTES + length;
  }
  writer.integrate(writer.commit(buffer, records.length));
}

const genesis = (place: Place): AuditRecord =>
  ({ type: "genesis", build: "t", key: place.key.vkey }) as never;
const beat: AuditRecord = { type: "heartbeat" };

/** Short, because every byte of it costs a start. */
const bareDecision = (id: DecisionId): AuditRecord => ({
  ...decisionRecord(id),
  controls: [],
  findings: [],
  tools: [],
});

const isCode = (code: string) => (error: unknown) =>
  error instanceof LimenError && error.code === code;

describe("recovery", () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(async () => place.remove());

  const segmentPath = (): string => {
    const [name, ...more] = readdirSync(join(place.dir, "wal"));
    assert.deepEqual(more, []);
    return join(place.dir, "wal", name!);
  };

  it("loses no acknowledged record, at whatever byte the last batch is cut", function () {
    this.timeout(60_000);
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
      truncateSync(segmentPath(), cut);
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
  });

  it("refuses a log that is shorter than what was signed, at every byte", function () {
    this.timeout(60_000);
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    const first = writer.segmentEnd;
    commit(writer, 1, [beat]);
    const end = writer.segmentEnd;
    writer.publish();
    writer.close();
    const whole = readFileSync(segmentPath());
    for (let cut = first; cut < end; cut++) {
      writeFileSync(segmentPath(), whole.subarray(0, cut));
      assert.throws(() => open(place), isCode("log_corrupt"), `cut at ${cut}`);
      assert.equal(readFileSync(segmentPath()).length, cut, "nothing is changed");
    }
  });

  it("refuses damage that has a whole batch after it, and says how to mend it", () => {
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    const middle = writer.segmentEnd;
    commit(writer, 1, [beat]);
    commit(writer, 2, [beat]);
    writer.close();
    const bytes = readFileSync(segmentPath());
    bytes[middle + 200]! ^= 4;
    writeFileSync(segmentPath(), bytes);
    assert.throws(
      () => open(place),
      (error) => {
        assert.ok(error instanceof LimenError && error.code === "log_corrupt");
        assert.match(error.problems[0]!.fix, /limen audit verify/);
        return true;
      },
    );
  });

  it("refuses a segment whose first entries were exchanged together with all its hashes", () => {
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    commit(writer, 1, [beat]);
    writer.publish();
    writer.close();
    const other = new Place(); // the same sizes, another content: every frame is valid
    const forged = new Writer(unsynced, { dir: other.dir, origin: ORIGIN, keyFile: other.keyFile });
    commit(forged, 0, [genesis(other)]);
    commit(forged, 1, [beat]);
    forged.close();
    const [name] = readdirSync(join(other.dir, "wal"));
    cpSync(join(other.dir, "wal", name!), segmentPath());
    rmSync(other.root, { recursive: true });
    assert.throws(() => open(place), isCode("log_corrupt"));
  });

  it("refuses a checkpoint state of another key, and a log whose segments are gone", () => {
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    writer.publish();
    writer.close();
    const signed = join(place.dir, "state/last-signed");
    const note = readFileSync(signed);
    writeFileSync(signed, note.toString().replace("\n1\n", "\n2\n"));
    assert.throws(() => open(place), isCode("log_corrupt"));
    writeFileSync(signed, note);
    rmSync(join(place.dir, "wal"), { recursive: true });
    assert.throws(() => open(place), isCode("log_corrupt"));
  });

  it("writes tiles again that a power loss left empty or took, and the checkpoint", () => {
    const writer = open(place);
    commit(writer, 0, [genesis(place), ...Array.from({ length: 299 }, () => beat)]);
    writer.publish();
    writer.close();
    const { root } = checkLog(place).checkpoint!;
    writeFileSync(join(place.dir, "tile/0/001.p/44"), "");
    writeFileSync(join(place.dir, "tile/entries/000"), "");
    rmSync(join(place.dir, "tile/1"), { recursive: true });
    rmSync(join(place.dir, "checkpoint"));
    open(place).close();
    assert.deepEqual(checkLog(place).checkpoint, { origin: ORIGIN, size: 300, root });
  });

  it("stops when a tile on disk is another one than the log leads to", () => {
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    mkdirSync(join(place.dir, "tile/0/000.p"), { recursive: true });
    writeFileSync(join(place.dir, "tile/0/000.p/1"), "planted");
    assert.throws(() => writer.publish(), isCode("log_corrupt"));
    writer.close();
  });

  it("owes a record of what was torn until that record is durable", () => {
    let writer = open(place);
    commit(writer, 0, [genesis(place)]);
    truncateSync(segmentPath(), writer.segmentEnd);
    writer.close();
    appendFileSync(segmentPath(), Buffer.from("half a batch"));
    for (let i = 0; i < 2; i++) {
      writer = open(place); // the second time nothing is torn any more, and the record still due
      assert.equal(writer.report.torn?.bytes, 12);
      writer.close();
    }
    writer = open(place);
    commit(writer, 1, [beat]);
    writer.close();
    writer = open(place);
    assert.equal(writer.report.torn, undefined);
    writer.close();
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
