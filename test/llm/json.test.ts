import assert from "node:assert/strict";
import fc from "fast-check";
import {
  applyEdits,
  decodeUtf8,
  encodeFragment,
  type JsonNode,
  type JsonString,
  MAX_JSON_DEPTH,
  parseJson,
  sourceSpan,
  sourceSpans,
} from "../../src/llm/json.ts";

const parse = (text: string, depth = 64) => parseJson(text, { depth });
const causeOf = (text: string, depth?: number): string => {
  const parsed = parse(text, depth);
  return parsed.ok ? "ok" : parsed.cause;
};
const parsed = (text: string): JsonNode => {
  const result = parse(text);
  assert.ok(result.ok, "the fixture must parse");
  return result.value;
};
/** The plain value of a tree; own keys only, so that `__proto__` stays a key. */
function plain(node: JsonNode): unknown {
  switch (node.kind) {
    case "object": {
      const entries = [...node.members].map(([name, member]) => [name, plain(member)] as const);
      return Object.fromEntries(entries);
    }
    case "array":
      return node.items.map(plain);
    default:
      return node.value;
  }
}
const firstString = (node: JsonNode): JsonString => {
  assert.equal(node.kind, "string");
  return node as JsonString;
};

describe("strict JSON", () => {
  it("reads what JSON.parse reads, to the same value", () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.constantFrom(undefined, 1, "\t"), (json, indent) => {
        const text = JSON.stringify(JSON.parse(json), null, indent);
        assert.deepEqual(plain(parsed(text)), JSON.parse(text));
      }),
    );
  });

  it("agrees with JSON.parse on damaged text, except where it is stricter", () => {
    const pieces = fc.constantFrom(
      ...['{"a":1}', "[", "]", "{", "}", ",", ":", '"', "\\", "\\u00", "\\ud83d\\ude00", '"k"'],
      ...["0", "1", "-", "+", ".", "e", "E5", "true", "nul", "null", " ", "\n", "\u0001", "é", "/"],
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), (parts) => {
        const text = parts.join("");
        let expected: unknown;
        let valid = true;
        try {
          expected = JSON.parse(text);
        } catch {
          valid = false;
        }
        const result = parse(text);
        if (!valid) return assert.equal(result.ok, false, text);
        if (!result.ok) return assert.equal(result.cause, "duplicate_key", text);
        accepted += 1;
        assert.deepEqual(plain(result.value), expected);
      }),
      { numRuns: 3000 },
    );
    assert.ok(accepted > 50, "the pieces must make valid texts as well");
  });

  it("gives every value its place: the source of a node parses to the same value", () => {
    const check = (text: string, node: JsonNode): void => {
      assert.deepEqual(plain(node), JSON.parse(text.slice(node.start, node.end)));
      if (node.kind === "array") for (const item of node.items) check(text, item);
      if (node.kind === "object") for (const member of node.members.values()) check(text, member);
    };
    fc.assert(
      fc.property(fc.json(), (json) => {
        const text = ` ${JSON.stringify(JSON.parse(json), null, 1)}\n`;
        check(text, parsed(text));
      }),
    );
  });

  const refused: readonly (readonly [string, string, string])[] = [
    ["an empty body", "", "malformed_json"],
    ["white space alone", " \n", "malformed_json"],
    ["a byte order mark", '\ufeff{"a":1}', "malformed_json"],
    ["a second value", "{} {}", "trailing_data"],
    ["a letter behind the value", "nullx", "trailing_data"],
    ["a key twice", '{"a":1,"b":2,"a":3}', "duplicate_key"],
    ["a key twice, once escaped", '{"model":1,"\\u006dodel":2}', "duplicate_key"],
    ["a key twice, deep inside", '[{"x":[{"y":1,"y":1}]}]', "duplicate_key"],
    ["__proto__ twice", '{"__proto__":1,"__proto__":2}', "duplicate_key"],
    ["a raw control character in a string", '"a\nb"', "malformed_json"],
    ["a NUL in a string", '"\u0000"', "malformed_json"],
    ["a lone high surrogate, escaped", '"\\ud83d"', "malformed_json"],
    ["a lone low surrogate, escaped", '"\\ude00"', "malformed_json"],
    ["surrogates in the wrong order", '"\\ude00\\ud83d"', "malformed_json"],
    ["a high surrogate before an escape of another kind", '"\\ud83d\\n"', "malformed_json"],
    ["a high surrogate before digits that are no escape", '"\\ud83d--de00"', "malformed_json"],
    ["a lone raw surrogate", '"\ud83d"', "malformed_json"],
    ["a surrogate pair half escaped, half raw", '"\\ud83d\ude00"', "malformed_json"],
    ["an unknown escape", '"\\x41"', "malformed_json"],
    ["half an escape at the end", '"\\', "malformed_json"],
    ["hexadecimal digits that are none", '"\\u00g0"', "malformed_json"],
    ["a leading zero", "01", "malformed_json"],
    ["a plus sign", "+1", "malformed_json"],
    ["a point without digits", "1.", "malformed_json"],
    ["an exponent without digits", "1e+", "malformed_json"],
    ["a minus alone", "-", "malformed_json"],
    ["NaN", "NaN", "malformed_json"],
    ["a comment", "{}/**/", "trailing_data"],
    ["a comma at the end of an array", "[1,]", "malformed_json"],
    ["a comma at the end of an object", '{"a":1,}', "malformed_json"],
    ["a key without quotes", "{a:1}", "malformed_json"],
    ["single quotes", "{'a':1}", "malformed_json"],
    ["a no-break space between tokens", "[\u00a01]", "malformed_json"],
  ];
  for (const [what, text, cause] of refused) {
    it(`refuses ${what} as ${cause}`, () => assert.equal(causeOf(text), cause));
  }

  it("keeps __proto__ and constructor as ordinary keys", () => {
    const node = parsed('{"__proto__":{"a":1},"constructor":2}');
    assert.equal(node.kind, "object");
    assert.deepEqual(node.kind === "object" && [...node.members.keys()], [
      "__proto__",
      "constructor",
    ]);
  });

  it("reads numbers beyond doubles without losing their source", () => {
    const text = "[123456789012345678901234567890,1e999,-0.5E-3]";
    const node = parsed(text);
    assert.ok(node.kind === "array");
    const sources = node.items.map(({ start, end }) => text.slice(start, end));
    assert.deepEqual(sources, ["123456789012345678901234567890", "1e999", "-0.5E-3"]);
  });

  const nested = (depth: number): string => "[".repeat(depth) + "]".repeat(depth);
  for (const [depth, want] of [
    [8, "ok"],
    [9, "limit_exceeded"],
  ] as const) {
    it(`answers ${want} to ${depth} open brackets under a limit of 8`, () => {
      assert.equal(causeOf(nested(depth), 8), want);
      assert.equal(causeOf(`${'{"a":'.repeat(depth)}1${"}".repeat(depth)}`, 8), want);
    });
  }
  for (const [values, want] of [
    [8, "ok"],
    [9, "limit_exceeded"],
  ] as const) {
    it(`answers ${want} to ${values} values under a limit of 8`, () => {
      const list = `[{"a":""}${",null".repeat(values - 3)}]`;
      const parsed = parseJson(list, { depth: 64, values: 8 });
      assert.equal(parsed.ok ? "ok" : parsed.cause, want);
    });
  }
  it("has a depth that no limit raises, so that no text can end the stack", () => {
    assert.equal(causeOf(nested(MAX_JSON_DEPTH), 1e9), "ok");
    assert.equal(causeOf(nested(MAX_JSON_DEPTH + 1), 1e9), "limit_exceeded");
    assert.equal(causeOf("[".repeat(1_000_000), 1e9), "limit_exceeded");
  });
});

