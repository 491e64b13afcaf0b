import assert from "node:assert/strict";
import { leafHash } from "../../src/audit/merkle.ts";
import {
  BATCH_BYTES,
  encodeSegmentHeader,
  FRAME_BYTES,
  noteEntry,
  openSegment,
  type SegmentHeader,
  scanSegment,
  sealBatch,
  sealEntry,
} from "../../src/audit/wal.ts";

const HEADER: SegmentHeader = {
  first: 300,
  firstBatch: 7,
  edge: [[leafHash(Buffer.from("a")), leafHash(Buffer.from("b"))], []],
  open: [["id-1", "openai-chat"]],
};

/** One batch as the writer lays it out. */
function batchOf(
  entries: readonly string[],
  at: { number: number; first: number; offset: number },
) {
  const bytes = entries.reduce((sum, entry) => sum + FRAME_BYTES + Buffer.byteLength(entry), 0);
  const buffer = Buffer.alloc(BATCH_BYTES + bytes);
  let end = BATCH_BYTES;
  for (const entry of entries) {
    const length = buffer.write(entry, end + FRAME_BYTES);
    noteEntry(buffer, end, length);
    sealEntry(buffer, end, length);
    end += FRAME_BYTES + length;
  }
  sealBatch(buffer, { ...at, count: entries.length, bytes });
  return buffer;
}

/** A segment of three batches, and where each ends. */
function segment(): { bytes: Buffer; ends: number[] } {
  const parts = [Buffer.from(encodeSegmentHeader(HEADER))];
  const ends = [parts[0]!.length];
  let first = HEADER.first;
  for (const [i, entries] of [["one"], ["two", "three"], ["four"]].entries()) {
    const offset = ends.at(-1)!;
    const batch = batchOf(entries, { number: HEADER.firstBatch + i, first, offset });
    parts.push(batch);
    ends.push(offset + batch.length);
    first += entries.length;
  }
  return { bytes: Buffer.concat(parts), ends };
}

function scan(bytes: Uint8Array) {
  const entries: string[] = [];
  const opened = openSegment(bytes);
  if (opened === undefined) return undefined;
  const found = scanSegment(bytes, opened, (index, { entry, hash }) => {
    assert.equal(index, HEADER.first + entries.length);
    assert.deepEqual(hash, leafHash(entry));
    entries.push(Buffer.from(entry).toString());
  });
  return { ...found, entries };
}

describe("a segment of the write-ahead log", () => {
  it("gives back its header and its entries, with the hashes of the tree", () => {
    const { bytes, ends } = segment();
    assert.deepEqual(openSegment(bytes)?.header, HEADER);
    const found = scan(bytes);
    assert.deepEqual(found, {
      size: 304,
      nextBatch: 10,
      end: ends[3],
      tail: "clean",
      entries: ["one", "two", "three", "four"],
    });
  });

  it("ends cleanly in zeros laid out ahead", () => {
    const { bytes } = segment();
    assert.equal(scan(Buffer.concat([bytes, Buffer.alloc(5000)]))?.tail, "clean");
  });

  it("cut at any byte is torn and keeps all batches before the cut", () => {
    const { bytes, ends } = segment();
    const whole = [0, 1, 3, 4]; // entries at each end
    for (let cut = ends[0]!; cut < bytes.length; cut++) {
      const found = scan(bytes.subarray(0, cut));
      const batches = ends.filter((end) => end <= cut).length - 1;
      assert.equal(found?.entries.length, whole[batches], `cut at ${cut}`);
      assert.equal(found?.tail, ends.includes(cut) ? "clean" : "torn", `cut at ${cut}`);
      const padded = Buffer.concat([bytes.subarray(0, cut), Buffer.alloc(bytes.length - cut)]);
      assert.ok(scan(padded)!.entries.length <= whole[batches]! + 1);
    }
    for (let cut = 0; cut < ends[0]!; cut++) assert.equal(scan(bytes.subarray(0, cut)), undefined);
  });

  it("damaged at any byte loses no entry silently: corrupt when a whole batch follows, else torn", () => {
    const { bytes, ends } = segment();
    for (let at = 0; at < bytes.length; at++) {
      const flipped = Buffer.from(bytes);
      flipped[at]! ^= 1 << (at % 8);
      const found = scan(flipped);
      if (at < ends[0]!) assert.equal(found, undefined, `byte ${at}`);
      else assert.equal(found?.tail, at < ends[2]! ? "corrupt" : "torn", `byte ${at}`);
    }
  });

  it("does not take entries for a batch header, whatever they say", () => {
    const parts = [Buffer.from(encodeSegmentHeader(HEADER))];
    const inner = batchOf(["x"], { number: 99, first: 0, offset: 0 }).toString("latin1");
    const at = { number: HEADER.firstBatch, first: HEADER.first, offset: parts[0]!.length };
    parts.push(batchOf(["limenbat", `limenbat${inner.replaceAll(/[^\x20-\x7e]/g, "?")}`], at));
    const bytes = Buffer.concat(parts);
    assert.equal(scan(bytes)?.tail, "clean");
    assert.equal(scan(bytes.subarray(0, bytes.length - 1))?.tail, "torn");
  });

  it("is refused when its header is validly framed nonsense", () => {
    const bad = [{ first: -0.5 }, { first: "0" }, { open: [[1, 2]] }, { firstBatch: null }];
    for (const change of bad) {
      const bytes = encodeSegmentHeader({ ...HEADER, ...change } as never);
      assert.equal(openSegment(bytes), undefined);
    }
  });
});
