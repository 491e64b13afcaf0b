/**
 * Runs every check, one after the other, whatever the earlier ones said, and adds them up. A skipped
 * test fails the run unless `--allow-skip` names its tier (`real`, `llm/json`): skipping is a decision.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import type { Summary } from "./reporter.ts";

/** Tests that want more of a machine than Limen does may skip; the last lines say what they want. */
const MAY_SKIP: ReadonlyMap<string, string> = new Map([
  ["envoy/watchdog", "unshare, to be the first process of a namespace"],
  ["istio/istiod", "Go 1.26 (go.dev/dl) with Istio compiled: LIMEN_ISTIO=1 takes 10 minutes"],
  ["faults/faults", "the right to mount a small disk"],
  ["process/audit-crash", "strace, Go, and the right to mount a small disk"],
  ["process/evidence", "strace, to see system calls"],
]);
/** With --full one step is every fault, in every profile, after all other tests. */
const STEP_LIMIT_MS = 60 * 60_000;

type Options = { readonly full: boolean; readonly allowSkip: readonly string[] };

function parse(args: readonly string[]): Options {
  const allowSkip: string[] = [];
  let full = false;
  for (let i = 0; i < args.length; i += 1) {
    const name = args[i + 1];
    if (args[i] === "--full") full = true;
    else if (args[i] === "--allow-skip" && name !== undefined) {
      allowSkip.push(name);
      i += 1;
    } else usage(`${args[i]} is not an option`);
  }
  for (const update of ["UPDATE_GOLDEN", "UPDATE_FAULTS"]) {
    if (process.env["CI"] && process.env[update]) usage(`${update} is not for CI`);
  }
  return { full, allowSkip };
}

function usage(problem: string): never {
  console.error(`scripts/test: ${problem}\nusage: scripts/test [--full] [--allow-skip NAME]...`);
  process.exit(2);
}

/** As npm does it: c8 finds mocha by its name. */
const PATH = [resolve("node_modules/.bin"), process.env["PATH"]].join(delimiter);

/** Runs a tool of node_modules; true when it ended well and in time. */
function tool(name: string, args: readonly string[], env: Record<string, string> = {}): boolean {
  const { status } = spawnSync(name, args, {
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, PATH, ...env },
    timeout: STEP_LIMIT_MS,
  });
  return status === 0;
}

/** Runs mocha, alone or under c8, and reads what the reporter left. */
function mocha(
  runner: readonly string[],
  specs: readonly string[],
  env: Record<string, string> = {},
): Summary {
  const dir = mkdtempSync(join(tmpdir(), "limen-test-"));
  const file = join(dir, "summary.json");
  const [command = "", ...before] = runner;
  const reporter = ["--reporter", "./scripts/reporter.ts", "--reporter-option", `summary=${file}`];
  const files = specs.flatMap((spec) => ["--spec", spec]);
  const ok = tool(command, [...before, ...files, ...reporter], env);
  try {
    const summary = JSON.parse(readFileSync(file, "utf8")) as Summary;
    // Green tests and a red exit code: coverage below its floor, or mocha ended by the limit.
    return !ok && summary.failed === 0 ? { ...summary, failed: 1 } : summary;
  } catch {
    console.error(`scripts/test: ${runner.join(" ")} ended without a summary`);
    return { passed: 0, failed: 1, skipped: [] };
  } finally {
    rmSync(dir, { recursive: true });
  }
}

function main(): number {
  const options = parse(process.argv.slice(2));
  let passed = 0;
  let failed = 0;
  const failures: string[] = [];
  const skipped: { tier: string; title: string }[] = [];
  const add = (name: string, summary: Summary): void => {
    passed += summary.passed;
    failed += summary.failed;
    if (summary.failed > 0) failures.push(name);
    skipped.push(...summary.skipped);
  };
  const check = (name: string, args: readonly string[]): void => {
    const ok = tool(name, args);
    add(name, { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: [] });
  };

  check("biome", ["check", "--error-on-warnings"]);
  check("tsc", []);
  check("knip", []);
  const faults = options.full ? { LIMEN_FAULTS: "full" } : {};
  const long = options.full ? { ...faults, LIMEN_ISTIO: "1", LIMEN_FUZZ_SECONDS: "600" } : {};
  add("tests", mocha(["c8", "mocha"], ["test/**/*.{test,slow}.ts"], long));
  // The oldest, or with --full all others: what clients see, and what becomes of it when something breaks.
  // One by one: mocha finds nothing for a pattern with a slash in its braces.
  const specs = options.full
    ? ["test/real/**/*.slow.ts", "test/istio/traffic.slow.ts", "test/faults/faults.slow.ts"]
    : ["test/real/boundary.slow.ts", "test/faults/faults.slow.ts"];
  for (const envoy of (process.env["LIMEN_ENVOYS"] ?? "").split(" ").filter(Boolean)) {
    // Without package.json, whose spec would run all fast tests once more.
    const runner = ["mocha", "--no-package", "--forbid-only", "--timeout", "10000"];
    add(`real traffic with ${envoy}`, mocha(runner, specs, { ...faults, LIMEN_ENVOY: envoy }));
  }

  const allowed = (tier: string): boolean =>
    [...MAY_SKIP.keys(), ...options.allowSkip].some(
      (name) => tier === name || tier.startsWith(`${name}/`),
    );
  for (const { tier, title } of skipped) {
    const why = MAY_SKIP.has(tier) ? ` (wants ${MAY_SKIP.get(tier)})` : "";
    console.log(`${allowed(tier) ? "skipped" : "SKIPPED, not allowed"}: ${tier}: ${title}${why}`);
    if (!allowed(tier)) failed += 1;
  }
  for (const name of failures) console.log(`failed: ${name}`);
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

process.exitCode = main();
