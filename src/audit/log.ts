/**
 * The audit log as the service sees it: records in, `true` when they are durable. Two batches take turns:
 * while the writer thread makes one durable, the next fills; there is no timer in between. Fails closed:
 * no room, a deadline passed, a failed write or sync, all answer `false`, and after a failure of the disk
 * everything does, until the next start.
 */
import type { Worker } from "node:worker_threads";
import type { Label } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { Problem } from "../core/errors.ts";
import type { AuditRecord, Recorder } from "../core/record.ts";
import { epochOf } from "./checkpoint.ts";
import {
  type Batch,
  COMMAND,
  COMMANDS,
  COUNT,
  type Opened,
  SEQUENCE,
  type ThreadMessage,
  type Waiter,
} from "./handover.ts";
import { encodeLeaf, type LogIdentity } from "./leaf.ts";

export type AuditLimits = {
  /** Records that are queued and not yet durable. */
  readonly records: number;
  /** Bytes of those, with their frames; one half for each of the two batches. */
  readonly bytes: number;
  /** How long an append may wait. */
  readonly ageMs: number;
  /** How old a record may get before a checkpoint covers it. */
  readonly integrateMs: number;
  /** From when on a segment of the write-ahead log is closed. */
  readonly segmentBytes: number;
  /** A sign of life after this time without a record. */
  readonly heartbeatMs: number;
};

export const AUDIT_LIMITS: AuditLimits = {
  records: 4096,
  bytes: 32 << 20,
  ageMs: 250,
  integrateMs: 1000,
  segmentBytes: 64 << 20,
  heartbeatMs: 10_000,
};

export type AuditOptions = {
  readonly dir: string;
  readonly origin: string;
  readonly keyFile: string;
  readonly clock: Clock;
  readonly build: Label;
  readonly limits?: Partial<AuditLimits>;
  /** Called once when the log stops being writable. The process should end: only a start recovers. */
  readonly onState?: (state: "unwritable", problem: Problem) => void;
  /** Called for each batch: seconds from handing it to the writer until it was durable. */
  readonly onCommit?: (commit: { readonly seconds: number; readonly records: number }) => void;
};

export type AuditStats = {
  /** Records in the log that are durable. */
  readonly size: number;
  readonly checkpoint: { readonly size: number; readonly ageMs: number };
  readonly writable: boolean;
  readonly queue: { readonly records: number; readonly bytes: number };
  /** Appends answered `false`. */
  readonly refused: number;
  readonly fsyncErrors: number;
  readonly vkey: string;
  /** What this start found; `dangling` counts decisions whose outcome became `unknown_crash`. */
  readonly recovery: { readonly torn: number; readonly dangling: number; readonly clean: boolean };
};

/** A running writer thread, and the memory that it shares with this one. */
export type Thread = {
  readonly worker: Worker;
  readonly control: Int32Array;
  readonly batches: readonly [Batch, Batch];
  readonly opened: Opened;
};

export class AuditLog implements Recorder {
  readonly #clock: Clock;
  readonly #limits: AuditLimits;
  readonly #options: AuditOptions;
  readonly #identity: LogIdentity;
  readonly #opened: Opened;
  readonly #worker: Worker;
  readonly #control: Int32Array;
  readonly #batches: readonly [Batch, Batch];
  readonly #exited: Promise<void>;
  /** Decisions without outcome, as far as they are queued. */
  readonly #open: Map<string, string>;
  #state: "open" | "closing" | "unwritable" = "open";
  #sequence = 0; // of the batch that was handed over last
  #isBusy = false; // the writer has that batch
  #isScheduled = false; // the filling batch goes to it at the end of this turn
  #handedMs = 0;
  #next: number; // index of the next record
  #durable: number;
  #segmentEnd: number;
  #published: { size: number; atMs: number };
  #refused = 0;
  #fsyncErrors = 0;
  #hasRecords = false; // since the last heartbeat was due
  #cancelExpiry: (() => void) | undefined;
  #cancelHeartbeat: (() => void) | undefined;
  #whenIdle: (() => void) | undefined;
  #closed: Promise<void> | undefined;

