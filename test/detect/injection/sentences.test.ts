import assert from "node:assert/strict";
import fc from "fast-check";
import { grouped, sentencesOf } from "../../../src/detect/injection/sentences.ts";

const cut = (text: string, start = 0, end = text.length): readonly string[] =>
  sentencesOf(text, { start, end }).map((span) => text.slice(span.start, span.end));

describe("sentences", () => {
  const rows: readonly (readonly [string, string, readonly string[]])[] = [
    ["of Latin script", "It rains. Does it? Yes!", ["It rains.", "Does it?", "Yes!"]],
    [
      "of numbers and names whole",
      "Pay 3.50 to a.b.example now.",
      ["Pay 3.50 to a.b.example now."],
    ],
    ["of Han script", "下雨了。真的吗？是的！", ["下雨了。", "真的吗？", "是的！"]],
    ["of Devanagari", "बारिश है। सच?", ["बारिश है।", "सच?"]],
    ["of Arabic script", "هل تمطر؟ نعم.", ["هل تمطر؟", "نعم."]],
    ["of lines", "one\ntwo\r\nthree", ["one", "two", "three"]],
    ["of JSON strings", '{"from": "one", "body":"two"}', ["from", "one", "body", "two"]],
    ["of lines inside JSON strings", "one\\ntwo", ["one", "two"]],
    ["of markup", "<p>one</p><p>two</p>", ["one", "/p", "two", "/p"]],
  ];
  for (const [what, text, sentences] of rows) {
    it(what, () => assert.deepEqual(cut(text), sentences));
  }

  it("are those that touch what is asked for, whole", () => {
    const text = "One is here. Two is here. Three is here.";
    const at = text.indexOf("Two");
    assert.deepEqual(cut(text, at + 1, at + 2), ["Two is here."]);
    assert.deepEqual(cut(text, at - 3, at + 2), ["One is here.", "Two is here."]);
  });

  it("reach no further than a bound where nothing ends", () => {
    const [only] = sentencesOf("x".repeat(100_000), { start: 50_000, end: 50_010 });
    assert.deepEqual(only, { start: 50_000 - 512, end: 50_010 + 512 });
  });

  it("are in order, apart, and hold every letter of any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'ab .!\n"{}<>。\\n') }), (text) => {
        const spans = sentencesOf(text, { start: 0, end: text.length });
        let end = 0;
        for (const span of spans) {
          assert.ok(span.start >= end && span.end > span.start);
          end = span.end;
        }
        const kept = spans.map((span) => text.slice(span.start, span.end)).join("");
        const letters = (of: string): number => [...of].filter((unit) => unit === "a").length;
        // A letter that stands alone between two ends is not worth a sentence.
        assert.ok(letters(text) - letters(kept) <= text.length - kept.length);
      }),
    );
  });

  it("are put together when there are too many", () => {
    const spans = Array.from({ length: 25 }, (_, i) => ({ start: 2 * i, end: 2 * i + 1 }));
    const groups = grouped(spans, 12);
    assert.ok(groups.length <= 12);
    assert.deepEqual([groups[0]?.start, groups.at(-1)?.end], [0, 49]);
    assert.deepEqual(grouped(spans.slice(0, 12), 12), spans.slice(0, 12));
    assert.deepEqual(grouped([], 12), []);
  });
});
