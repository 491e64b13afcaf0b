import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { CAUSES, causes, policyKey } from "../../src/core/cause.ts";
import type { Problem } from "../../src/core/errors.ts";
import { parsePolicies } from "../../src/policy/schema.ts";
import { DEFAULT_POLICY } from "../../src/policy/store.ts";
import { inOrder } from "../../src/policy/yaml.ts";
import { parse, policy } from "./files.ts";

function problemsOf(text: string): readonly Problem[] {
  const problems: Problem[] = [];
  parsePolicies([{ name: "p.yaml", text }], problems);
  return inOrder(problems);
}

/** `spec` stands in line 4, after `spec: `. */
type Row = { name: string; text: string; where: string; what: string; fix: string };
const spec = (text: string): string => policy("a", text);

const rows: readonly Row[] = [
  {
    name: "a misspelt word",
    text: spec("{egress: {pii: {action: redakt}}}"),
    where: "p.yaml:4:31 spec.egress.pii.action",
    what: '"redakt" is not an action',
    fix: 'use "redact", or one of off, flag, deny',
  },
  {
    name: "a misspelt key",
    text: spec("{ingres: {}}"),
    where: "p.yaml:4:8 spec.ingres",
    what: '"ingres" is not a known key',
    fix: 'write "ingress"',
  },
  {
    name: "a key that nothing is like",
    text: spec("{selector: {hostnames: [acme]}}"),
    where: "p.yaml:4:19 spec.selector.hostnames",
    what: '"hostnames" is not a known key',
    fix: "leave it out; known here: routes, dialects, models, identities, tenants, profiles",
  },
  {
    name: "a key in the spelling of a cause",
    text: spec("{failure: {unknown_shape: deny}}"),
    where: "p.yaml:4:18 spec.failure.unknown_shape",
    what: '"unknown_shape" is not a known key',
    fix: 'write "unknownShape"',
  },
  {
    name: "a size with a suffix",
    text: spec("{ingress: {limits: {bodyBytes: 8Mi}}}"),
    where: "p.yaml:4:38 spec.ingress.limits.bodyBytes",
    what: '"8Mi" is not a whole number of bytes',
    fix: "write 8388608",
  },
  {
    name: "a limit of zero",
    text: spec("{ingress: {limits: {messages: 0}}}"),
    where: "p.yaml:4:37 spec.ingress.limits.messages",
    what: "0 is too small",
    fix: "write a whole number of messages from 1 to 100000",
  },
  {
    name: "a body limit above what memory allows",
    text: spec("{egress: {limits: {bodyBytes: 67108865}}}"),
    where: "p.yaml:4:37 spec.egress.limits.bodyBytes",
    what: "67108865 is too large",
    fix: "write a whole number of bytes from 1 to 67108864",
  },
  {
    name: "a sensitivity for a place",
    text: spec("{ingress: {injection: {tool: balanced}}}"),
    where: "p.yaml:4:36 spec.ingress.injection.tool",
    what: '"balanced" is not an action',
    fix: "use one of off, flag, annotate, strip, deny",
  },
  {
    name: "a misspelt sensitivity",
    text: spec("{ingress: {injection: {sensitivity: ballanced}}}"),
    where: "p.yaml:4:43 spec.ingress.injection.sensitivity",
    what: '"ballanced" is not a sensitivity',
    fix: 'use "balanced", or one of permissive, strict',
  },
  {
    name: "a budget that is no number",
    text: spec("{budgetMs: {request: 250ms}}"),
    where: "p.yaml:4:28 spec.budgetMs.request",
    what: '"250ms" is not a whole number of milliseconds',
    fix: "write a whole number of milliseconds from 10 to 2000",
  },
  {
    name: "a budget beyond the deadline of a reply",
    text: spec("{budgetMs: {request: 2001}}"),
    where: "p.yaml:4:28 spec.budgetMs.request",
    what: "2001 is too large",
    fix: "write a whole number of milliseconds from 10 to 2000",
  },
  {
    name: "a mode that does not exist yet",
    text: spec("{mode: shadow}"),
    where: "p.yaml:4:14 spec.mode",
    what: 'the mode "shadow" does not exist yet: every policy is enforced',
    fix: 'use "enforce", or leave the key out',
  },
  {
    name: "a mode that is none",
    text: spec("{mode: lax}"),
    where: "p.yaml:4:14 spec.mode",
    what: '"lax" is not a mode',
    fix: 'use "enforce", or leave the key out',
  },
  {
    name: "an open door for prompts",
    text: spec('{ingress: {passThrough: ["POST /v1/chat/completions"]}}'),
    where: "p.yaml:4:32 spec.ingress.passThrough[0]",
    what: "POST may carry a prompt and cannot pass unread",
    fix: "leave it out; only GET, HEAD and OPTIONS may pass",
  },
  {
    name: "a cause that no policy can open",
    text: spec("{failure: {auditUnavailable: allow}}"),
    where: "p.yaml:4:36 spec.failure.auditUnavailable",
    what: "auditUnavailable is always a deny: the audit log cannot record the exchange",
    fix: 'write "deny", or leave it out',
  },
  {
    name: "a text where a list belongs",
    text: spec("{selector: {models: gpt-5}}"),
    where: "p.yaml:4:27 spec.selector.models",
    what: '"gpt-5" is not a list',
    fix: 'write ["gpt-5"]',
  },
  {
    name: "a list that matches nothing",
    text: spec("{selector: {routes: []}}"),
    where: "p.yaml:4:27 spec.selector.routes",
    what: "the list is empty",
    fix: "write an entry, or leave an optional key out",
  },
  {
    name: "a number where a name belongs",
    text: spec("{selector: {models: [4]}}"),
    where: "p.yaml:4:28 spec.selector.models[0]",
    what: "4 is a number, not text",
    fix: 'put it in quotes: "4"',
  },
  {
    name: "a URL for a route",
    text: spec('{selector: {routes: ["https://a.example/v1"]}}'),
    where: "p.yaml:4:28 spec.selector.routes[0]",
    what: '"https://a.example/v1" is a URL',
    fix: "write an Envoy route name, or a path that starts with /",
  },
  {
    name: "a section without anything in it",
    text: spec("\n  egress:\n  ingress: {}"),
    where: "p.yaml:5:3 spec.egress",
    what: "the section is empty",
    fix: "write its keys below it, or leave it out",
  },
  {
    name: "a rule without tools",
    text: spec("{action: {rules: [{id: a, decision: deny}]}}"),
    where: "p.yaml:4:25 spec.action.rules[0]",
    what: 'the key "tools" is missing',
    fix: "add tools",
  },
  {
    name: "a rule id of Limen's own",
    text: spec("{action: {rules: [{id: default, decision: deny, tools: [a]}]}}"),
    where: "p.yaml:4:30 spec.action.rules[0].id",
    what: '"default" is an id of Limen\'s own',
    fix: "choose another id",
  },
  {
    name: "one rule id twice",
    text: spec(
      "{action: {rules: [{id: a, decision: deny, tools: [x]}, {id: a, decision: allow, tools: [y]}]}}",
    ),
    where: "p.yaml:4:67 spec.action.rules[1].id",
    what: '"a" is taken already, in p.yaml:4',
    fix: "choose another one",
  },
  {
    name: "one policy name twice",
    text: `${spec("{}")}---\n${spec("{}")}`,
    where: "p.yaml:8:18 metadata.name",
    what: '"a" is taken already, in p.yaml:3',
    fix: "choose another one",
  },
  {
    name: "a name that cannot be printed everywhere",
    text: policy("Team_A"),
    where: "p.yaml:3:18 metadata.name",
    what: '"Team_A" is not a name',
    fix: "use at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
  },
  {
    name: "a canary that ordinary answers hold",
    text: spec("{egress: {promptLeak: {action: deny, canaries: [hello]}}}"),
    where: "p.yaml:4:55 spec.egress.promptLeak.canaries[0]",
    what: "the canary is too short",
    fix: "use at least 8 random characters",
  },
  {
    name: "another kind of document",
    text: spec("{}").replace("BoundaryPolicy", "BoundaryPolice"),
    where: "p.yaml:2:7 kind",
    what: '"BoundaryPolice" is not a kind of document that Limen has',
    fix: 'use "BoundaryPolicy"',
  },
  {
    name: "no spec at all",
    text: spec("{}").replace("spec: {}\n", ""),
    where: "p.yaml:1:1",
    what: 'the key "spec" is missing',
    fix: "add spec",
  },
  {
    name: "an empty file",
    text: "# nothing yet\n",
    where: "p.yaml",
    what: "the file holds no document",
    fix: "write a policy, or remove the file",
  },
];

