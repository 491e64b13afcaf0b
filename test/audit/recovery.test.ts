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
import type { FileOps } from "../../src/audit/file.ts";
import { Writer } from "../../src/audit/writer.ts";
import { LimenError } from "../../src/core/errors.ts";
import { checkLog } from "./check-log.ts";
import { ORIGIN, Place } from "./fixtures.ts";
import { beat, commit, genesis, open, segmentPathOf, unsynced } from "./writer-fixture.ts";

const isCode = (code: string) => (error: unknown) =>
  error instanceof LimenError && error.code === code;

describe("recovery", () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(async () => place.remove());

  const segmentPath = (): string => segmentPathOf(place);

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

  it("writes and syncs again what a crash may have left unsynced, before it signs anything", () => {
    const writer = open(place);
    commit(writer, 0, [genesis(place)]);
    const end = writer.segmentEnd;
    writer.close();
    const paths = new Map<number, string>();
    const steps: string[] = [];
    const ops: FileOps = {
      ...unsynced,
      open(path, flags) {
        const fd = unsynced.open(path, flags);
        paths.set(fd, path);
        return fd;
      },
      write(fd, bytes, position) {
        if (paths.get(fd)?.endsWith(".wal")) steps.push(`write ${position} to ${bytes.length}`);
        return unsynced.write(fd, bytes, position);
      },
      fdatasync: (fd) => void (paths.get(fd)?.endsWith(".wal") && steps.push("sync")),
      rename(from, to) {
        unsynced.rename(from, to);
        if (to.endsWith("last-signed")) steps.push("signed");
      },
    };
    open(place, ops).close();
    assert.deepEqual(steps, [`write 0 to ${end}`, "sync", "signed"]);
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
