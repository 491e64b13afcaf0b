import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import canonicalize from "canonicalize";
import { signCheckpoint } from "../../src/audit/checkpoint.ts";
import { Edge, leafHash } from "../../src/audit/merkle.ts";
import { decodeBundle, encodeBundle, encodeTile, tilePath } from "../../src/audit/tiles.ts";
import { statedKey, verifyLog } from "../../src/audit/verify.ts";
import type { AuditRecord } from "../../src/core/record.ts";
import { checkLog } from "./check-log.ts";
import { decisionRecord, newId, outcomeRecord, Place } from "./fixtures.ts";
import { beat, commit, genesis, open, segmentPathOf } from "./writer-fixture.ts";

/** Files below a folder, relative to it. */
const filesIn = (dir: string): string[] =>
  readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(join(dir, name)).isFile())
    .sort();

/** Writes `entries` as a log from nothing, with tiles and a checkpoint: what the owner of the key can do. */
function forge(place: Place, entries: readonly Uint8Array[]): void {
  const edge = new Edge();
  const files: [string, Uint8Array][] = [];
  for (const entry of entries) {
    for (const { level, index, hashes } of edge.append(leafHash(entry))) {
      files.push([tilePath(level, index, 256), encodeTile(hashes)]);
    }
  }
  for (const [level, hashes] of edge.levels.entries()) {
    const index = Math.floor(edge.size / 256 ** (level + 1));
    if (hashes.length > 0) files.push([tilePath(level, index, hashes.length), encodeTile(hashes)]);
  }
  for (let at = 0; at < entries.length; at += 256) {
    const bundle = entries.slice(at, at + 256);
    files.push([tilePath("entries", at / 256, bundle.length), encodeBundle(bundle)]);
  }
  const note = signCheckpoint({ size: edge.size, root: edge.root() }, place.key);
  for (const [path, bytes] of files) writeFileSync(join(place.dir, path), bytes);
  writeFileSync(join(place.dir, "checkpoint"), note);
  rmSync(join(place.dir, "wal"), { recursive: true });
  rmSync(join(place.dir, "state"), { recursive: true });
}

