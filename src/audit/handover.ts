/**
 * How records come to the writer thread: two batches in memory that both threads see, filled by one and
 * written to disk from where they are by the other, and a few control words to say which. Frames stand as
 * `wal.ts` wants them, without hashes.
 */
import type { ErrorCode, Problem } from "../core/errors.ts";
import { ENTRY_LIMIT } from "./leaf.ts";
import type { RecoveryReport } from "./recovery.ts";
import { BATCH_BYTES, FRAME_BYTES, noteEntry } from "./wal.ts";
import type { WriterOptions } from "./writer.ts";

/** Words of the control array. The service's thread writes them, `SEQUENCE` last; the writer reads. */
export const SEQUENCE = 0; // number of the batch to write; its lowest bit says which of the two
export const COUNT = 1; // entries in it
export const COMMAND = 2;
export const CONTROL_WORDS = 3;
/** `rotate`: first a new segment, whose open decisions come as a message; `close`: afterwards the end. */
export const COMMANDS = { write: 0, rotate: 1, close: 2 } as const;

export type ThreadStart = {
  readonly options: WriterOptions;
  readonly integrateMs: number;
  readonly control: Int32Array;
  readonly batches: readonly [SharedArrayBuffer, SharedArrayBuffer];
};

export type Opened = {
  readonly kind: "opened";
  readonly report: RecoveryReport;
  readonly vkey: string;
  readonly published: number;
  readonly segmentEnd: number;
};

/** What the writer says. A number: the batch of that number is durable. */
export type ThreadMessage =
  | number
  | Opened
  | { readonly kind: "published"; readonly size: number }
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly problems: readonly Problem[] }
  | { readonly kind: "failed"; readonly isSync: boolean; readonly problem: Problem };

/** What an `append` waits for. */
export type Waiter = {
  readonly deadlineMs: number;
  settle: ((isDurable: boolean) => void) | undefined;
};

export class Batch {
  readonly shared: SharedArrayBuffer;
  readonly #buffer: Buffer;
  #end = BATCH_BYTES;
  #count = 0;
  waiters: Waiter[] = []; // oldest first; the log adds to it

  /** @param bytes the most that headers and entries may take */
  constructor(bytes: number) {
    this.shared = new SharedArrayBuffer(bytes);
    this.#buffer = Buffer.from(this.shared);
  }

  get count(): number {
    return this.#count;
  }

  /** Offset after the last entry: the size of the batch on disk. */
  get bytes(): number {
    return this.#end;
  }

  /** Adds entries, all or none; false when there is no room or one is too long for a bundle. */
  place(entries: readonly string[]): boolean {
    let at = this.#end;
    for (const entry of entries) {
      const room = this.#buffer.length - at - FRAME_BYTES;
      // Three bytes for each UTF-16 unit are enough; only near the end the exact length is computed.
      if (entry.length * 3 > room && Buffer.byteLength(entry) > room) return false;
      const length = this.#buffer.write(entry, at + FRAME_BYTES);
      if (length > ENTRY_LIMIT) return false;
      noteEntry(this.#buffer, at, length);
      at += FRAME_BYTES + length;
    }
    this.#end = at;
    this.#count += entries.length;
    return true;
  }

  /** Makes it empty; returns who waited for it. */
  clear(): readonly Waiter[] {
    const { waiters } = this;
    this.waiters = [];
    this.#end = BATCH_BYTES;
    this.#count = 0;
    return waiters;
  }
}
