import assert from "node:assert/strict";
import fc from "fast-check";
import { literalSearch } from "../../src/detect/literals.ts";

describe("a search for literals", () => {
  it("marks the owners of what stands in a text from a place on, or is begun at its end", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b", "é"), maxLength: 12 });
    const literal = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 2, maxLength: 4 });
    const owners = fc.array(fc.array(literal, { maxLength: 3 }), { minLength: 1, maxLength: 4 });
    let marks = 0;
    fc.assert(
      fc.property(owners, word, fc.nat(3), (lists, text, from) => {
        const rest = text.slice(from);
        const want = lists.map((list) =>
          list.some((one) => {
            const cuts = [...one].map((_, length) => one.slice(0, length + 1));
            return rest.includes(one) || cuts.some((cut) => rest.endsWith(cut));
          }),
        );
        const found = literalSearch(lists)(text, from);
        assert.deepEqual([...found], want.map(Number));
        marks += found.reduce((sum, mark) => sum + mark, 0);
      }),
    );
    assert.ok(marks > 20);
  });
});
