import assert from "node:assert/strict";
import fc from "fast-check";
import { pattern, patternSet, Subject } from "../../src/detect/re2.ts";

describe("patterns on traffic", () => {
  it("give spans in UTF-16 units, whatever stands before a match, half characters included", () => {
    const found = pattern("ab+");
    const noise = fc.array(
      fc.oneof(fc.constantFrom("ab", "abb", "é", "日", "😀", "\ud83d", "\ude00"), fc.string()),
    );
    let matches = 0;
    fc.assert(
      fc.property(noise, (parts) => {
        const text = parts.join("");
        const spans = found.spans(new Subject(text), Number.POSITIVE_INFINITY);
        const expected = [...text.matchAll(/ab+/g)].map(({ index, 0: match }) => ({
          start: index,
          end: index + match.length,
        }));
        matches += expected.length;
        assert.deepEqual(spans, expected);
      }),
    );
    assert.ok(matches > 5);
  });

  it("find at most as many spans as asked for, and an empty match is none", () => {
    assert.equal(pattern("a").spans(new Subject("aaaa"), 3).length, 3);
    assert.deepEqual(pattern("b*").spans(new Subject("aéb"), 9), [{ start: 2, end: 3 }]);
  });

  it("tell which members of a set match, in ascending order", () => {
    const set = patternSet(["x", "", "b.d", "a$"]);
    assert.deepEqual(set.matching(new Subject("béd-a")), [1, 2, 3]);
    assert.deepEqual(patternSet(["x"]).matching(new Subject("a")), []);
  });

  it("tell where a match stands in a long text of any alphabet, whichever is asked first", () => {
    const text = "é日𝓼a".repeat(500);
    const subject = new Subject(text);
    for (const sign of ["a", "𝓼", "日", "é"]) {
      const spans = pattern(sign).spans(subject, 1_000);
      assert.equal(spans.length, 500);
      for (const { start, end } of spans) assert.equal(text.slice(start, end), sign);
    }
  });

  it("take time in proportion to the text when every unit matches", () => {
    const found = pattern("é");
    assert.equal(
      found.spans(new Subject("é".repeat(100_000)), Number.POSITIVE_INFINITY).length,
      100_000,
    );
  }).timeout(3_000);
});
