import assert from "node:assert/strict";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { flag, integer, list, object, text, type Write } from "../../src/audit/canonical.ts";

type Json = string | number | boolean | readonly Json[] | { readonly [key: string]: Json };

/** Any JSON of this log: integers, booleans and well-formed strings, with awkward keys; lists of one kind of item. */
const value = fc.letrec<{ any: Json }>((tie) => ({
  any: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.string({ unit: "grapheme" }),
    fc.string({
      unit: fc.constantFrom("\\", '"', "\u0000", "\u001f", "\u007f", "\u2028", "/", "é"),
    }),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.array(fc.maxSafeInteger(), { maxLength: 4 }),
    tie("any").map((item) => [item, item]),
    fc.dictionary(fc.string({ unit: "grapheme" }), tie("any"), { maxKeys: 6 }),
  ),
})).any;

/** The writer of values of the shape of `sample`. */
function writerOf(sample: Json): Write<never> {
  if (typeof sample === "string") return text;
  if (typeof sample === "number") return integer;
  if (typeof sample === "boolean") return flag;
  if (Array.isArray(sample)) return list(writerOf(sample[0] ?? 0));
  const fields = Object.entries(sample).map(([key, field]) => [key, writerOf(field)] as const);
  return object<Record<string, never>>(Object.fromEntries(fields));
}

describe("canonical JSON", () => {
  it("is what an independent RFC 8785 serialiser makes of the same value", () => {
    let objects = 0;
    fc.assert(
      fc.property(value, (any) => {
        objects += typeof any === "object" && !Array.isArray(any) ? 1 : 0;
        assert.equal(writerOf(any)(any as never), canonicalize(any));
      }),
    );
    assert.ok(objects > 5);
  });

  it("refuses what has no single form: fractions, unsafe integers, lone surrogates", () => {
    for (const bad of [0.5, 2 ** 53, Number.NaN]) assert.throws(() => integer(bad), Error);
    for (const bad of ["\ud800", "a\udc00b"]) assert.throws(() => text(bad), Error);
    assert.throws(() => object<{ "\ud800": number }>({ "\ud800": integer }), Error);
    assert.equal(integer(-0), "0");
    assert.equal(text("\ud83d\ude00"), '"\ud83d\ude00"');
  });

  it("leaves out fields that are absent, and fields that the shape does not have", () => {
    type Shape = {
      readonly a?: number | undefined;
      readonly b?: number;
      readonly c: readonly number[];
    };
    const write = object<Shape>({ c: list(integer), b: integer, a: integer });
    assert.equal(write({ b: 1, a: undefined, c: [] }), '{"b":1,"c":[]}');
    const wider = { c: [1, 2], prompt: "secret" };
    assert.equal(write(wider), '{"c":[1,2]}');
  });
});
