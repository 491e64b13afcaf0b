/** The benchmark runs and measures all it names; what it measures is for people to judge. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { envoyBinary } from "./envoy.ts";

const BENCH = fileURLToPath(new URL("../../scripts/bench", import.meta.url));

describe("scripts/bench", function () {
  this.timeout(240_000);
  let dir: string;
  before(function () {
    if (envoyBinary() === undefined) this.skip();
    dir = mkdtempSync(join(tmpdir(), "limen-bench-"));
  });
  after(() => {
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });

  it("compares no filter, a filter that agrees and Limen with and without its detector in one run", () => {
    const json = join(dir, "bench.json");
    const { status, stderr } = spawnSync(BENCH, ["--rounds", "1", "--json", json], {
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
    const { loads, detector, overload } = JSON.parse(readFileSync(json, "utf8")) as {
      loads: { p50Ms: Record<string, number>; cpuUsPerExchange: Record<string, number> }[];
      detector: { windowsPerExchange: number; endedEarly: number; p50Ms: { learned: number } }[];
      overload: { clients: Record<string, object>; reached: number; wholly: number };
    };
    assert.equal(loads.length, 3);
    for (const { p50Ms, cpuUsPerExchange } of loads) {
      assert.deepEqual(Object.keys(p50Ms), ["plain", "floor", "limen"]);
      for (const value of Object.values(p50Ms)) assert.ok(value > 0);
      assert.ok((cpuUsPerExchange["limen"] ?? 0) > 0);
    }
    // 256 pieces are two windows; what was read before costs none.
    assert.deepEqual(
      detector.map((one) => one.windowsPerExchange),
      [2, 2, 2, 2],
    );
    assert.equal(detector[2]?.endedEarly, 0);
    for (const { p50Ms } of detector) assert.ok(p50Ms.learned > 0);
    assert.deepEqual(
      Object.keys(overload.clients).filter((word) => word !== "200"),
      ["503 detector_timeout"],
    );
    assert.ok(overload.reached > 0 && overload.reached <= overload.wholly);
  });
});
