/**
 * Bytes of the write-ahead log. A segment is a header frame, then batches; a batch is a header frame and
 * its entries, written with one write. A frame is `u32 kind and length || 32-byte hash || payload`; an
 * entry's hash is its leaf hash in the tree. Zeros after the last batch are room that was laid out in
 * advance. Pure; `segment.ts` has the files.
 */
import { hash } from "node:crypto";
import { ENTRY_LIMIT } from "./leaf.ts";
import { HASH_BYTES, type Hash } from "./merkle.ts";

/** The folder of the segments. */
export const WAL_DIR = "wal";
/** A segment is closed when it reaches its limit, plus at most one batch; more is not ours. */
export const SEGMENT_READ_LIMIT = 512 << 20;
/** The part of a frame before its payload. */
export const FRAME_BYTES = 4 + HASH_BYTES;
const BATCH_PAYLOAD = 40; // magic, number, first index, count, bytes of entries, own offset
export const BATCH_BYTES = FRAME_BYTES + BATCH_PAYLOAD;
const MAGIC = Buffer.from("limenbat");

// Kinds stand in the two top bits of the length; the byte before the payload separates the hashes.
const KINDS = {
  entry: { bits: 0, prefix: 0, limit: ENTRY_LIMIT },
  batch: { bits: 0x80000000, prefix: 2, limit: BATCH_PAYLOAD },
  segment: { bits: 0x40000000, prefix: 3, limit: 0x3fffffff },
} as const;
type Kind = keyof typeof KINDS;

/**
 * Completes the frame at `at`, whose payload of `length` bytes is in place; returns a copy of its hash.
 * The hash is taken over the prefix and the payload without copying: the prefix stands for a moment
 * where the last byte of the hash will be.
 */
function seal(
  kind: Kind,
  buffer: Buffer,
  frame: { readonly at: number; readonly length: number },
): Hash {
  const payload = frame.at + FRAME_BYTES;
  buffer[payload - 1] = KINDS[kind].prefix;
  const digest = hash("sha256", buffer.subarray(payload - 1, payload + frame.length), "buffer");
  buffer.writeUInt32BE(KINDS[kind].bits + frame.length, frame.at);
  buffer.set(digest, frame.at + 4);
  return digest;
}

/** Makes the entry frame of the payload that stands at `at + FRAME_BYTES`; returns the leaf hash. */
export const sealEntry = (buffer: Buffer, at: number, length: number): Hash =>
  seal("entry", buffer, { at, length });

/** Notes the length of an entry for the one who seals it. */
export const noteEntry = (buffer: Buffer, at: number, length: number): void =>
  void buffer.writeUInt32BE(length, at);

export type BatchHeader = {
  /** Counted from 0 over the life of the log. */
  readonly number: number;
  /** Log index of the first entry. */
  readonly first: number;
  readonly count: number;
  /** Of all entry frames. */
  readonly bytes: number;
  /** Where the batch starts in its segment, which is where the one before it ends. */
  readonly offset: number;
};

/** Writes the header frame of a batch into the first `BATCH_BYTES` of `buffer`. */
export function sealBatch(buffer: Buffer, header: BatchHeader): void {
  buffer.set(MAGIC, FRAME_BYTES);
  buffer.writeBigUInt64BE(BigInt(header.number), FRAME_BYTES + 8);
  buffer.writeBigUInt64BE(BigInt(header.first), FRAME_BYTES + 16);
  buffer.writeUInt32BE(header.count, FRAME_BYTES + 24);
  buffer.writeUInt32BE(header.bytes, FRAME_BYTES + 28);
  buffer.writeBigUInt64BE(BigInt(header.offset), FRAME_BYTES + 32);
  seal("batch", buffer, { at: 0, length: BATCH_PAYLOAD });
}

/** A decision without an outcome so far: its id and its exchange's dialect. */
export type OpenDecision = readonly [id: string, dialect: string];

/**
 * What a segment must know to be read without the ones before it, which may be deleted: the edge of the
 * tree before its first entry, and the decisions still open there.
 */
export type SegmentHeader = {
  readonly first: number;
  readonly firstBatch: number;
  readonly edge: readonly (readonly Hash[])[];
  readonly open: readonly OpenDecision[];
};

export function encodeSegmentHeader(header: SegmentHeader): Uint8Array {
  const edge = header.edge.map((hashes) => Buffer.concat(hashes).toString("base64"));
  const payload = Buffer.from(JSON.stringify([header.first, header.firstBatch, edge, header.open]));
  const bytes = Buffer.concat([Buffer.alloc(FRAME_BYTES), payload]);
  seal("segment", bytes, { at: 0, length: payload.length });
  return bytes;
}

type Frame = { readonly payload: Buffer; readonly hash: Hash; readonly end: number };

/** The frame at `at`, if it is whole, of this kind, and its hash is right. */
function readFrame(kind: Kind, bytes: Buffer, at: number): Frame | undefined {
  if (at + FRAME_BYTES > bytes.length) return undefined;
  const length = bytes.readUInt32BE(at) - KINDS[kind].bits;
  const start = at + FRAME_BYTES;
  if (length < 0 || length > KINDS[kind].limit || start + length > bytes.length) return undefined;
  const payload = bytes.subarray(start, start + length);
  const stored = bytes.subarray(at + 4, start);
  const digest = hash(
    "sha256",
    Buffer.concat([Uint8Array.of(KINDS[kind].prefix), payload]),
    "buffer",
  );
  return digest.equals(stored) ? { payload, hash: digest, end: start + length } : undefined;
}

