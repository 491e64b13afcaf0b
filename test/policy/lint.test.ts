import assert from "node:assert/strict";
import { lint } from "../../src/policy/lint.ts";
import { parse, policy } from "./files.ts";

const warnings = (spec: string): readonly string[] =>
  lint(parse(policy("a", spec))).map(({ where, what }) => `${where}: ${what}`);
const rules = (...list: readonly string[]): string => `{action: {rules: [${list.join(", ")}]}}`;

describe("policy/lint", () => {
  it("warns of an allow rule that a deny rule outranks", () => {
    const found = warnings(
      rules(
        "{id: mail, decision: allow, tools: [send_mail]}",
        '{id: no-sending, decision: deny, tools: ["send_*"]}',
      ),
    );
    assert.deepEqual(found, [
      '0.yaml:4:25 spec.action.rules[0]: the rule "mail" never decides: "no-sending" says deny for all its tools',
    ]);
  });

  it("warns of a rule that earlier ones of its kind anticipate", () => {
    const found = warnings(
      rules(
        "{id: a, decision: allow, tools: [x, y]}",
        "{id: b, decision: allow, tools: [y], models: [m]}",
      ),
    );
    assert.deepEqual(found, [
      '0.yaml:4:66 spec.action.rules[1]: the rule "b" never decides: "a" says the same for all its tools',
    ]);
  });

  it("warns of an entry that another one in its list matches, and once of two equal ones", () => {
    assert.deepEqual(warnings('{selector: {routes: ["llm-*", llm-a, web, web]}}'), [
      '0.yaml:4:37 spec.selector.routes[1]: "llm-a" adds nothing: "llm-*" in the same list matches it all',
      '0.yaml:4:49 spec.selector.routes[3]: "web" adds nothing: "web" in the same list matches it all',
    ]);
  });

  const fine: readonly (readonly [string, string])[] = [
    [
      "the deny rule is about other models",
      rules(
        "{id: a, decision: allow, tools: [x]}",
        "{id: b, decision: deny, tools: [x], models: [m]}",
      ),
    ],
    [
      "one tool is left",
      rules("{id: a, decision: allow, tools: [x, y]}", "{id: b, decision: deny, tools: [x]}"),
    ],
    [
      "the stricter rule is the narrower one",
      rules('{id: a, decision: allow, tools: ["*"]}', '{id: b, decision: ask, tools: ["pay*"]}'),
    ],
    ["globs only overlap", '{selector: {models: ["gpt-*", "*-mini"]}}'],
  ];
  for (const [name, spec] of fine) {
    it(`says nothing when ${name}`, () => assert.deepEqual(warnings(spec), []));
  }
});
