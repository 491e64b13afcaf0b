/**
 * What Limen adds to an exchange. One Envoy, one upstream, one client, and listeners with the shipped configuration:
 * without a filter, with the least possible filter (bench-passthrough.ts), with Limen by its rules alone, with its
 * learned detector in one thread, and with one that reads every window to the end; each with a strict audit log.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { FILES } from "../src/detect/model/manifest.ts";
import { PLACES } from "../src/detect/scorer.ts";
import { stopProcess } from "../test/real/process.ts";
import { startStack } from "../test/real/stack.ts";
import { measureDetector } from "./benchmark/detector.ts";
import { measureFilter, warmUp } from "./benchmark/filter.ts";
import { rssMiB } from "./benchmark/measure.ts";
import { measureOverload } from "./benchmark/overload.ts";
import { textMaker } from "./benchmark/texts.ts";

const WEIGHTS = fileURLToPath(new URL("../models/injection", import.meta.url));
const POLICY = fileURLToPath(new URL("./benchmark/policy.yaml", import.meta.url));

/** The shipped weights in `dir`, with bounds that no window is below. */
function neverEarly(dir: string): string {
  for (const name of FILES) symlinkSync(join(WEIGHTS, name), join(dir, name));
  const manifest: object = JSON.parse(readFileSync(join(WEIGHTS, "manifest.json"), "utf8"));
  const clear = Object.fromEntries(PLACES.map((place) => [place, 0]));
  writeFileSync(join(dir, "manifest.json"), JSON.stringify({ ...manifest, clear }));
  return dir;
}

/** The pass-through filter in a process of its own, as Limen is. */
async function startFloor(socket: string): Promise<ChildProcess> {
  const script = fileURLToPath(new URL("./bench-passthrough.ts", import.meta.url));
  const child = spawn(process.execPath, [script, `unix:${socket}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  assert.ok(child.stdout);
  await once(child.stdout, "data"); // "ready"
  return child;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "7" },
      json: { type: "string", default: ".cache/bench.json" },
    },
  });
  const rounds = Number(values.rounds);
  assert.ok(Number.isInteger(rounds) && rounds >= 1, "--rounds takes a number of at least 1");
  const dir = mkdtempSync(join(tmpdir(), "limen-bench-"));
  const floor = await startFloor(join(dir, "floor.sock"));
  const detection = (model: string): object => ({ config: { detection: { model, threads: 1 } } });
  const stack = await startStack({
    policy: POLICY,
    config: { detection: { model: "off" } },
    others: { learned: detection("default"), whole: detection(neverEarly(dir)) },
    listeners: { floor: { path: join(dir, "floor.sock") } },
  });
  try {
    const pids = { plain: stack.envoy.pid, floor: floor.pid ?? 0, limen: stack.limen.pid() };
    const bench = { stack, pids };
    await warmUp(bench);
    const before = rssMiB(pids.limen);
    const { loads, exchanges } = await measureFilter(bench, rounds);
    const rss = { exchanges, beforeMiB: before, afterMiB: rssMiB(pids.limen) };
    const floorMiB = rssMiB(pids.floor);
    console.log(
      `\nmemory of Limen: ${rss.beforeMiB.toFixed(0)} MiB, after ${exchanges} exchanges ${rss.afterMiB.toFixed(0)} MiB` +
        ` (pass-through ${floorMiB.toFixed(0)} MiB)`,
    );
    const make = textMaker(WEIGHTS);
    const detector = await measureDetector(stack, make, rounds);
    const overload = await measureOverload(stack, make);
    mkdirSync(dirname(values.json), { recursive: true });
    const machine = { cpus: cpus().length, node: process.version };
    const results = { machine, loads, rss: { ...rss, floorMiB }, detector, overload };
    writeFileSync(values.json, `${JSON.stringify(results, null, 2)}\n`);
    console.log(`\nall rounds: ${values.json}`);
  } finally {
    await stack.close();
    await stopProcess(floor);
    rmSync(dir, { recursive: true });
  }
}

await main();
