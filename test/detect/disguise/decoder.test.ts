import assert from "node:assert/strict";
import fc from "fast-check";
import { fromUtf8, runs } from "../../../src/detect/disguise/decoder.ts";

describe("a run", () => {
  it("is found wherever it stands, and only where it is long enough", () => {
    const bits = fc.constantFrom("a", "b", "aa", "bbb", "aaaab", " ", "é", "\ud83d");
    let found = 0;
    fc.assert(
      fc.property(
        fc.array(bits, { maxLength: 12 }),
        fc.integer({ min: 1, max: 9 }),
        (parts, length) => {
          const text = parts.join("");
          const isThere = runs({ of: "ab", length })(Buffer.from(text));
          if (isThere) found += 1;
          assert.equal(isThere, new RegExp(`[ab]{${length}}`).test(text));
        },
      ),
      { numRuns: 2_000 },
    );
    assert.ok(found > 100 && found < 1_900, `${found}`);
  });
});

describe("bytes", () => {
  it("are text when all of them are UTF-8, without a byte order mark", () => {
    const rows: readonly (readonly [readonly number[], string | undefined])[] = [
      [[0x69, 0xc3, 0xa9], "ié"],
      [[0xef, 0xbb, 0xbf, 0x69], "i"],
      [[0x69, 0xc3], undefined],
      [[0xed, 0xa0, 0x80], undefined],
      [[], ""],
    ];
    for (const [bytes, want] of rows) assert.equal(fromUtf8(Uint8Array.from(bytes)), want);
  });
});
