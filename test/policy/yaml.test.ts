import assert from "node:assert/strict";
import canonicalize from "canonicalize";
import fc from "fast-check";
import type { Problem } from "../../src/core/errors.ts";
import { canonicalJson, parseYaml } from "../../src/policy/yaml.ts";

function read(text: string) {
  const problems: Problem[] = [];
  const values = parseYaml({ name: "f", text }, problems);
  return { values, problems: problems.map(({ where, what }) => `${where}: ${what}`) };
}

describe("policy/yaml", () => {
  const refused: readonly (readonly [string, string, string])[] = [
    [
      "the same key twice",
      "a: 1\nb: 2\na: 3\n",
      'f:3:1 a: the key "a" stands here a second time, the first is in line 1',
    ],
    [
      "the same key twice in JSON",
      '{"a": 1, "a": 1}',
      'f:1:10 a: the key "a" stands here a second time, the first is in line 1',
    ],
    ["an anchor", "a: &x 1\n", "f:1:7 a: anchors and aliases are not read"],
    ["a tag", "a: !!binary aGk=\n", "f:1:13 a: YAML tags are not read"],
    ["a number that JSON has no word for", "a: .inf\n", "f:1:4 a: a number that JSON cannot hold"],
    ["a key that is not text", "{? [1] : 2}", "f:1:4: a key that is not text"],
    ["a number as key", "1: a\n", "f:1:1: a key that is not text"],
    ["a tab as indentation", "a:\n\tb: 1\n", "f:2:1: a tab is used for indentation"],
    [
      "an open bracket",
      "a: [1, 2\nb: 3\n",
      "f:2:1: the indentation does not fit what surrounds it, or a bracket is not closed",
    ],
  ];
  for (const [name, text, message] of refused) {
    it(`refuses ${name}, with its place`, () => {
      assert.deepEqual(read(text).problems, [message]);
    });
  }

  it("refuses a bomb of aliases without expanding it", () => {
    const levels = Array.from({ length: 30 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`);
    const { problems } = read(`a0: &a0 [x]\n${levels.join("\n")}\n`);
    assert.equal(problems.length, 31); // one per anchor; what is below it is not looked at
  });

  it("refuses nesting that no document needs, whether the parser survives it or not", function () {
    this.timeout(60_000); // a second, and ten on a busy machine: the parser runs out of its stack
    assert.match(
      read(`${"[".repeat(40)}${"]".repeat(40)}`).problems.join(),
      /nesting deeper than any/,
    );
    assert.match(read("[".repeat(2000)).problems.join(), /nested too deeply/);
  });

  it("reads several documents and leaves out empty ones", () => {
    const { values, problems } = read("---\na: 1\n---\n---\nb: 2\n---\n# end\n");
    assert.deepEqual([values.map(canonicalJson), problems], [['{"a":1}', '{"b":2}'], []]);
  });

  it("keeps the words off, on, yes and no as text", () => {
    assert.equal(
      read("[off, on, yes, no]").values.map(canonicalJson).join(),
      '["off","on","yes","no"]',
    );
  });

  it("writes the canonical JSON that another implementation writes", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnicodeString: false, maxDepth: 5 }), (json) => {
        const text = JSON.stringify(json);
        if (/\\ud[89a-f]/i.test(text)) return; // RFC 8785 has no form for half a character
        const { values, problems } = read(text);
        assert.deepEqual(problems, []);
        assert.equal(
          values.length === 0 ? "null" : values.map(canonicalJson).join(),
          canonicalize(json),
        );
      }),
    );
  });
});