describe("decodeUtf8", () => {
  it("refuses bytes that are no UTF-8: truncated, overlong, surrogates", () => {
    for (const bytes of [[0xe2, 0x82], [0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xff]]) {
      assert.deepEqual(decodeUtf8(Uint8Array.from(bytes)), { ok: false, cause: "malformed_json" });
    }
  });
  it("keeps a byte order mark, so that the parser refuses it", () => {
    const text = decodeUtf8(Buffer.from("\ufeff{}"));
    assert.ok(text.ok);
    assert.equal(causeOf(text.value), "malformed_json");
  });
});

describe("source spans", () => {
  /** A literal of pieces that are written raw or escaped in many ways, with the value they spell. */
  const spelled = fc.array(
    fc.constantFrom(
      { source: "a", value: "a" },
      { source: "\\n", value: "\n" },
      { source: '\\"', value: '"' },
      { source: "\\\\", value: "\\" },
      { source: "\\u0041", value: "A" },
      { source: "\\u00e9", value: "é" },
      { source: "é", value: "é" },
      { source: "😀", value: "😀" },
      { source: "\\ud83d\\ude00", value: "😀" },
    ),
    { minLength: 1, maxLength: 20 },
  );

  it("cut exactly at pieces, however they are written", () => {
    fc.assert(
      fc.property(spelled, fc.nat(), fc.nat(), (pieces, a, b) => {
        const text = `["x", "${pieces.map(({ source }) => source).join("")}"]`;
        const array = parsed(text);
        assert.ok(array.kind === "array");
        const literal = firstString(array.items[1] as JsonNode);
        const [from, to] = [a % (pieces.length + 1), b % (pieces.length + 1)].sort((x, y) => x - y);
        const lengthTo = (end: number | undefined, of: "source" | "value"): number =>
          pieces.slice(0, end).reduce((sum, piece) => sum + piece[of].length, 0);
        const span = sourceSpan(text, literal, {
          start: lengthTo(from, "value"),
          end: lengthTo(to, "value"),
        });
        assert.deepEqual(span, {
          start: literal.start + 1 + lengthTo(from, "source"),
          end: literal.start + 1 + lengthTo(to, "source"),
        });
      }),
    );
  });

  it("leave a valid literal with the replacement in it, whatever the span", () => {
    fc.assert(
      fc.property(spelled, fc.nat(), fc.nat(), (pieces, a, b) => {
        const text = `"${pieces.map(({ source }) => source).join("")}"`;
        const literal = firstString(parsed(text));
        const size = literal.value.length + 1;
        const [start = 0, end = 0] = [a % size, b % size].sort((x, y) => x - y);
        const span = sourceSpan(text, literal, { start, end });
        const edited = firstString(parsed(applyEdits(text, [{ ...span, text: "[gone]" }])));
        assert.ok(edited.value.includes("[gone]"));
        assert.ok(edited.value.isWellFormed());
      }),
    );
  });

  it("widen a border inside a pair outwards, raw and escaped", () => {
    for (const pair of ["😀", "\\ud83d\\ude00"]) {
      const text = `"a${pair}b"`;
      const literal = firstString(parsed(text));
      const whole = { start: 2, end: 2 + pair.length };
      assert.deepEqual(sourceSpan(text, literal, { start: 2, end: 3 }), whole);
      assert.deepEqual(sourceSpan(text, literal, { start: 1, end: 2 }), whole);
    }
  });

  it("of one literal in one pass are those of single passes", () => {
    const text = '"x\\u0041\\ny😀\\"z"';
    const literal = firstString(parsed(text));
    const spans = [
      { start: 0, end: 2 },
      { start: 2, end: 4 },
      { start: 5, end: 8 },
    ];
    assert.deepEqual(
      sourceSpans(text, literal, spans),
      spans.map((span) => sourceSpan(text, literal, span)),
    );
  });
});

describe("edits", () => {
  it("are applied wherever they stand in the list, inserts at one place in their order", () => {
    const edits = [
      { start: 4, end: 5, text: "E" },
      { start: 2, end: 2, text: "<" },
      { start: 2, end: 2, text: ">" },
      { start: 2, end: 3, text: "C" },
    ];
    assert.equal(applyEdits("abcde", edits), "ab<>CdE");
  });
  it("that overlap are a bug of their authors", () => {
    const overlapping = [
      { start: 0, end: 3, text: "" },
      { start: 2, end: 4, text: "" },
    ];
    assert.throws(() => applyEdits("abcde", overlapping), /overlap/);
    assert.throws(() => applyEdits("ab", [{ start: 1, end: 3, text: "" }]), /outside/);
  });
  it("write text that reads back as itself", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme" }), (text) => {
        assert.equal(firstString(parsed(`"${encodeFragment(text)}"`)).value, text);
      }),
    );
  });
});
