import assert from "node:assert/strict";
import fc from "fast-check";
import { codeUnitsOf } from "../../src/detect/code-units.ts";

describe("code units", () => {
  it("are what charCodeAt gives, halves of pairs included", () => {
    fc.assert(
      fc.property(
        fc.string({ unit: "binary" }),
        fc.constantFrom("", "\ud83d", "\ude00"),
        (a, b) => {
          const text = a + b;
          const wanted = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
          assert.deepEqual([...codeUnitsOf(text)], wanted);
        },
      ),
    );
  });
});