describe("verification of a log", () => {
  const place = new Place();
  const pristine = join(place.root, "pristine");
  let early: Uint8Array; // a checkpoint saved when the log was small
  const verify = (from?: Uint8Array) =>
    verifyLog({ dir: place.dir, verifier: place.key.verifier, ...(from && { from }) });
  const entriesOf = (index: number, width: number) =>
    decodeBundle(readFileSync(join(place.dir, tilePath("entries", index, width))), width)!;

  before(async () => {
    let log = await place.open();
    const id = newId();
    await log.append([decisionRecord(id), outcomeRecord(id)]);
    await log.close();
    early = readFileSync(join(place.dir, "checkpoint"));
    log = await place.open();
    const beats = Array.from({ length: 255 }, (): AuditRecord => ({ type: "heartbeat" }));
    assert.equal(await log.append(beats), true);
    await log.close();
    cpSync(place.dir, pristine, { recursive: true });
  });
  beforeEach(() => {
    rmSync(place.dir, { recursive: true });
    cpSync(pristine, place.dir, { recursive: true });
  });
  after(async () => place.remove());

  it("accepts the log as it was written, alone and as the continuation of an older checkpoint", () => {
    assert.equal(checkLog(place).checkpoint?.size, 260);
    assert.deepEqual(verify(early).flaws, []);
  });

  it("finds a bit changed in any byte of any file, and never fails", function () {
    this.timeout(60_000);
    const used = filesIn(place.dir).filter(
      (name) =>
        name !== "lock" && (!name.includes(".p/") || /(001\.p\/4|1\/000\.p\/1)$/.test(name)),
    );
    assert.equal(used.length, 8); // two tiles, two bundles, one of level 1, checkpoint, its copy, log
    let sweeps = 0;
    for (const name of used) {
      const path = join(place.dir, name);
      const bytes = readFileSync(path);
      // Room laid out in zeros is no part of the log; in large files a sample with a prime step.
      const end = name.startsWith("wal/")
        ? bytes.findLastIndex((byte) => byte !== 0) + 1
        : bytes.length;
      const step = end > 2_000 && process.env["LIMEN_SWEEP"] !== "full" ? 211 : 1;
      for (let at = 0; at < end; at += step) {
        const flipped = Buffer.from(bytes);
        flipped[at]! ^= 1 << (at % 8);
        writeFileSync(path, flipped);
        const { flawCount, unfinishedBytes } = verify();
        assert.ok(flawCount > 0 || unfinishedBytes > 0, `${name} byte ${at}`);
        sweeps += 1;
      }
      writeFileSync(path, bytes);
    }
    assert.ok(sweeps > 1_500);
    checkLog(place);
  });

  it("names the entry whose bytes changed", () => {
    const path = join(place.dir, "tile/entries/000");
    const entries = [...decodeBundle(readFileSync(path), 256)!];
    const changed = Buffer.from(entries[41]!);
    changed[changed.length - 3]! ^= 1;
    entries[41] = changed;
    writeFileSync(path, encodeBundle(entries));
    const { flaws } = verify();
    assert.ok(flaws.some(({ from, to }) => from === 41 && to === 42));
    assert.ok(flaws.every(({ from }) => from === 41 || from === 0));
  });

  const missing = ["tile/0/000", "tile/entries/000", "tile/entries/001.p/4", "tile/0/001.p/4"];
  for (const name of [...missing, "tile/1/000.p/1"]) {
    it(`names the range of ${name} when it is missing`, () => {
      rmSync(join(place.dir, name));
      const { flaws } = verify();
      const { from, to } = flaws[0]!;
      assert.deepEqual([from, to], name.includes("001.p") ? [256, 260] : [0, 256]);
    });
  }

  it("reads the full tile where a partial one was deleted meanwhile", () => {
    const before = verify().checkpoint!.size;
    assert.equal(before, 260);
    for (const name of ["tile/0/001", "tile/entries/001"]) {
      const partial = readFileSync(join(place.dir, `${name}.p/4`));
      const rest = name.includes("entries")
        ? encodeBundle(Array.from({ length: 252 }, () => Buffer.from("later")))
        : Buffer.alloc(252 * 32, 9);
      writeFileSync(join(place.dir, name), Buffer.concat([partial, rest]));
      rmSync(join(place.dir, `${name}.p`), { recursive: true });
    }
    checkLog(place);
  });

  it("cannot see a log rewritten with its own key, and sees it with an older checkpoint", () => {
    const entries = [...entriesOf(0, 256), ...entriesOf(1, 4)];
    const verdict = Buffer.from(entries[1]!).toString().replace('"mutated"', '"allowed"');
    assert.notEqual(verdict, Buffer.from(entries[1]!).toString());
    entries[1] = Buffer.from(verdict);
    forge(place, entries);
    assert.deepEqual(verify().flaws, []); // this is why checkpoints are kept elsewhere
    const { flaws } = verify(early);
    assert.deepEqual(flaws.length, 1);
    assert.match(flaws[0]!.what, /older checkpoint/);
  });

  it("sees a log that is shorter than an older checkpoint", () => {
    const later = readFileSync(join(place.dir, "checkpoint"));
    forge(place, entriesOf(0, 256).slice(0, 4));
    assert.deepEqual(verify().flaws, []);
    assert.match(verify(later).flaws[0]!.what, /the log was longer than it is/);
  });

  it("accepts no older checkpoint that this key has not signed", async () => {
    const other = new Place();
    const note = signCheckpoint({ size: 1, root: leafHash(Buffer.from("x")) }, other.key);
    await other.remove();
    assert.match(verify(Buffer.from(note)).flaws[0]!.what, /not signed by this key/);
  });

  const edit = (index: number, change: (record: Record<string, unknown>) => void): void => {
    const entries = [...entriesOf(0, 256).slice(0, 4)];
    const record = JSON.parse(Buffer.from(entries[index]!).toString());
    change(record);
    entries[index] = Buffer.from(canonicalize(record)!);
    forge(place, entries);
  };
  const rules = [
    { index: 2, key: "wseq", value: 3, what: /sequence number/ },
    { index: 2, key: "origin", value: "limen.example/other", what: /another origin/ },
    { index: 2, key: "v", value: "limen.audit/v0", what: /no record of this version/ },
    { index: 0, key: "type", value: "heartbeat", what: /not a genesis/ },
    { index: 2, key: "type", value: "genesis", what: /second genesis/ },
    { index: 2, key: "refs", value: { decision: "none" }, what: /without a decision before it/ },
    { index: 2, key: "refs", value: {}, what: /names no decision/ },
  ];
  for (const { index, key, value, what } of rules) {
    it(`holds a validly signed log to its rules: ${what.source}`, () => {
      edit(index, (record) => {
        record[key] = value;
      });
      const { flaws } = verify();
      assert.deepEqual([flaws.length, flaws[0]?.from, flaws[0]?.to], [1, index, index + 1]);
      assert.match(flaws[0]!.what, what);
    });
  }

  for (const [index, what] of [
    [1, /second decision/],
    [2, /second outcome/],
  ] as const) {
    it(`holds a validly signed log to its rules: ${what.source}`, () => {
      const entries = entriesOf(0, 256).slice(0, 4);
      const again = JSON.parse(Buffer.from(entries[index]!).toString());
      entries.splice(3, 1, Buffer.from(canonicalize({ ...again, wseq: 3 })!));
      forge(place, entries);
      const { flaws } = verify();
      assert.deepEqual([flaws.length, flaws[0]?.from], [1, 3]);
      assert.match(flaws[0]!.what, what);
    });
  }

  it("lists what is durable and under no checkpoint, while the log is being written", async () => {
    const log = await place.open({ limits: { integrateMs: 3_600_000 } });
    const id = newId();
    assert.equal(await log.append([decisionRecord(id)]), true);
    const { checkpoint, unpublished, flaws } = verify();
    assert.deepEqual([checkpoint?.size, unpublished, flaws], [260, [{ index: 260, id }], []]);
    await log.close();
    assert.equal(checkLog(place).checkpoint?.size, 262);
  });

  it("sees a write-ahead log that says something else than the tree", () => {
    const other = new Place();
    const records = Array.from({ length: 259 }, () => beat);
    const writer = open(other);
    commit(writer, 0, [genesis(other), ...records]);
    writer.close();
    cpSync(segmentPathOf(other), segmentPathOf(place));
    rmSync(other.root, { recursive: true });
    const { flaws } = verify();
    assert.deepEqual(flaws, [{ from: 0, to: 260, what: "differs from the write-ahead log" }]);
  });

  it("finds the key that the log states for itself", () => {
    assert.deepEqual(statedKey(place.dir)?.id, place.key.verifier.id);
    assert.equal(statedKey(place.root), undefined);
  });

  it("says so when there is no log", () => {
    const report = verifyLog({ dir: place.root, verifier: place.key.verifier });
    assert.deepEqual(report.flaws, [{ from: 0, to: 0, what: "checkpoint is missing" }]);
  });
});
