import assert from "node:assert/strict";
import { sourceOf } from "./source.ts";

const codeOf = (text: string): string => sourceOf("src/x.ts", text).code;
const regexesOf = (text: string): string[] =>
  sourceOf("src/x.ts", text).regexes.map((regex) => regex.text);

describe("source reader", () => {
  for (const [text, code] of [
    ["a; // Date.now", "a;            "],
    ["a; /* Date\nnow */ b", "a;        \n       b"],
    ['a("Date.now")', 'a("        ")'],
    ["a('it\\'s')", "a('     ')"],
    ['"// no comment" + b', '"             " + b'],
    ["`x §{b} y §{`z §{c}`}` + d", "`  §{b}   §{`  §{c}`}` + d"],
    ["`§{ {a: {}} } }` + b", "`§{ {a: {}} }  ` + b"],
    ["`\\§{a}` + b", "`     ` + b"],
  ] as const) {
    it(`reads ${JSON.stringify(text)}`, () => {
      assert.equal(codeOf(text.replaceAll("§", "$")), code.replaceAll("§", "$"));
    });
  }

  it("tells patterns from divisions", () => {
    assert.deepEqual(regexesOf('x = /a"b/g.test(y)'), ['/a"b/g']);
    assert.deepEqual(regexesOf("return /[/]/;"), ["/[/]/"]);
    assert.deepEqual(regexesOf("f(a, /b\\/c/u)"), ["/b\\/c/u"]);
    assert.deepEqual(regexesOf("const c = a / b / d;"), []);
    assert.deepEqual(regexesOf("const c = (a) / b; // x/"), []);
    assert.deepEqual(regexesOf("list[0] / 2 / x"), []);
  });

  it("finds every form of import", () => {
    const text = [
      'import a from "a";',
      'import type { B } from "b";',
      'import "c";',
      'export { d } from "d";',
      'type E = import("e").E;',
      'const f = await import("f");',
      'new Worker(new URL("./g.ts", import.meta.url));',
      'const no = "from"; const x = "not";',
      "import {\n  long,\n} from 'h';",
    ].join("\n");
    assert.deepEqual(sourceOf("src/x.ts", text).imports, [
      "a",
      "b",
      "c",
      "d",
      "e",
      "f",
      "./g.ts",
      "h",
    ]);
  });
});
