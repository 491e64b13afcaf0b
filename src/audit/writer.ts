/**
 * The writer of one log: seals batches, makes them durable, integrates them. Synchronous and single
 * threaded; `writer-thread.ts` runs it. The first failure of a write or sync is its last act: whatever
 * is unknown about the disk then is found out by the next start, which reads and hashes everything.
 */
import { LimenError } from "../core/errors.ts";
import { type LogKey, parseKeyFile } from "./checkpoint.ts";
import { type FileOps, readFile } from "./file.ts";
import { lockLog } from "./lock.ts";
import { TILE_WIDTH } from "./merkle.ts";
import type { Publisher } from "./publish.ts";
import { type RecoveryReport, recover } from "./recovery.ts";
import { Segment } from "./segment.ts";
import {
  BATCH_BYTES,
  FRAME_BYTES,
  type OpenDecision,
  type Sealed,
  sealBatch,
  sealEntry,
} from "./wal.ts";

const KEY_FILE_LIMIT = 8192;

export type WriterOptions = {
  readonly dir: string;
  readonly origin: string;
  readonly keyFile: string;
};

export class Writer {
  readonly key: LogKey;
  readonly report: RecoveryReport;
  readonly #ops: FileOps;
  readonly #dir: string;
  readonly #unlock: () => void;
  readonly #publisher: Publisher;
  #segment: Segment;
  #older: { readonly path: string; readonly first: number }[];
  #segmentFirst: number;
  #nextBatch: number;
  #settleTorn: (() => void) | undefined;

  /** @throws LimenError when the key, the lock or the log stands against it */
  constructor(ops: FileOps, options: WriterOptions) {
    this.#ops = ops;
    this.#dir = options.dir;
    this.key = readKey(options);
    ops.makeDir(options.dir);
    this.#unlock = lockLog(options.dir);
    try {
      const found = recover({ ops, dir: options.dir, key: this.key });
      this.report = found.report;
      this.#publisher = found.publisher;
      this.#segment = found.segment;
      this.#segmentFirst = found.segmentFirst;
      this.#older = [...found.older];
      this.#nextBatch = found.nextBatch;
      this.#settleTorn = found.settleTorn;
    } catch (error) {
      this.#unlock();
      throw error;
    }
  }

  /** Where the next batch starts in its segment. */
  get segmentEnd(): number {
    return this.#segment.end;
  }

  /** Durable entries that no checkpoint covers yet. */
  get unpublished(): number {
    return this.#publisher.size - this.#publisher.published;
  }

  get published(): number {
    return this.#publisher.published;
  }

  /**
   * Makes `count` entries durable, which stand in `buffer` as unsealed frames after room for a batch
   * header; when it returns they may be acknowledged. Call `integrate` with what it returns; `buffer` is
   * no longer needed then.
   */
  commit(buffer: Buffer, count: number): readonly Sealed[] {
    const sealed: Sealed[] = [];
    let end = BATCH_BYTES;
    for (let i = 0; i < count; i++) {
      const length = buffer.readUInt32BE(end);
      const hash = sealEntry(buffer, end, length);
      const start = end + FRAME_BYTES;
      end = start + length;
      sealed.push({ entry: Uint8Array.prototype.slice.call(buffer, start, end), hash });
    }
    sealBatch(buffer, {
      number: this.#nextBatch,
      first: this.#publisher.size,
      count,
      bytes: end - BATCH_BYTES,
      offset: this.#segment.end,
    });
    this.#segment.append(buffer.subarray(0, end));
    this.#nextBatch += 1;
    return sealed;
  }

  /** Adds durable entries to the tree. */
  integrate(sealed: readonly Sealed[]): void {
    for (const one of sealed) this.#publisher.take(one);
    // The first batch after a start holds the record about what was torn.
    this.#settleTorn?.();
    this.#settleTorn = undefined;
  }

  /** Signs a checkpoint over all entries and deletes segments that are no longer needed. */
  publish(): void {
    this.#publisher.publish();
    this.#retire();
  }

  /** Starts a new segment; `open` are the decisions without outcome before it. */
  rotate(open: readonly OpenDecision[]): void {
    if (this.#segmentFirst === this.#publisher.size) return; // this one is still empty
    const first = this.#publisher.size;
    const { levels } = this.#publisher.edge;
    const header = { first, firstBatch: this.#nextBatch, edge: levels, open };
    const next = Segment.create(this.#ops, this.#dir, header);
    // A crash here leaves an empty last segment, in which the next start goes on.
    this.#older.push({ path: this.#segment.path, first: this.#segmentFirst });
    this.#segment.close();
    this.#segment = next;
    this.#segmentFirst = first;
  }

  close(): void {
    this.#segment.close();
    this.#unlock();
  }

  /** A segment may go when all its entries are in full bundles whose bytes and names are durable. */
  #retire(): void {
    const bundled = this.#publisher.published - (this.#publisher.published % TILE_WIDTH);
    const nextFirst = (): number => this.#older[1]?.first ?? this.#segmentFirst;
    if (this.#older.length === 0 || nextFirst() > bundled) return;
    this.#publisher.syncFolders();
    for (let first = this.#older[0]; first !== undefined && nextFirst() <= bundled; ) {
      this.#ops.remove(first.path);
      this.#older.shift();
      first = this.#older[0];
    }
  }
}

function readKey({ keyFile, origin }: WriterOptions): LogKey {
  const bytes = readFile(keyFile, KEY_FILE_LIMIT);
  const key = bytes && parseKeyFile(Buffer.from(bytes).toString());
  if (key === undefined) {
    const gone = bytes === undefined;
    const keygen = `limen audit keygen --origin ${origin}`;
    throw new LimenError("file_unreadable", {
      where: keyFile,
      what: gone ? "there is no such key file" : "is not a Limen audit key",
      fix: gone
        ? `put the key of this log back; a new log gets one by: ${keygen} ${keyFile}`
        : `name the key file of this log; a new log gets one by: ${keygen} FILE`,
    });
  }
  if (key.origin !== origin) {
    throw new LimenError("config_invalid", {
      where: keyFile,
      what: `is the key of ${key.origin}, not of ${origin}`,
      fix: "set audit.origin to the key's origin, or make a key for this one",
    });
  }
  return key;
}
