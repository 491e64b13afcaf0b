/**
 * Whether the service makes of a text what Python made of it with the same files: pieces, windows, scores.
 *
 *   node scripts/train/parity.ts WEIGHTS CASES      CASES is what parity.py wrote, for weights that clear nothing
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { systemClock } from "../../src/cli/clock.ts";
import { openModel } from "../../src/detect/model/model.ts";
import type { ScoreJob } from "../../src/detect/scorer.ts";

/** Of 10,000. int8 sums are exact; what differs is the order of float additions, and rounding. */
const TOLERANCE = 3;

type Case = ScoreJob & { readonly scores: readonly [number, number] };

const [weights, path] = process.argv.slice(2);
assert.ok(weights !== undefined && path !== undefined, "parity.ts WEIGHTS CASES");
const cases = readFileSync(path, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as Case);
const clock = systemClock();
const scorer = await openModel(weights, { threads: 1, clock });
const read = await scorer.score(cases, { scope: "parity", until: clock.monotonicMs() + 300_000 });
await scorer.close();
assert.ok(read.ok);
const off = cases.map(({ scores: [direct, embedded] }, index) => {
  const score = read.value[index];
  assert.ok(score?.complete);
  return Math.max(Math.abs(score.direct.score - direct), Math.abs(score.embedded.score - embedded));
});
const worst = Math.max(...off);
const differing = off.filter((by) => by > TOLERANCE).length;
console.log(
  `${cases.length} texts: ${differing} differ by more than ${TOLERANCE} of 10,000, at most by ${worst}`,
);
process.exitCode = differing === 0 ? 0 : 1;