/** A segment's header and where its first batch starts. */
export type OpenedSegment = { readonly header: SegmentHeader; readonly end: number };

/** Reads the header of a segment; undefined when it is damaged. */
export function openSegment(segment: Uint8Array): OpenedSegment | undefined {
  const frame = readFrame("segment", bufferOf(segment), 0);
  const header = frame && parseSegmentHeader(frame.payload.toString());
  return header && frame && { header, end: frame.end };
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);

/** Checked field by field: who can write the file can also compute the frame's hash. */
function parseSegmentHeader(text: string): SegmentHeader | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const [first, firstBatch, levels, decisions] = listOf(value);
  if (!isIndex(first) || !isIndex(firstBatch)) return undefined;
  const edge: Hash[][] = [];
  for (const level of listOf(levels)) {
    const hashes = Buffer.from(typeof level === "string" ? level : "", "base64");
    edge.push(
      Array.from({ length: Math.floor(hashes.length / HASH_BYTES) }, (_, i) =>
        hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
      ),
    );
  }
  const open: OpenDecision[] = [];
  for (const decision of listOf(decisions)) {
    const [id, dialect] = listOf(decision);
    if (typeof id !== "string" || typeof dialect !== "string") return undefined;
    open.push([id, dialect]);
  }
  return { first, firstBatch, edge, open };
}

const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const isIndex = (value: unknown): value is number => Number.isSafeInteger(value);

function readBatchHeader(bytes: Buffer, at: number): BatchHeader | undefined {
  const payload = readFrame("batch", bytes, at)?.payload;
  if (payload?.length !== BATCH_PAYLOAD || !payload.subarray(0, 8).equals(MAGIC)) return undefined;
  return {
    number: Number(payload.readBigUInt64BE(8)),
    first: Number(payload.readBigUInt64BE(16)),
    count: payload.readUInt32BE(24),
    bytes: payload.readUInt32BE(28),
    offset: Number(payload.readBigUInt64BE(32)),
  };
}

/** One entry as the log keeps it; `entry` and `hash` are copies. */
export type Sealed = { readonly entry: Uint8Array; readonly hash: Hash };

/** How a segment ends: in nothing but laid-out room, in a batch that was cut, or in damage. */
type Tail = "clean" | "torn" | "corrupt";

export type Scan = {
  /** Index after the last entry. */
  readonly size: number;
  readonly nextBatch: number;
  /** Offset after the last whole batch. */
  readonly end: number;
  readonly tail: Tail;
};

/**
 * Reads the batches of a segment whose header is `opened`, re-hashing every frame, and hands out the
 * entries of whole batches in order.
 */
export function scanSegment(
  segment: Uint8Array,
  opened: OpenedSegment,
  onEntry: (index: number, sealed: Sealed) => void,
): Scan {
  const bytes = bufferOf(segment);
  let { end } = opened;
  let [size, nextBatch] = [opened.header.first, opened.header.firstBatch];
  for (;;) {
    const batch = readBatch(bytes, { number: nextBatch, first: size, offset: end });
    if (batch === undefined) break;
    for (const sealed of batch.entries) onEntry(size++, sealed);
    end = batch.end;
    nextBatch += 1;
  }
  return { size, nextBatch, end, tail: tailOf(bytes, end, nextBatch) };
}

function readBatch(
  bytes: Buffer,
  want: Pick<BatchHeader, "number" | "first" | "offset">,
): { entries: readonly Sealed[]; end: number } | undefined {
  const header = readBatchHeader(bytes, want.offset);
  if (header === undefined || header.number !== want.number) return undefined;
  if (header.first !== want.first || header.offset !== want.offset) return undefined;
  const entries: Sealed[] = [];
  let at = want.offset + BATCH_BYTES;
  for (let i = 0; i < header.count; i++) {
    const frame = readFrame("entry", bytes, at);
    if (frame === undefined) return undefined;
    entries.push({ entry: Uint8Array.from(frame.payload), hash: frame.hash });
    at = frame.end;
  }
  return at === want.offset + BATCH_BYTES + header.bytes ? { entries, end: at } : undefined;
}

/**
 * A batch is written after the one before it is durable. So what is unreadable at the very end was never
 * acknowledged, and what is unreadable before a whole batch header was: that is damage.
 */
function tailOf(bytes: Buffer, end: number, nextBatch: number): Tail {
  const rest = bytes.subarray(end);
  if (rest.equals(Buffer.alloc(rest.length))) return "clean";
  let magic = bytes.indexOf(MAGIC, end + FRAME_BYTES + 1);
  while (magic !== -1) {
    const header = readBatchHeader(bytes, magic - FRAME_BYTES);
    if (header !== undefined && header.number > nextBatch) return "corrupt";
    magic = bytes.indexOf(MAGIC, magic + 1);
  }
  return "torn";
}
