import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import fc from "fast-check";
import {
  Edge,
  type Hash,
  inclusionProof,
  leafHash,
  listRoot,
  rootFromProof,
} from "../../src/audit/merkle.ts";

const vectors = JSON.parse(readFileSync(new URL("../vectors/tlog.json", import.meta.url), "utf8"));
const entryOf = (index: number): Uint8Array => Buffer.from(String(index));

/** RFC 6962, 2.1, word for word, with nothing of our own but the loop. */
function naive(entries: readonly Uint8Array[]): Buffer {
  const sha = (...parts: Uint8Array[]): Buffer => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest();
  };
  if (entries.length === 0) return sha();
  if (entries.length === 1) return sha(Uint8Array.of(0), entries[0]!);
  let k = 1;
  while (k * 2 < entries.length) k *= 2;
  return sha(Uint8Array.of(1), naive(entries.slice(0, k)), naive(entries.slice(k)));
}

const base64 = (hash: Hash): string => Buffer.from(hash).toString("base64");

/** Reads perfect subtrees straight from the leaves. */
const subtreeOf = (leaves: readonly Hash[]) => (height: number, index: number) =>
  listRoot(leaves, index * 2 ** height, (index + 1) * 2 ** height);

const leaves: Hash[] = Array.from({ length: 1100 }, (_, i) => leafHash(entryOf(i)));
const edgeOf = (size: number): Edge => {
  const edge = new Edge();
  for (let i = 0; i < size; i++) edge.append(leaves[i] ?? leafHash(entryOf(i)));
  return edge;
};

describe("the Merkle tree", () => {
  it("has the published roots", () => {
    const edge = new Edge();
    const wanted = new Map(Object.entries(vectors.roots));
    assert.ok(wanted.size >= 11);
    for (let size = 0; size <= 70_000; size++) {
      const root = wanted.get(String(size));
      if (root !== undefined) assert.equal(base64(edge.root()), root, `size ${size}`);
      edge.append(leafHash(entryOf(size)));
    }
  });

  it("has the root of the recursive definition at every size up to 1,100", () => {
    const edge = new Edge();
    const entries: Uint8Array[] = [];
    for (let size = 0; size <= 1100; size++) {
      assert.equal(base64(edge.root()), base64(naive(entries)), `size ${size}`);
      entries.push(entryOf(size));
      edge.append(leafHash(entryOf(size)));
    }
  });

  it("is the same tree when it goes on from its edge, at any size", () => {
    fc.assert(
      fc.property(fc.nat(1000), fc.nat(100), (size, more) => {
        const whole = edgeOf(size);
        const continued = new Edge(size, whole.levels);
        for (let i = 0; i < more; i++) {
          whole.append(leafHash(entryOf(size + i)));
          continued.append(leafHash(entryOf(size + i)));
        }
        assert.equal(base64(continued.root()), base64(whole.root()));
        assert.equal(continued.size, size + more);
      }),
      { numRuns: 30 },
    );
  });

  it("refuses an edge that is not of its size", () => {
    const { levels } = edgeOf(257);
    assert.throws(() => new Edge(256, levels), Error);
    assert.throws(() => new Edge(258, levels), Error);
    assert.throws(() => new Edge(257 + 65_536, levels), Error);
    assert.equal(new Edge(257, levels).size, 257);
  });

  it("hands out each tile once, when it is full", () => {
    const edge = new Edge();
    const tiles: string[] = [];
    for (let i = 0; i < 65_536; i++) {
      for (const { level, index, hashes } of edge.append(leafHash(entryOf(i)))) {
        assert.equal(hashes.length, 256);
        tiles.push(`${level}/${index}`);
      }
    }
    const expected = Array.from({ length: 256 }, (_, i) => `0/${i}`);
    assert.deepEqual(tiles, [...expected, "1/0"]);
    assert.deepEqual(
      edge.levels.map((level) => level.length),
      [0, 0, 1],
    );
  });

  it("proves every entry, to our own check and to that of @sigstore/verify", () => {
    // A deep import: the package exports its verifier of whole bundles only.
    const load = createRequire(import.meta.url);
    const { verifyMerkleInclusion } = load("@sigstore/verify/dist/tlog/merkle.js");
    const { LogCheckpoint } = load("@sigstore/verify/dist/tlog/checkpoint.js");
    const place = fc
      .integer({ min: 1, max: 1100 })
      .chain((size) => fc.record({ size: fc.constant(size), index: fc.nat(size - 1) }));
    fc.assert(
      fc.property(place, ({ size, index }) => {
        const root = edgeOf(size).root();
        const proof = inclusionProof(index, size, subtreeOf(leaves));
        const reached = rootFromProof(leafHash(entryOf(index)), { index, size }, proof);
        assert.equal(base64(reached!), base64(root));
        const hashes = proof.map((hash) => Buffer.from(hash));
        const inclusion = { logIndex: String(index), treeSize: String(size), hashes };
        const checkpoint = new LogCheckpoint("o", BigInt(size), Buffer.from(root), []);
        const entry = { canonicalizedBody: entryOf(index), inclusionProof: inclusion };
        verifyMerkleInclusion(entry, checkpoint);
        const wrong = { ...entry, canonicalizedBody: entryOf(index + 1) };
        assert.throws(() => verifyMerkleInclusion(wrong, checkpoint));
      }),
      { numRuns: 60 },
    );
  });

  it("accepts no proof of another length, index or leaf", () => {
    const size = 700;
    const root = base64(edgeOf(size).root());
    const proof = inclusionProof(300, size, subtreeOf(leaves));
    const leaf = leafHash(entryOf(300));
    const reach = (at: { index: number; size: number }, hashes: readonly Hash[], from = leaf) => {
      const hash = rootFromProof(from, at, hashes);
      return hash && base64(hash);
    };
    assert.equal(reach({ index: 300, size }, proof), root);
    assert.notEqual(reach({ index: 301, size }, proof), root);
    assert.notEqual(reach({ index: 300, size }, proof.slice(1)), root);
    assert.equal(reach({ index: 300, size }, [...proof, leaf]), undefined);
    assert.notEqual(reach({ index: 300, size }, proof, leafHash(entryOf(1))), root);
    assert.throws(() => inclusionProof(size, size, subtreeOf(leaves)), Error);
  });
});
