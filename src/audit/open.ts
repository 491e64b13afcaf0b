/**
 * Opens an audit log: starts the writer thread, which recovers what is on disk, and writes the records
 * that a start owes: `genesis` to a new log, `recovery` and the missing outcomes to one that a crash left.
 */
import { Worker } from "node:worker_threads";
import { type DecisionId, decisionId, ownLabel } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { LimenError } from "../core/errors.ts";
import { DIALECTS } from "../core/inference.ts";
import type { AuditRecord, OutcomeRecord } from "../core/record.ts";
import { isOrigin } from "./checkpoint.ts";
import {
  Batch,
  CONTROL_WORDS,
  type Opened,
  type ThreadMessage,
  type ThreadStart,
} from "./handover.ts";
import { AUDIT_LIMITS, AuditLog, type AuditOptions, type Thread } from "./log.ts";
import type { OpenDecision } from "./wal.ts";

/** Records for one start are appended in parts of this size. */
const PART = 256;

/**
 * Opens the log in `options.dir`, or makes a new one there.
 * @throws LimenError `log_locked`, `log_corrupt`, `config_invalid`, `file_unreadable`, `audit_unavailable`
 */
export async function openAuditLog(options: AuditOptions): Promise<AuditLog> {
  if (!isOrigin(options.origin)) {
    throw new LimenError("config_invalid", {
      where: "audit.origin",
      what: "is not the name of a log",
      fix: "use a name without scheme, space, plus sign or slash at the end: example.com/limen/gw-0/1",
    });
  }
  const thread = await startThread(options);
  const log = new AuditLog(options, thread);
  const due = startRecords(options, thread.opened);
  for (let at = 0; at < due.length; at += PART) {
    if (await log.appendPatiently(due.slice(at, at + PART))) continue;
    await log.close();
    throw new LimenError("audit_unavailable", {
      where: options.dir,
      what: "the first records could not be written",
      fix: "free space or repair the disk, then start again",
    });
  }
  return log;
}

async function startThread(options: AuditOptions): Promise<Thread> {
  const limits = { ...AUDIT_LIMITS, ...options.limits };
  const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
  const half = Math.floor(limits.bytes / 2);
  const batches: readonly [Batch, Batch] = [new Batch(half), new Batch(half)];
  const { dir, origin, keyFile } = options;
  const workerData: ThreadStart = {
    options: { dir, origin, keyFile },
    integrateMs: limits.integrateMs,
    control,
    batches: [batches[0].shared, batches[1].shared],
  };
  const worker = new Worker(new URL("./writer-thread.ts", import.meta.url), { workerData });
  const opened = await new Promise<Opened>((resolve, reject) => {
    worker.once("error", () => {
      const what = "the writer thread could not start";
      const fix = "run Limen with Node 24.15 or newer and enough memory";
      reject(new LimenError("audit_unavailable", { where: dir, what, fix }));
    });
    worker.once("message", (message: ThreadMessage) => {
      if (typeof message === "number") return; // not before "opened"
      if (message.kind === "opened") resolve(message);
      if (message.kind === "refused") reject(new LimenError(message.code, message.problems));
    });
  });
  worker.removeAllListeners("error");
  return { worker, control, batches, opened };
}

function startRecords(options: AuditOptions, { report, vkey }: Opened): readonly AuditRecord[] {
  const { size, clean, torn, open } = report;
  const records: AuditRecord[] = [];
  if (size === 0) records.push({ type: "genesis", build: options.build, key: ownLabel(vkey) });
  if (clean && torn === undefined && open.length === 0) return records;
  const sha256 = ownLabel(torn?.sha256 ?? NOTHING);
  records.push({ type: "recovery", bytes: torn?.bytes ?? 0, sha256, dangling: open.length });
  for (const decision of open) records.push(crashOutcome(decision, options.clock));
  return records;
}
/** SHA-256 of no bytes. */
const NOTHING = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** The outcome of an exchange that a crash cut off: nobody knows what of it reached the client. */
function crashOutcome([id, dialect]: OpenDecision, clock: Clock): OutcomeRecord {
  const decision: DecisionId = decisionId(id);
  return {
    type: "response.outcome",
    id: clock.newDecisionId(),
    refs: { decision },
    dialect: DIALECTS.find((known) => known === dialect) ?? "none",
    model: { served: ownLabel("unknown") },
    controls: [],
    findings: [],
    tools: [],
    verdict: { decision: "error", action: "unknown_crash" },
    output: { bytes: 0, released_bytes: 0, streamed: false, aborted: true },
    coverage: { response: { state: "none", cause: "aborted" } },
    timing: { total_us: 0, audit_wait_us: 0 },
  };
}