  /** Use `openAuditLog`. */
  constructor(options: AuditOptions, thread: Thread) {
    const { opened } = thread;
    this.#options = options;
    this.#clock = options.clock;
    this.#limits = { ...AUDIT_LIMITS, ...options.limits };
    this.#opened = opened;
    this.#worker = thread.worker;
    this.#control = thread.control;
    this.#batches = thread.batches;
    this.#identity = {
      origin: options.origin,
      epoch: epochOf(options.origin),
      build: options.build,
    };
    this.#open = new Map(opened.report.open);
    this.#next = opened.report.size;
    this.#durable = opened.report.size;
    this.#segmentEnd = opened.segmentEnd;
    this.#published = { size: opened.published, atMs: this.#clock.monotonicMs() };
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.#worker.on("message", (message: ThreadMessage) => this.#hear(message));
    this.#worker.on("error", () => this.#fail(threadEnded(options.dir)));
    this.#worker.on("exit", () => {
      if (this.#state === "open") this.#fail(threadEnded(options.dir));
    });
    this.#heartbeat();
  }

  /**
   * Queues records for one commit. True: all are durable. False: the log did not take them, or not in
   * time; after a deadline they may still become durable later, so a refused exchange can have a record.
   */
  append(records: readonly AuditRecord[]): Promise<boolean> {
    if (this.#state !== "open") return this.#refuse();
    return this.#enqueue(records, this.#clock.monotonicMs() + this.#limits.ageMs);
  }

  stats(): AuditStats {
    const [a, b] = this.#batches;
    const { torn, open, clean } = this.#opened.report;
    return {
      size: this.#durable,
      checkpoint: {
        size: this.#published.size,
        ageMs: this.#clock.monotonicMs() - this.#published.atMs,
      },
      writable: this.#state === "open",
      queue: { records: a.count + b.count, bytes: a.bytes + b.bytes },
      refused: this.#refused,
      fsyncErrors: this.#fsyncErrors,
      vkey: this.#opened.vkey,
      recovery: { torn: torn?.bytes ?? 0, dangling: open.length, clean },
    };
  }

  /**
   * Takes no more records, waits for those queued, writes the close record and the last checkpoint, and
   * frees the lock. It waits for the disk without a limit of its own: the caller's drain has one.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** Like `append`, however long it takes: for the records of a start, which nobody waits for. */
  appendPatiently(records: readonly AuditRecord[]): Promise<boolean> {
    return this.#enqueue(records, Number.POSITIVE_INFINITY);
  }

  #refuse(): Promise<boolean> {
    this.#refused += 1;
    return Promise.resolve(false);
  }

  #enqueue(
    records: readonly AuditRecord[],
    deadlineMs: number,
    command: keyof typeof COMMANDS = "write",
  ): Promise<boolean> {
    const batch = this.#filling();
    const [a, b] = this.#batches;
    if (a.count + b.count + records.length > this.#limits.records) return this.#refuse();
    let entries: string[];
    try {
      entries = records.map((record, i) =>
        encodeLeaf(record, { wseq: this.#next + i, wallUs: this.#clock.wallUs() }, this.#identity),
      );
    } catch {
      return this.#refuse(); // our bug: a record that cannot be written stops its exchange
    }
    if (!batch.place(entries)) return this.#refuse();
    this.#next += records.length;
    this.#hasRecords = true;
    for (const record of records) this.#track(record);
    return new Promise((settle) => {
      batch.waiters.push({ deadlineMs, settle });
      if (command === "close") this.#handOver(command);
      else if (!this.#isBusy && !this.#isScheduled) this.#schedule();
      if (this.#cancelExpiry === undefined && deadlineMs !== Number.POSITIVE_INFINITY) {
        this.#cancelExpiry = this.#clock.after(this.#limits.ageMs, () => this.#expire());
      }
    });
  }

  /** Hands over when this turn of the event loop has brought all its records: one wake-up and one sync for them. */
  #schedule(): void {
    this.#isScheduled = true;
    this.#clock.soon(() => {
      this.#isScheduled = false;
      if (!this.#isBusy && this.#state !== "unwritable" && this.#filling().count > 0) {
        this.#handOver("write");
      }
    });
  }

  #track(record: AuditRecord): void {
    if (record.type === "request.decision") this.#open.set(record.id, record.dialect);
    if (record.type === "response.outcome") this.#open.delete(record.refs.decision);
  }

  #filling(): Batch {
    return this.#batches[(this.#sequence & 1) === 0 ? 1 : 0];
  }

  /** Gives the filling batch to the writer, which has none; from here on the other one fills. */
  #handOver(command: keyof typeof COMMANDS): void {
    const batch = this.#filling();
    this.#sequence = (this.#sequence + 1) | 0;
    this.#isBusy = true;
    this.#handedMs = this.#clock.monotonicMs();
    let order = command;
    if (command === "write" && this.#segmentEnd + batch.bytes > this.#limits.segmentBytes) {
      // The decisions open after this batch; replaying the batch from there leads to the same set.
      this.#worker.postMessage([...this.#open]);
      order = "rotate";
      this.#segmentEnd = 0;
    }
    this.#segmentEnd += batch.bytes;
    Atomics.store(this.#control, COUNT, batch.count);
    Atomics.store(this.#control, COMMAND, COMMANDS[order]);
    Atomics.store(this.#control, SEQUENCE, this.#sequence);
    Atomics.notify(this.#control, SEQUENCE);
  }

  #hear(message: ThreadMessage): void {
    if (typeof message === "number") this.#acknowledge();
    else if (message.kind === "failed") {
      if (message.isSync) this.#fsyncErrors += 1;
      this.#fail(message.problem);
    } else if (message.kind === "published") {
      this.#published = { size: message.size, atMs: this.#clock.monotonicMs() };
    }
  }

  #acknowledge(): void {
    const batch = this.#batches[(this.#sequence & 1) === 0 ? 0 : 1];
    const records = batch.count;
    const seconds = (this.#clock.monotonicMs() - this.#handedMs) / 1000;
    const waiters = batch.clear();
    this.#durable += records;
    this.#isBusy = false;
    // The disk first: what waits here only has to be told.
    if (this.#filling().count > 0) this.#handOver("write");
    else this.#whenIdle?.();
    for (const waiter of waiters) waiter.settle?.(true);
    this.#options.onCommit?.({ seconds, records });
  }

  /** Answers `false` to appends whose deadline has passed. */
  #expire(): void {
    const now = this.#clock.monotonicMs();
    let nextMs = Number.POSITIVE_INFINITY;
    for (const batch of this.#batches) {
      for (const waiter of batch.waiters) {
        if (waiter.settle === undefined) continue;
        if (waiter.deadlineMs > now) nextMs = Math.min(nextMs, waiter.deadlineMs);
        else this.#giveUp(waiter);
      }
    }
    this.#cancelExpiry =
      nextMs === Number.POSITIVE_INFINITY
        ? undefined
        : this.#clock.after(nextMs - now, () => this.#expire());
  }

  #giveUp(waiter: Waiter): void {
    this.#refused += 1;
    waiter.settle?.(false);
    waiter.settle = undefined;
  }

  /** The log is over for this process: nothing is known about the disk any more. */
  #fail(problem: Problem): void {
    if (this.#state === "unwritable") return;
    this.#state = "unwritable";
    this.#cancelTimers();
    for (const batch of this.#batches) {
      for (const waiter of batch.waiters) if (waiter.settle !== undefined) this.#giveUp(waiter);
    }
    this.#whenIdle?.();
    this.#options.onState?.("unwritable", problem);
  }

  #heartbeat(): void {
    this.#cancelHeartbeat = this.#clock.after(this.#limits.heartbeatMs, () => {
      if (!this.#hasRecords) void this.append([{ type: "heartbeat" }]); // never rejects
      this.#hasRecords = false;
      this.#heartbeat();
    });
  }

  #cancelTimers(): void {
    this.#cancelExpiry?.();
    this.#cancelHeartbeat?.();
  }

  async #close(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "closing";
      if (this.#isBusy)
        await new Promise<void>((resolve) => {
          this.#whenIdle = resolve;
        });
    }
    this.#cancelTimers();
    if (this.#state === "closing")
      void this.#enqueue([{ type: "close" }], Number.POSITIVE_INFINITY, "close");
    else void this.#worker.terminate();
    await this.#exited;
  }
}

const threadEnded = (dir: string): Problem => ({
  where: dir,
  what: "the writer thread has ended",
  fix: "start again: the log recovers by itself; a repetition is a bug of Limen",
});
