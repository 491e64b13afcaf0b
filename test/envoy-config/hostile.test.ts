import assert from "node:assert/strict";
import fc from "fast-check";
import { parse } from "yaml";
import { check, edit, SHIPPED } from "./edits.ts";

const P1 = SHIPPED["envoy/envoy.yaml"];
const whats = (text: string): readonly string[] => check(text).map(({ what }) => what);

/** All paths of a tree, its inner nodes too. */
function pathsOf(json: unknown, path: readonly string[] = []): readonly (readonly string[])[] {
  if (typeof json !== "object" || json === null) return [path];
  return [path, ...Object.entries(json).flatMap(([key, one]) => pathsOf(one, [...path, key]))];
}

function replaced(json: unknown, path: readonly string[], value: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  const copy = structuredClone(json) as Record<string, unknown>;
  copy[step] = replaced(copy[step], rest, value);
  return copy;
}

describe("limen envoy check: hostile files", () => {
  it("survives a value of any type in any place", () => {
    for (const file of [P1, SHIPPED["envoy/ext-authz.yaml"], SHIPPED["istio/gateway.yaml"]]) {
      const good: unknown = parse(file);
      const paths = pathsOf(good);
      assert.ok(paths.length > 150);
      const wrong = fc.oneof(
        fc.jsonValue({ maxDepth: 2 }),
        fc.constantFrom("", "5s", "-1", "1e9s", 2 ** 53, -1, [[]], [null], { "@type": 1 }),
      );
      fc.assert(
        fc.property(fc.constantFrom(...paths), wrong, (path, value) => {
          check(JSON.stringify(replaced(good, path, value)));
        }),
        { numRuns: 100 },
      );
    }
  }).timeout(60_000);

  it("survives any text", () => {
    const words = [
      "kind: EnvoyFilter",
      "spec:",
      "configPatches:",
      "- ",
      "&a ",
      "*a",
      "{",
      "[",
      "\n",
    ];
    const text = fc.array(fc.oneof(fc.constantFrom(...words), fc.string({ unit: "binary" })));
    fc.assert(
      fc.property(text, (parts) => void check(parts.join(""))),
      { numRuns: 300 },
    );
  }).timeout(60_000);

  it("refuses a bomb of aliases without writing it out", () => {
    const lines = Array.from({ length: 40 }, (_, i) => `a${i + 1}: &a${i + 1} [*a${i}, *a${i}]`);
    const found = whats(`a0: &a0 [x]\n${lines.join("\n")}\n`);
    assert.match(found[0] ?? "", /more than 2000000 values/);
  });

  it("refuses a chain of aliases that nests deeper than it looks", () => {
    const nest = (inner: string): string => `${"[".repeat(30)}${inner}${"]".repeat(30)}`;
    const lines = ["a: &a x", `b: &b ${nest("*a")}`, `c: &c ${nest("*b")}`, `d: ${nest("*c")}`];
    assert.deepEqual(whats(lines.slice(0, 3).join("\n")), [
      "no filter of Limen is in this file: nothing that this file configures is read by Limen",
    ]);
    assert.match(whats(lines.join("\n")).join(), /nesting deeper/);
  });

  it("refuses an alias inside its own anchor, and one before it", () => {
    const dangling = /^this alias stands for nothing that is complete above it/;
    for (const text of ["a: &a [*a]", "a: &a { b: { c: *a } }", "a: *b\nb: &b 1"]) {
      const [what, ...more] = whats(text);
      assert.match(what ?? "", dangling);
      assert.deepEqual(more, []);
    }
  });

  it("refuses what is nested deeper than any configuration", () => {
    assert.match(whats(`${"[".repeat(70)}${"]".repeat(70)}`).join(), /nesting deeper/);
  });

  it("says that an empty file is one", () => {
    assert.deepEqual(whats("# nothing\n"), ["the file holds no document"]);
  });

  it("does not run a pattern that would take for ever, or is none", () => {
    for (const regex of ["(a+)+$", "(((x{50}){50}){50})", "(", "a".repeat(5_000)]) {
      const field = `disallow_expression: { regex: "${regex}" }`;
      check(edit(P1, "disallow_all: true", field));
    }
  });

  it("stops at 500 findings", () => {
    const filter =
      "{ name: limen, typed_config: { '@type': x/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor } }";
    const items = ", *f".repeat(1_000);
    const list = `{ kind: EnvoyFilter, spec: { configPatches: [&f { applyTo: HTTP_FILTER, patch: { value: ${filter} } }${items}] } }`;
    assert.equal(check(list).length, 500);
    assert.equal(check("- !x y\n".repeat(1_000)).length, 500);
  });

  /** Filters, routes and patches of clusters by the thousand, without a fault that would end the check early. */
  const crowd = (n: number): string => {
    const gateway = SHIPPED["istio/gateway.yaml"];
    const anchored = [
      ["2:- applyTo: HTTP_FILTER", "- &f\n      applyTo: HTTP_FILTER"],
      ["- applyTo: HTTP_ROUTE", "- &r\n      applyTo: HTTP_ROUTE"],
      ["- applyTo: CLUSTER", "- &c\n      applyTo: CLUSTER"],
    ].reduce((text, [from = "", to = ""]) => edit(text, from, to), gateway);
    return `${anchored}${"    - *f\n    - *r\n    - *c\n".repeat(n)}`;
  };

  it("ends in linear time however many filters meet however many routes", () => {
    const time = (n: number): number => {
      const text = crowd(n);
      const start = performance.now();
      assert.deepEqual(check(text), []);
      return performance.now() - start;
    };
    time(500); // warm
    const [one, eight] = [time(1_000), time(8_000)];
    // Eight times the size; a product would be 64 times the time.
    assert.ok(eight < 30 * one, `${one} ms, ${eight} ms`);
  }).timeout(60_000);

  it("shows a place in a line of a megabyte without showing the line", () => {
    const bad = edit(P1, "failure_mode_allow: false", "failure_mode_allow: true");
    const line = JSON.stringify({ pad: "x".repeat(1_000_000), ...(parse(bad) as object) });
    const [finding] = check(line);
    assert.equal(finding?.rule, "failure-mode-allow");
    assert.ok((finding.excerpt?.length ?? 0) < 400);
  });
});
