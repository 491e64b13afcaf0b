import assert from "node:assert/strict";
import fc from "fast-check";
import { ViewBuilder } from "../../src/detect/view.ts";

/** Units kept before a replacement, units replaced, and by what. */
const edits = fc.array(
  fc.record({
    kept: fc.nat(3),
    length: fc.integer({ min: 1, max: 2 }),
    text: fc.constantFrom("", "a", "bcd"),
  }),
  { maxLength: 12 },
);

/** Where each unit of the view comes from, one by one. */
function viewOf(list: readonly { kept: number; length: number; text: string }[], times: number) {
  const all = Array.from({ length: times }, () => list).flat();
  const source = "0123456789".repeat(Math.ceil((5 * all.length) / 10) + 1);
  const builder = new ViewBuilder(source);
  const units: { unit: string; start: number; end: number }[] = [];
  const keep = (start: number, end: number): void => {
    for (let i = start; i < end; i += 1)
      units.push({ unit: source[i] ?? "", start: i, end: i + 1 });
  };
  let at = 0;
  for (const { kept, length, text } of all) {
    const start = at + kept;
    const end = start + length;
    keep(at, start);
    for (const unit of text) units.push({ unit, start, end });
    builder.replace(start, end, text);
    at = end;
  }
  keep(at, source.length);
  return { view: builder.build(), units };
}

describe("a view of a text", () => {
  for (const [what, times] of [
    ["few", 1],
    ["thousands of", 1_000],
  ] as const) {
    it(`reads as its source with ${what} replacements, and leads every span back`, () => {
      let replaced = 0;
      fc.assert(
        fc.property(edits, fc.nat(), fc.nat(), (list, a, b) => {
          const { view, units } = viewOf(list, times);
          assert.equal(view.text, units.map(({ unit }) => unit).join(""));
          const start = a % units.length;
          const end = start + 1 + (b % (units.length - start));
          assert.deepEqual(view.toSource({ start, end }), {
            start: units[start]?.start,
            end: units[end - 1]?.end,
          });
          assert.equal(view.invisible, times * list.filter(({ text }) => text === "").length);
          replaced += times * list.length;
        }),
        { numRuns: times === 1 ? 500 : 10 },
      );
      assert.ok(replaced > times * 20, `${replaced}`);
    });
  }
});
