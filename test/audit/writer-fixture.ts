/** The writer without its thread, for tests that look at the disk after each step. */
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type FileOps, nodeOps } from "../../src/audit/file.ts";
import { encodeLeaf } from "../../src/audit/leaf.ts";
import { BATCH_BYTES, FRAME_BYTES, noteEntry } from "../../src/audit/wal.ts";
import { Writer } from "../../src/audit/writer.ts";
import type { DecisionId } from "../../src/core/brand.ts";
import type { AuditRecord } from "../../src/core/record.ts";
import { decisionRecord, ORIGIN, type Place } from "./fixtures.ts";

/** For tests of what is on disk in which order, not of the disk: without syncs a start takes 3 ms. */
export const unsynced: FileOps = {
  ...nodeOps,
  fdatasync: () => undefined,
  syncDir: () => undefined,
};

export const open = (place: Place, ops: FileOps = unsynced): Writer =>
  new Writer(ops, { dir: place.dir, origin: ORIGIN, keyFile: place.keyFile });

/** Commits records as the writer's thread does. */
export function commit(writer: Writer, first: number, records: readonly AuditRecord[]): void {
  const buffer = Buffer.alloc(BATCH_BYTES + 4096 * records.length);
  let at = BATCH_BYTES;
  for (const [i, record] of records.entries()) {
    const text = encodeLeaf(
      record,
      { wseq: first + i, wallUs: 1n },
      { origin: ORIGIN, epoch: 7, build: "t" },
    );
    const length = buffer.write(text, at + FRAME_BYTES);
    noteEntry(buffer, at, length);
    at += FRAME_BYTES + length;
  }
  writer.integrate(writer.commit(buffer, records.length));
}

export const genesis = (place: Place): AuditRecord =>
  ({ type: "genesis", build: "t", key: place.key.vkey }) as never;
export const beat: AuditRecord = { type: "heartbeat" };

/** Short, because every byte of it costs a start. */
export const bareDecision = (id: DecisionId): AuditRecord => ({
  ...decisionRecord(id),
  controls: [],
  findings: [],
  tools: [],
});

/** The only segment of a log. */
export function segmentPathOf(place: Place): string {
  const [name, ...more] = readdirSync(join(place.dir, "wal"));
  assert.deepEqual(more, []);
  return join(place.dir, "wal", name!);
}
