import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { readLeaf } from "../../src/audit/leaf.ts";
import { decodeBundle, tilePath } from "../../src/audit/tiles.ts";
import { checkLog } from "../audit/check-log.ts";
import { Place } from "../audit/fixtures.ts";

const WRITER = fileURLToPath(new URL("./audit-writer.ts", import.meta.url));
const INDEPENDENT = fileURLToPath(new URL("../../scripts/verify-independent", import.meta.url));
const hasStrace = spawnSync("strace", ["-V"]).status === 0;
const hasGo = spawnSync("go", ["version"]).status === 0;
/** Rounds of `kill -9`; more by hand: LIMEN_CRASH_ROUNDS=200. */
const ROUNDS = Number(process.env["LIMEN_CRASH_ROUNDS"] ?? 6);

/** Ids of all decisions under the checkpoint. */
function decisionsOf(place: Place, size: number): ReadonlySet<string> {
  const ids = new Set<string>();
  for (let first = 0; first < size; first += 256) {
    const width = Math.min(256, size - first);
    const bytes = readFileSync(join(place.dir, tilePath("entries", first / 256, width)));
    for (const entry of decodeBundle(bytes, width)!) {
      const head = readLeaf(entry)!;
      if (head.type === "request.decision") ids.add(head.id!);
    }
  }
  return ids;
}

/** Starts again over what is on disk, and asserts that every acknowledged decision is in the log. */
async function recoverAndCheck(place: Place, acknowledged: readonly string[]): Promise<void> {
  const log = await place.open();
  await log.close();
  const report = checkLog(place);
  assert.equal(report.openCount, 0);
  assert.deepEqual([report.unpublished, report.unfinishedBytes], [[], 0]);
  const ids = decisionsOf(place, report.checkpoint!.size);
  for (const id of acknowledged) assert.ok(ids.has(id), "an acknowledged decision is lost");
}

const idsIn = (lines: readonly string[]): string[] =>
  lines.filter((line) => line.startsWith("ack ")).map((line) => line.slice(4));

/** Runs the writer to its end, under a tracer when one is named; returns what it printed. */
function runWriter(
  place: Place,
  counts: readonly [number, number],
  tracer: readonly string[] = [],
) {
  const counted = counts.map(String);
  const [command = "", ...args] = [
    ...tracer,
    process.execPath,
    WRITER,
    place.dir,
    place.keyFile,
    ...counted,
  ];
  const { stdout } = spawnSync(command, args, { encoding: "utf8", timeout: 60_000 });
  return stdout.split("\n").filter((line) => line !== "");
}