describe("policy/schema", () => {
  for (const { name, text, where, what, fix } of rows) {
    it(`refuses ${name} and says where, what and how to mend it`, () => {
      const found = problemsOf(text).map((problem) => ({
        where: problem.where,
        what: problem.what,
        fix: problem.fix,
      }));
      assert.deepEqual(found, [{ where, what, fix }]);
    });
  }

  it("shows the line with carets under the mistake", () => {
    const [problem] = problemsOf(spec("{mode: lax}"));
    assert.equal(problem?.excerpt, "4 | spec: {mode: lax}\n  |              ^^^");
  });

  it("shows a part of a line that is too long for a terminal, and nothing a terminal would act on", () => {
    const [problem] = problemsOf(
      spec(`{selector: {routes: ["${"r".repeat(300)}"]}, mode: "\u001b[31m"}`),
    );
    const [line = "", carets = ""] = problem?.excerpt?.split("\n") ?? [];
    assert.ok(line.length < 120 && line.length >= carets.length);
    assert.equal(carets.indexOf("^"), line.indexOf("mode: ") + "mode: ".length);
    assert.equal(problem?.what, String.raw`"\u001b[31m" is not a mode`);
    assert.doesNotMatch(Object.values(problem ?? {}).join(""), /[^\P{Cc}\n]/u);
  });

  it("reports everything that is wrong in several documents at once, in reading order", () => {
    const text = `${policy("A", "{mode: x}")}---\n${policy("b", "{egress: {holdBytes: 0}, foo: 1}")}`;
    assert.deepEqual(
      problemsOf(text).map((problem) => problem.where),
      [
        "p.yaml:3:18 metadata.name",
        "p.yaml:4:14 spec.mode",
        "p.yaml:9:28 spec.egress.holdBytes",
        "p.yaml:9:32 spec.foo",
      ],
    );
  });

  it("has a key for every cause, and lets exactly the allowable ones be opened", () => {
    assert.ok(causes.length > 15);
    for (const cause of causes) {
      const open = problemsOf(spec(`{failure: {${policyKey(cause)}: allow}}`));
      assert.equal(open.length, CAUSES[cause].allowable ? 0 : 1, cause);
      assert.deepEqual(problemsOf(spec(`{failure: {${policyKey(cause)}: deny}}`)), [], cause);
    }
  });

  it("reads every key that exists", () => {
    const [document] = parse(
      policy(
        "all",
        `
  selector:
    routes: [llm, /v1/]
    dialects: [openai-chat]
    models: ["gpt-*"]
    identities: {spiffe: ["spiffe://prod/*"], claims: {azp: [bot]}, headers: {x-team: [support]}}
    tenants: [acme]
    profiles: [refund-flow]
  mode: enforce
  budgetMs: {request: 300}
  ingress:
    limits: {bodyBytes: 1, messages: 2, maxOutputTokens: 3, jsonDepth: 4}
    validation: {models: [gpt-5]}
    passThrough: ["GET /v1/models", "OPTIONS *"]
    injection: {user: off, document: annotate, tool: strip, hidden: deny, sensitivity: strict}
    pii: {action: off, entities: [all]}
    secrets: {action: deny}
  egress:
    pii: {action: redact, entities: [email, iban]}
    secrets: {action: redact}
    promptLeak: {action: flag, canaries: [a-canary-word]}
    limits: {bodyBytes: 5}
    holdBytes: 600
    toolHoldBytes: 5000
  action:
    default: allow
    rules: [{id: r, decision: ask, tools: [t], models: [m]}]
    definitions: {unlisted: deny}
  audit: {durability: strict}
  failure: {unknownShape: allow}`,
      ),
    );
    const { failure, ...rest } = document?.spec ?? {};
    assert.equal(failure?.unknown_shape, "allow");
    assert.equal(failure?.malformed_json, undefined);
    assert.deepEqual(rest, {
      selector: {
        routes: ["llm", "/v1/"],
        dialects: ["openai-chat"],
        models: ["gpt-*"],
        identities: {
          spiffe: ["spiffe://prod/*"],
          claims: new Map([["azp", ["bot"]]]),
          headers: new Map([["x-team", ["support"]]]),
        },
        tenants: ["acme"],
        profiles: ["refund-flow"],
      },
      mode: "enforce",
      budgetMs: 300,
      ingress: {
        limits: { bodyBytes: 1, messages: 2, maxOutputTokens: 3, jsonDepth: 4 },
        models: ["gpt-5"],
        passThrough: ["GET /v1/models", "OPTIONS *"],
        injection: {
          user: "off",
          document: "annotate",
          tool: "strip",
          hidden: "deny",
          sensitivity: "strict",
        },
        pii: { action: "off", entities: ["credit_card", "iban", "email", "us_ssn"] },
        secrets: { action: "deny" },
      },
      egress: {
        pii: { action: "redact", entities: ["iban", "email"] },
        secrets: { action: "redact" },
        promptLeak: { action: "flag", canaries: ["a-canary-word"] },
        limits: { bodyBytes: 5 },
        holdBytes: 600,
        toolHoldBytes: 5000,
      },
      action: {
        default: "allow",
        rules: [{ id: "r", decision: "ask", tools: ["t"], models: ["m"] }],
        unlistedDefinitions: "deny",
      },
      durability: "strict",
    });
  });

  it("reads any text to the end: a document, or problems that say where", () => {
    const whole = readFileSync(DEFAULT_POLICY, "utf8");
    const places = fc.nat({ max: whole.length });
    const inserted = fc.oneof(
      fc.constantFrom(
        "\n",
        ": ",
        "- ",
        "{",
        "]",
        "'",
        '"',
        "&a ",
        "*a ",
        "---\n",
        "\t",
        "null",
        "!x ",
      ),
      fc.string({ unit: "binary", maxLength: 5 }),
    );
    let broken = 0;
    fc.assert(
      fc.property(places, fc.nat({ max: 20 }), inserted, (at, removed, text) => {
        const problems = problemsOf(whole.slice(0, at) + text + whole.slice(at + removed));
        if (problems.length > 0) broken += 1;
        for (const { where, what, fix } of problems) {
          assert.match(where, /^p\.yaml/);
          assert.ok(what !== "" && fix !== "");
        }
      }),
      { numRuns: 200 },
    );
    assert.ok(broken > 20);
  });
});
