import assert from "node:assert/strict";
import fc from "fast-check";
import { leafHash } from "../../src/audit/merkle.ts";
import {
  decodeBundle,
  decodeTile,
  encodeBundle,
  encodeTile,
  partialsPath,
  tilePath,
} from "../../src/audit/tiles.ts";

describe("tiles and bundles", () => {
  const rows = [
    { level: 0, index: 0, width: 256, path: "tile/0/000" },
    { level: 0, index: 273, width: 112, path: "tile/0/273.p/112" },
    { level: 2, index: 0, width: 1, path: "tile/2/000.p/1" },
    { level: 1, index: 1_234_067, width: 256, path: "tile/1/x001/x234/067" },
    { level: 0, index: 1_000, width: 255, path: "tile/0/x001/000.p/255" },
    { level: "entries" as const, index: 999, width: 256, path: "tile/entries/999" },
    { level: "entries" as const, index: 1_000_000, width: 256, path: "tile/entries/x001/x000/000" },
  ];
  for (const { level, index, width, path } of rows) {
    it(`names tile ${index} of level ${level} with ${width} hashes ${path}`, () => {
      assert.equal(tilePath(level, index, width), path);
    });
  }

  it("keeps partial tiles in a folder beside the full one", () => {
    assert.equal(partialsPath(0, 273), "tile/0/273.p");
  });

  const entries = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
  it("reads the bundles that it writes", () => {
    fc.assert(
      fc.property(entries, (list) => {
        const read = decodeBundle(encodeBundle(list), list.length);
        assert.deepEqual(
          read?.map((entry) => [...entry]),
          list.map((entry) => [...entry]),
        );
      }),
    );
  });

  it("reads a bundle only when it is exactly that many entries", () => {
    const bytes = encodeBundle([Buffer.from("ab"), Buffer.from("")]);
    assert.equal(decodeBundle(bytes, 2)?.length, 2);
    for (const width of [0, 1, 3]) assert.equal(decodeBundle(bytes, width), undefined);
    for (let cut = 0; cut < bytes.length; cut++) {
      assert.equal(decodeBundle(bytes.subarray(0, cut), 2), undefined);
    }
    assert.equal(decodeBundle(Buffer.concat([bytes, Uint8Array.of(0)]), 2), undefined);
  });

  it("holds an entry of 65,535 bytes", () => {
    const entry = Buffer.alloc(65_535, 7);
    assert.deepEqual(decodeBundle(encodeBundle([entry]), 1), [entry]);
  });

  it("reads a tile only when its length is right", () => {
    const hashes = [leafHash(Buffer.from("a")), leafHash(Buffer.from("b"))];
    const bytes = encodeTile(hashes);
    assert.deepEqual(
      decodeTile(bytes, 2)?.map((h) => [...h]),
      hashes.map((h) => [...h]),
    );
    assert.equal(decodeTile(bytes, 1), undefined);
    assert.equal(decodeTile(bytes.subarray(1), 2), undefined);
  });
});
