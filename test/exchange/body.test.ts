/** Bodies in pieces and encoded bodies: the same bytes however they are cut, and no more memory than is counted. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  brotliCompressSync,
  constants,
  createZstdCompress,
  deflateSync,
  gzipSync,
} from "node:zlib";
import fc from "fast-check";
import { Assembly, BodyDecoder, type Coding, decodeBody } from "../../src/exchange/body.ts";
import { HoldBudget } from "../../src/exchange/hold-budget.ts";

const MiB = 1024 * 1024;

describe("the pieces of a body", () => {
  it("are the body, however it is cut, up to the limit and one above", () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 });
    fc.assert(
      fc.property(pieces, fc.nat(300), (parts, limit) => {
        const hold = new HoldBudget(0);
        const assembly = new Assembly(limit, hold);
        let bytes = 0;
        for (const part of parts) {
          bytes += part.length;
          assert.equal(assembly.push(part), bytes <= limit);
          assert.equal(hold.isExceeded, bytes > 0);
        }
        assert.deepEqual(Buffer.from(assembly.take()), Buffer.concat(parts));
        assert.equal(hold.isExceeded, bytes > 0); // until it has been judged
        assembly.drop();
        assert.equal(hold.isExceeded, false);
      }),
    );
  });

  it("are the very piece when there is only one", () => {
    const assembly = new Assembly(10, new HoldBudget(0));
    const piece = Buffer.from("all");
    assembly.push(new Uint8Array(0));
    assembly.push(piece);
    assert.equal(assembly.take(), piece);
    assert.equal(assembly.take().length, 0);
  });

  it("are not written into a piece that came", () => {
    const shared = Buffer.from("first, and what is behind it");
    const assembly = new Assembly(100, new HoldBudget(0));
    assembly.push(shared.subarray(0, 5));
    assembly.push(Buffer.from("-second"));
    assert.equal(Buffer.from(assembly.take()).toString(), "first-second");
    assert.equal(shared.toString(), "first, and what is behind it");
  });

  it("cost their bytes, not an object each", () => {
    const before = heldBytes();
    const assembly = new Assembly(8 * MiB, new HoldBudget(0));
    for (let i = 0; i < 100_000; i += 1) assembly.push(new Uint8Array(1));
    const held = heldBytes() - before;
    assert.ok(held < MiB, `${held} bytes for 100,000`);
    assert.equal(assembly.take().length, 100_000);
  });
});

/** What is alive, in the heap and outside of it. */
function heldBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

const CODINGS = {
  gzip: gzipSync,
  deflate: deflateSync,
  br: brotliCompressSync,
} as const satisfies Partial<Record<Coding, unknown>>;

describe("a coding that is undone piece by piece", () => {
  it("answers every push, whatever stands behind its end", async () => {
    for (const [coding, encode] of Object.entries(CODINGS)) {
      const body = encode("hello");
      for (const behind of ["", "garbage", "\0\0\0\0", encode("more").toString("latin1")]) {
        const decoder = new BodyDecoder(coding as Coding, 100);
        const bytes = Buffer.concat([body, Buffer.from(behind, "latin1")]);
        for (const byte of bytes) await decoder.push(Uint8Array.of(byte), "more");
        await decoder.push(new Uint8Array(0), "ended");
        await decoder.push(Uint8Array.of(1), "more"); // nobody does, and it ends all the same
        decoder.close();
      }
    }
  });

  it("is no excuse for a body above the limit of which the rest has not come", async () => {
    const cut = gzipSync(randomBytes(200)).subarray(0, 150);
    assert.deepEqual(await decodeBody(cut, "gzip", 149), { ok: false, cause: "body_too_large" });
    assert.deepEqual(await decodeBody(cut, "gzip", 150), { ok: false, cause: "encoded_body" });
  });

  it("refuses zstd of a window that no client of the web may use", async () => {
    for (const [log, ok] of [
      [23, true],
      [24, false],
    ] as const) {
      const encoder = createZstdCompress({ params: { [constants.ZSTD_c_windowLog]: log } });
      const pieces: Buffer[] = [];
      encoder.on("data", (piece: Buffer) => pieces.push(piece));
      encoder.write("x".repeat(100)); // its length is not known in advance, so the window is what counts
      encoder.end();
      await once(encoder, "end");
      const decoder = new BodyDecoder("zstd", 1_000);
      const decoded = await decoder.push(Buffer.concat(pieces), "ended");
      assert.equal(decoded.ok, ok, `window of 2^${log}`);
      decoder.close();
    }
  });
});
