/**
 * The writer's thread. It sleeps until the next batch or until a checkpoint is due, and has no event
 * loop of its own: a wake-up costs 8 us of CPU there and back (measured), and commit latency does not
 * depend on what else the process does.
 */
import {
  type MessagePort,
  parentPort,
  receiveMessageOnPort,
  workerData,
} from "node:worker_threads";
import { LimenError, type Problem } from "../core/errors.ts";
import { failureOf, nodeOps, syscallOf } from "./file.ts";
import {
  COMMAND,
  COMMANDS,
  COUNT,
  SEQUENCE,
  type ThreadMessage,
  type ThreadStart,
} from "./handover.ts";
import { Writer } from "./writer.ts";

/** Entries without a checkpoint that make one due: when the thread is idle, and when it is not. */
const EAGER = 256;
const FORCED = 2048;

if (parentPort === null) throw new Error("this module is a worker's");
const port: MessagePort = parentPort;
const post = (message: ThreadMessage): void => port.postMessage(message);
const start: ThreadStart = workerData;
const writer = open();
if (writer !== undefined) run(writer);

function open(): Writer | undefined {
  try {
    const writer = new Writer(nodeOps, start.options);
    const { report, published, segmentEnd } = writer;
    post({ kind: "opened", report, vkey: writer.key.vkey, published, segmentEnd });
    return writer;
  } catch (error) {
    const { code, problems } =
      error instanceof LimenError
        ? error
        : new LimenError("audit_unavailable", problemOf(start.options.dir, error));
    post({ kind: "refused", code, problems });
    return undefined;
  }
}

function run(writer: Writer): void {
  try {
    work(writer);
    writer.close();
  } catch (error) {
    // The lock goes with the thread; nothing more is written: see `Segment.append`.
    const isSync = syscallOf(error) === "fdatasync" || syscallOf(error) === "fsync";
    post({ kind: "failed", isSync, problem: problemOf(start.options.dir, error) });
  }
}

/** Returns after a `close` command, with everything published. */
function work(writer: Writer): void {
  const { control, integrateMs } = start;
  const buffers = start.batches.map((shared) => Buffer.from(shared));
  let seen = 0;
  let dueMs = Number.POSITIVE_INFINITY;
  for (;;) {
    Atomics.wait(control, SEQUENCE, seen, Math.max(0, dueMs - performance.now()));
    const sequence = Atomics.load(control, SEQUENCE);
    if (sequence !== seen) {
      seen = sequence;
      const [count, command] = [Atomics.load(control, COUNT), Atomics.load(control, COMMAND)];
      if (command === COMMANDS.rotate) writer.rotate(receiveMessageOnPort(port)?.message ?? []);
      const buffer = buffers[sequence & 1];
      if (count > 0 && buffer !== undefined) {
        const sealed = writer.commit(buffer, count);
        post(sequence); // durable: acknowledged from here on
        writer.integrate(sealed);
        dueMs = Math.min(dueMs, performance.now() + integrateMs);
      }
      if (command === COMMANDS.close) break;
    }
    const isBusy = Atomics.load(control, SEQUENCE) !== seen;
    if (performance.now() < dueMs && writer.unpublished < (isBusy ? FORCED : EAGER)) continue;
    writer.publish();
    dueMs = Number.POSITIVE_INFINITY;
    post({ kind: "published", size: writer.published });
  }
  writer.publish();
  post({ kind: "published", size: writer.published });
}

function problemOf(dir: string, error: unknown): Problem {
  if (error instanceof LimenError && error.problems[0] !== undefined) return error.problems[0];
  return {
    where: dir,
    what: `cannot be written (${syscallOf(error)} ${failureOf(error)})`,
    fix: "free space, repair the disk, or let this user write there; then start again, the log recovers by itself",
  };
}
