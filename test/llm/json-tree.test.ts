import assert from "node:assert/strict";
import fc from "fast-check";
import { applyEdits, type JsonNode, type JsonObject, parseJson } from "../../src/llm/json.ts";
import { asIndex, cutItems, editMembers, get, keysOf } from "../../src/llm/json-tree.ts";

const parsed = (text: string): JsonNode => {
  const result = parseJson(text, { depth: 16 });
  assert.ok(result.ok, "the text must parse");
  return result.value;
};
const object = (text: string): JsonObject => {
  const node = parsed(text);
  assert.ok(node.kind === "object");
  return node;
};
const edited = (text: string, remove: readonly string[], add: readonly string[] = []): string =>
  applyEdits(text, editMembers(object(text), { remove: new Set(remove), add }));

describe("edits of objects and arrays", () => {
  const rows: readonly (readonly [string, readonly string[], readonly string[], string])[] = [
    ['{"a":1,"b":2,"c":3}', ["b"], [], '{"a":1,"c":3}'],
    ['{"a":1,"b":2,"c":3}', ["a"], [], '{"b":2,"c":3}'],
    ['{"a":1,"b":2,"c":3}', ["c"], [], '{"a":1,"b":2}'],
    ['{"a":1,"b":2,"c":3}', ["a", "b"], [], '{"c":3}'],
    ['{"a":1,"b":2,"c":3}', ["b", "c"], [], '{"a":1}'],
    ['{"a":1,"b":2,"c":3}', ["a", "c"], [], '{"b":2}'],
    ['{ "a" : 1 }', ["a"], [], "{  }"],
    ['{\n  "a": 1,\n  "b": 2\n}', ["a"], [], '{\n  "b": 2\n}'],
    ['{\n  "a": 1,\n  "b": 2\n}', ["b"], [], '{\n  "a": 1\n}'],
    ['{ "a\\"}," : ":" , "b":2}', ["b"], [], '{ "a\\"}," : ":"}'],
    ["{}", [], ['"n":0'], '{"n":0}'],
    ['{"a":1}', ["a"], ['"n":0'], '{"n":0}'],
    ['{"a":1,"b":2}', ["b"], ['"n":0', '"m":1'], '{"a":1,"n":0,"m":1}'],
    ['{"a":1}', ["x"], [], '{"a":1}'],
  ];
  for (const [text, remove, add, want] of rows) {
    it(`turn ${JSON.stringify(text)} without [${remove}] and with [${add}] into ${want}`, () => {
      assert.equal(edited(text, remove, add), want);
    });
  }

  it("leave valid JSON with exactly the other members, for every subset", () => {
    const keys = fc.uniqueArray(fc.string({ maxLength: 4 }), { maxLength: 6 });
    fc.assert(
      fc.property(keys, fc.nat(63), fc.boolean(), (names, mask, spaced) => {
        const entries = names.map((name, at) => [name, { at, list: [at, "}"] }] as const);
        const text = JSON.stringify(
          new Map(entries) && Object.fromEntries(entries),
          null,
          spaced ? 2 : 0,
        );
        const present = Object.keys(JSON.parse(text));
        const gone = present.filter((_, at) => (mask >> at) & 1);
        const kept = present.filter((name) => !gone.includes(name));
        const node = parsed(edited(text, gone));
        assert.deepEqual(node.kind === "object" && [...node.members.keys()], kept);
      }),
    );
  });

  it("cut any items out of an array", () => {
    fc.assert(
      fc.property(
        fc.array(fc.jsonValue({ maxDepth: 1 }), { maxLength: 6 }),
        fc.nat(63),
        (items, mask) => {
          const text = JSON.stringify(items);
          const array = parsed(text);
          assert.ok(array.kind === "array");
          const gone = new Set(items.map((_, at) => at).filter((at) => (mask >> at) & 1));
          const left = (JSON.parse(text) as unknown[]).filter((_, at) => !gone.has(at));
          assert.deepEqual(JSON.parse(applyEdits(text, cutItems(array, gone))), left);
        },
      ),
    );
  });

  it("find every key's literal, escapes and all", () => {
    const text = '{ "a\\u0062" :1, "\\"": {"in":2} ,"__proto__":[]}';
    assert.deepEqual(
      keysOf(object(text)).map(({ start, end, value }) => [text.slice(start, end), value]),
      [
        ['"a\\u0062"', "ab"],
        ['"\\""', '"'],
        ['"__proto__"', "__proto__"],
      ],
    );
  });

  it("take null for absent, and only whole numbers from 0 for positions", () => {
    const node = object('{"none":null,"one":1,"half":0.5,"less":-1,"huge":1e300,"word":"1"}');
    assert.equal(get(node, "none"), undefined);
    assert.equal(get(node, "other"), undefined);
    const positions = ["one", "half", "less", "huge", "word"].map((name) =>
      asIndex(get(node, name)),
    );
    assert.deepEqual(positions, [1, undefined, undefined, undefined, undefined]);
  });
});
