/** What a log says after a fault: every exchange once, with one decision and one outcome, and metrics that agree. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readCheckpoint } from "../../src/audit/checkpoint.ts";
import { decodeBundle, tilePath } from "../../src/audit/tiles.ts";
import { LIMEN, type Limen } from "../real/limen.ts";
import { until } from "../real/process.ts";

const SETTLED_LIMIT_MS = 15_000;
const BUNDLE = 256;

type Entry = {
  readonly type: string;
  readonly id?: string;
  readonly refs?: { readonly decision: string };
  readonly model?: { readonly requested?: string };
  readonly verdict?: { readonly decision: string; readonly action: string };
  readonly output?: { readonly aborted: boolean };
};

/** One exchange of the log. */
export type Recorded = {
  readonly id: string;
  /** The requested model, if it was read. */
  readonly model: string;
  /** Whether the request was allowed to go on to the model. */
  readonly passed: boolean;
  /** The decision, and what became of it. */
  readonly words: string;
};

/** Returns when nothing is open and every record is under a checkpoint. */
export const untilSettled = (limen: Limen): Promise<true> =>
  until(SETTLED_LIMIT_MS, "all exchanges to be closed, recorded and signed", async () => {
    const { audit, exchanges_open } = JSON.parse(await limen.admin("/status")) as {
      audit: { size: number; checkpoint: number };
      exchanges_open: number;
    };
    return (exchanges_open === 0 && audit.size === audit.checkpoint) || undefined;
  });

/** Everything under the checkpoint of a log that is not written right now. */
function entriesOf(auditDir: string): readonly Entry[] {
  const size = readCheckpoint(readFileSync(join(auditDir, "checkpoint")))?.size;
  assert.ok(size !== undefined, "the log has a checkpoint");
  const entries: Entry[] = [];
  for (let first = 0; first < size; first += BUNDLE) {
    const width = Math.min(BUNDLE, size - first);
    const bundle = readFileSync(join(auditDir, tilePath("entries", first / BUNDLE, width)));
    for (const bytes of decodeBundle(bundle, width) ?? assert.fail("a broken bundle"))
      entries.push(JSON.parse(Buffer.from(bytes).toString()) as Entry);
  }
  return entries;
}

/** Asserts that every exchange has exactly one decision and one outcome; returns them. */
export function exchangesOf(auditDir: string): readonly Recorded[] {
  const entries = entriesOf(auditDir);
  const outcomes = new Map<string, Entry>();
  for (const entry of entries) {
    const decision = entry.refs?.decision;
    if (decision === undefined) continue;
    assert.ok(!outcomes.has(decision), "two outcomes of one exchange");
    outcomes.set(decision, entry);
  }
  const found = new Map<string, Recorded>();
  for (const { type, id = "", model, verdict } of entries) {
    if (type !== "request.decision") continue;
    assert.ok(!found.has(id), "two decisions of one exchange");
    const outcome = outcomes.get(id);
    assert.ok(outcome !== undefined, "a decision without an outcome");
    const decision = verdict?.decision ?? "";
    const aborted = outcome.output?.aborted ? ", broken off" : "";
    found.set(id, {
      id,
      model: model?.requested ?? "",
      passed: verdict?.action === "allowed" || verdict?.action === "mutated",
      words: `${decision}, then ${outcome.verdict?.action}${aborted}`,
    });
  }
  assert.equal(outcomes.size, found.size, "an outcome without a decision");
  return [...found.values()];
}

/** Outcomes since the process's last start: what its metrics count. */
function outcomesOfThisLife(auditDir: string): number {
  const entries = entriesOf(auditDir);
  const start = entries.findLastIndex(({ type }) =>
    ["genesis", "recovery", "close"].includes(type),
  );
  return entries
    .slice(start)
    .filter((one) => one.type === "response.outcome" && one.verdict?.action !== "unknown_crash")
    .length;
}

/** Asserts that the metrics of a settled process say what its log says. */
export async function checkMetrics(limen: Limen): Promise<void> {
  const metrics = await limen.admin("/metrics");
  const sum = [...metrics.matchAll(/^limen_requests_total\{.*\} (\d+)$/gm)].reduce(
    (total, [, value]) => total + Number(value),
    0,
  );
  assert.equal(sum, outcomesOfThisLife(limen.auditDir), "limen_requests_total and the log differ");
  assert.match(metrics, /^limen_decisions_open 0$/m);
}

/** Asserts that `limen audit verify` accepts the log. */
export function verify({ auditKey, auditDir }: Pick<Limen, "auditKey" | "auditDir">): void {
  const args = ["audit", "verify", "--key", auditKey, auditDir];
  const { status, stdout, stderr } = spawnSync(LIMEN, args, { encoding: "utf8" });
  assert.equal(status, 0, stdout + stderr);
}
