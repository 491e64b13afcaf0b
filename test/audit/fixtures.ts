/** What the tests of the audit log share: a clock, records as the exchange makes them, a log in a folder. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatKeyFile, generateLogKey, type LogKey } from "../../src/audit/checkpoint.ts";
import { createFile } from "../../src/audit/file.ts";
import type { AuditLog, AuditOptions } from "../../src/audit/log.ts";
import { openAuditLog } from "../../src/audit/open.ts";
import { type DecisionId, decisionId, ownLabel, ruleId } from "../../src/core/brand.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { DecisionRecord, OutcomeRecord } from "../../src/core/record.ts";

export const ORIGIN = "limen.example/test/7";
export const BUILD = ownLabel("0.0.0-test");

/** The real clock. */
export const testClock: Clock = {
  wallUs: () => BigInt(Date.now()) * 1000n,
  monotonicMs: () => performance.now(),
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  soon: (then) => void setImmediate(then),
  turn: () => Promise.resolve(),
  newDecisionId: () => newId(),
};

export function newId(): DecisionId {
  const hex = Date.now().toString(16).padStart(12, "0");
  const tail = randomBytes(10).toString("hex");
  return decisionId(
    `${hex.slice(0, 8)}-${hex.slice(8)}-7${tail.slice(0, 3)}-8${tail.slice(3, 6)}-${tail.slice(6, 18)}`,
  );
}

export const decisionRecord = (id: DecisionId): DecisionRecord => ({
  type: "request.decision",
  id,
  dialect: "openai-chat",
  source: { route: ownLabel("chat") },
  model: { requested: ownLabel("gpt-4o-mini") },
  policy: { digest: ownLabel(`sha256:${"ab".repeat(32)}`), names: [ownLabel("support")] },
  detector: { injection: ownLabel("cd".repeat(32)) },
  input: { bytes: 4096, segments: 3 },
  controls: [
    {
      layer: "ingress",
      verdict: "mutate",
      reason: "pii_detected",
      rule: ruleId("pii.email"),
      us: 210,
    },
    { layer: "action", verdict: "allow", us: 12 },
  ],
  findings: [{ rule: ruleId("pii.email"), kind: "pii", count: 2, disposition: "masked" }],
  tools: [
    { name: ownLabel("read_crm"), verdict: "allow", rule: ruleId("action.crm"), phase: "declared" },
  ],
  verdict: { decision: "mutate", action: "mutated", reason: "pii_detected" },
  coverage: { request: { state: "full" } },
  timing: { verdict_us: 480 },
});

export const outcomeRecord = (decision: DecisionId): OutcomeRecord => ({
  type: "response.outcome",
  id: newId(),
  refs: { decision },
  dialect: "openai-chat",
  model: { served: ownLabel("gpt-4o-mini") },
  controls: [{ layer: "egress", verdict: "allow", us: 95 }],
  findings: [],
  tools: [],
  verdict: { decision: "allow", action: "allowed", http_status: 200 },
  output: { bytes: 812, released_bytes: 812, streamed: true, aborted: false },
  coverage: { response: { state: "full" } },
  timing: { total_us: 812_000, audit_wait_us: 900 },
});

/** A folder that is gone after the test, with a key in it. */
export class Place {
  readonly root = mkdtempSync(join(tmpdir(), "limen-audit-"));
  dir = join(this.root, "log"); // a test may put the log on another file system before it opens it
  readonly keyFile = join(this.root, "audit.key");
  readonly key: LogKey = generateLogKey(ORIGIN);
  readonly #logs: AuditLog[] = [];

  constructor() {
    createFile(this.keyFile, formatKeyFile(this.key), 0o600);
  }

  options(more: Partial<AuditOptions> = {}): AuditOptions {
    const { dir, keyFile } = this;
    return { dir, origin: ORIGIN, keyFile, clock: testClock, build: BUILD, ...more };
  }

  async open(more: Partial<AuditOptions> = {}): Promise<AuditLog> {
    const log = await openAuditLog(this.options(more));
    this.#logs.push(log);
    return log;
  }

  /** Closes what a failed test left open: its thread would keep the process. */
  async remove(): Promise<void> {
    for (const log of this.#logs) await log.close();
    rmSync(this.root, { recursive: true, force: true });
  }
}