describe("the audit log of a process", function () {
  this.timeout(120_000);
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(async () => place.remove());

  it(`keeps every acknowledged record through ${ROUNDS} rounds of kill -9`, async function () {
    this.timeout(60_000 + ROUNDS * 5_000);
    const all: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const args = [WRITER, place.dir, place.keyFile, "8", "1000000"];
      const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
      const ended = once(child, "close");
      let lines = 0;
      const killAt = 20 + Math.floor(Math.random() * 1500);
      for await (const line of createInterface({ input: child.stdout })) {
        if (line.startsWith("ack ") && line.length === 40) all.push(line.slice(4));
        lines += 1;
        if (lines === killAt) child.kill("SIGKILL");
      }
      await ended;
      if (round % 2 === 0) await recoverAndCheck(place, all);
    }
    await recoverAndCheck(place, all);
    assert.ok(all.length >= ROUNDS * 15);
  });

  it("acknowledges nothing before its bytes are written and synced", function () {
    if (!hasStrace) {
      console.error(
        "SKIPPED: strace is missing, the order of write, fdatasync and answer is not checked",
      );
      this.skip();
    }
    const trace = join(place.root, "trace");
    const calls = "trace=pwrite64,write,fdatasync";
    const lines = runWriter(
      place,
      [1, 20],
      ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o", trace],
    );
    assert.equal(idsIn(lines).length, 20);
    // What has happened to the log since the last answer.
    let [written, synced, answers] = [false, false, 0];
    const unfinished = new Map<string, boolean>(); // thread to whether its call is about the log
    for (const line of readFileSync(trace, "utf8").split("\n")) {
      const [, thread = "", call = ""] = /^(\d+) +(.*)$/.exec(line) ?? [];
      const isLog = call.includes(".wal>") || (call.includes("resumed>") && unfinished.get(thread));
      unfinished.set(thread, call.includes("<unfinished") && call.includes(".wal>"));
      if (isLog && /pwrite64.*= [1-9]\d*$/.test(call)) [written, synced] = [true, false];
      if (isLog && /fdatasync.*= 0$/.test(call)) synced = written;
      if (!/^write\(1<.*"ack /.test(call)) continue;
      assert.ok(written && synced, "answered before the record was on disk");
      [written, synced] = [false, false];
      answers += 1;
    }
    assert.equal(answers, 20);
  });

  const faults = [
    ...[3, 9, 17].map((when) => `fdatasync:error=EIO:when=${when}+`),
    ...[4, 12, 30].map((when) => `pwrite64:error=ENOSPC:when=${when}+`),
    ...[5, 20].map((when) => `rename:error=EIO:when=${when}+`),
    "fsync:error=EIO:when=3+",
    // Only once: the next sync would succeed, and must not be asked.
    "fdatasync:error=EIO:when=8",
  ];
  for (const fault of faults) {
    it(`refuses everything after ${fault}, and starts again with all that was acknowledged`, async function () {
      if (!hasStrace) {
        console.error("SKIPPED: strace is missing, failing system calls are not injected");
        this.skip();
      }
      const tracer = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", `inject=${fault}`];
      const lines = runWriter(place, [4, 400], tracer);
      const at = lines.indexOf("unwritable");
      if (lines[0] === "open") {
        assert.ok(at > 0, "the failure was noticed");
        assert.ok(lines.slice(at + 1).filter((line) => line === "no").length > 10);
        assert.equal(idsIn(lines.slice(at + 1)).length, 0);
      }
      await recoverAndCheck(place, idsIn(lines));
    });
  }

  it("stops answering yes on a full disk, and goes on with all of it when there is room", async function () {
    const small = join(place.root, "small");
    mkdirSync(small);
    if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "limen-test", small]).status !== 0) {
      console.error("SKIPPED: cannot mount a small tmpfs; a full disk is only injected");
      this.skip();
    }
    try {
      place.dir = join(small, "log");
      const lines = runWriter(place, [8, 20_000]);
      const at = lines.indexOf("unwritable");
      assert.ok(at > 0 && idsIn(lines).length > 100);
      assert.equal(idsIn(lines.slice(at + 1)).length, 0);
      assert.ok(statfsSync(small).bavail < 300);
      assert.equal(spawnSync("mount", ["-o", "remount,size=64m", small]).status, 0);
      await recoverAndCheck(place, idsIn(lines));
    } finally {
      spawnSync("umount", ["-l", small]);
    }
  });

  it("is verified by Go's transparency log library, which also finds a changed bit", function () {
    if (!hasGo) {
      console.error("SKIPPED: go is missing, the independent verifier does not run");
      this.skip();
    }
    const lines = runWriter(place, [16, 600]);
    assert.equal(lines.at(-1), "closed");
    const verify = () => spawnSync(INDEPENDENT, [place.dir, place.key.vkey], { encoding: "utf8" });
    const { size } = checkLog(place).checkpoint!;
    assert.equal(verify().stdout, `verified ${size} entries\n`);
    const tile = join(place.dir, "tile/0/000");
    assert.ok(existsSync(tile));
    const flip = `const fs=require("fs");const b=fs.readFileSync(process.argv[1]);b[77]^=1;fs.writeFileSync(process.argv[1],b)`;
    spawnSync(process.execPath, ["-e", flip, tile]);
    assert.equal(verify().status, 1);
  });
});
