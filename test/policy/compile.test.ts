import assert from "node:assert/strict";
import fc from "fast-check";
import { ruleId } from "../../src/core/brand.ts";
import type { CallVerdict, RequestControl, TextControl } from "../../src/core/control.ts";
import { globMatch } from "../../src/core/glob.ts";
import { NOBODY } from "../../src/core/identity.ts";
import {
  INJECTION_ACTIONS,
  PII_ENTITIES,
  SENSITIVITIES,
  TEXT_ACTIONS,
} from "../../src/core/settings.ts";
import { ALLOW } from "../../src/core/verdict.ts";
import { type ControlFactories, compile, digestOf } from "../../src/policy/compile.ts";
import { covers } from "../../src/policy/covers.ts";
import { parse, policy } from "./files.ts";

/** Controls that judge nothing (their answers are not looked at here), and how often each was made. */
function factories() {
  const made = { ingress: 0, egress: 0, action: 0 };
  const counted =
    <C>(kind: keyof typeof made, control: C) =>
    (): C => {
      made[kind] += 1;
      return control;
    };
  const request: RequestControl = { judgeRequest: async () => ({ verdict: ALLOW, findings: [] }) };
  const text: TextControl = {
    judgeText: (all) => ({
      verdict: { kind: "allow" },
      findings: [],
      judged: all.length,
      held: all.length,
    }),
    judgeArguments: () => ({ verdict: { kind: "allow" }, findings: [] }),
  };
  const allowed: CallVerdict = { kind: "allow", rule: ruleId("test") };
  const value: ControlFactories = {
    ingress: counted("ingress", request),
    egress: counted("egress", text),
    action: counted("action", { ...request, judgeTool: () => allowed, judgeCall: () => allowed }),
  };
  return { made, value };
}

const setOf = (...texts: readonly string[]) => compile(parse(...texts), factories().value);
const chat = { route: "llm", path: "/v1/chat/completions", identity: NOBODY } as const;

describe("policy/compile", () => {
  describe("selection", () => {
    const rows: readonly (readonly [string, string, Record<string, string>, boolean])[] = [
      ["a policy without selector", "{}", {}, true],
      ["a route by glob", '{routes: ["llm-*"]}', { route: "llm-a" }, true],
      ["a route that differs", '{routes: ["llm-*"]}', { route: "web" }, false],
      ["a route by name, and nobody says it", '{routes: ["llm-*"]}', { route: "" }, false],
      ["a path where nobody says the route", "{routes: [/v2/]}", { route: "" }, false],
      ["one of two routes", "{routes: [a, b]}", { route: "b" }, true],
      ["a path below an entry", "{routes: [/v1/chat]}", { path: "/v1/chat/completions" }, true],
      ["a path that only begins alike", "{routes: [/v1/chat]}", { path: "/v1/chats" }, false],
      ["a path entry that ends with a slash", "{routes: [/v1/]}", { path: "/v1/x" }, true],
      ["a path with a wildcard inside", '{routes: ["/*/chat"]}', { path: "/v1/chat" }, true],
      ["a path never as a route", "{routes: [/v1/]}", { route: "/v1/x", path: "/" }, false],
      ["a model by glob", '{models: ["gpt-*"]}', { model: "gpt-5" }, true],
      ["a model that differs", '{models: ["gpt-*"]}', { model: "claude" }, false],
      ["a model not known yet", '{models: ["gpt-*"]}', {}, true],
      ["a model name too long to match", "{models: [gpt]}", { model: "x".repeat(257) }, true],
      ["a dialect not known yet", "{dialects: [openai-chat]}", {}, true],
      [
        "a dialect that differs",
        "{dialects: [openai-chat]}",
        { dialect: "anthropic-messages" },
        false,
      ],
      ["only when all keys match", "{routes: [llm], models: [a]}", { model: "b" }, false],
    ];
    for (const [name, selector, facts, matches] of rows) {
      it(`${matches ? "takes" : "leaves"} ${name}`, () => {
        const set = setOf(policy("a", `{selector: ${selector}}`));
        assert.equal(set.select({ ...chat, ...facts }) !== undefined, matches);
      });
    }

    it("passes over no policy by route name when nobody says the route, beside one that matches", () => {
      const set = setOf(
        policy("strict", "{selector: {routes: [llm]}}"),
        policy("loose", "{selector: {routes: [/v1/]}}"),
      );
      assert.deepEqual(set.select({ ...chat, route: "" })?.names, ["loose", "strict"]);
      assert.deepEqual(set.select({ ...chat, route: "web" })?.names, ["loose"]);
    });

    it("gives nothing when no policy matches, and the names of all that do", () => {
      const set = setOf(
        policy("b", "{selector: {routes: [llm]}}"),
        policy("a"),
        policy("c", "{selector: {routes: [other]}}"),
      );
      assert.deepEqual(set.select(chat)?.names, ["a", "b"]);
      assert.equal(setOf(policy("x", "{selector: {routes: [y]}}")).select(chat), undefined);
    });
  });

  describe("merging", () => {
    it("takes what nobody says from the defaults and fills every field", () => {
      const settings = setOf(policy("a")).select(chat)?.settings;
      assert.deepEqual(settings?.ingress.injection, {
        user: "flag",
        document: "deny",
        tool: "deny",
        hidden: "deny",
        sensitivity: "balanced",
      });
      assert.deepEqual(settings?.budgetMs, { request: 1_000 });
      assert.deepEqual(settings?.action, { kind: "unlisted" });
      assert.equal(settings?.failure.unknown_shape, "deny");
      assert.equal(settings?.failure.media_not_inspected, "allow");
      assert.equal(settings?.ingress.limits.bodyBytes, 8_388_608);
    });

    it("takes the strictest word, the smallest limit, all entities and what both let pass", () => {
      const settings = setOf(
        policy(
          "a",
          `
  ingress: {limits: {bodyBytes: 100}, passThrough: ["GET /v1/*", "OPTIONS *"],
            injection: {user: off, tool: annotate, document: strip, sensitivity: permissive},
            secrets: {action: deny}}
  egress: {pii: {action: flag, entities: [iban]}, promptLeak: {action: flag, canaries: [canary-bb]}}
  action: {default: allow, rules: [{id: x, decision: allow, tools: [x]}], definitions: {unlisted: deny}}
  budgetMs: {request: 1500}
  failure: {unknownShape: allow, encodedBody: allow}`,
        ),
        policy(
          "b",
          `
  ingress: {limits: {bodyBytes: 200}, passThrough: ["GET /v1/models"], injection: {user: flag, tool: strip, document: flag, sensitivity: strict},
            secrets: {action: redact}}
  egress: {pii: {action: redact, entities: [email]}, promptLeak: {action: off, canaries: [canary-aa]}}
  action: {rules: [{id: y, decision: deny, tools: [y]}]}
  budgetMs: {request: 200}
  failure: {unknownShape: deny}`,
        ),
      ).select(chat)?.settings;
      assert.equal(settings?.ingress.limits.bodyBytes, 100);
      assert.deepEqual(settings?.ingress.passThrough, ["GET /v1/models"]);
      assert.deepEqual(settings?.ingress.injection, {
        user: "flag",
        document: "strip",
        tool: "strip",
        hidden: "deny",
        sensitivity: "strict",
      });
      assert.deepEqual(settings?.budgetMs, { request: 200 });
      assert.equal(settings?.ingress.secrets.action, "deny");
      assert.deepEqual(settings?.egress.pii, { action: "redact", entities: ["iban", "email"] });
      assert.deepEqual(settings?.egress.promptLeak, {
        action: "flag",
        canaries: ["canary-aa", "canary-bb"],
      });
      assert.deepEqual(settings?.action, {
        kind: "rules",
        default: "deny",
        rules: [
          { id: "x", decision: "allow", tools: ["x"], models: [] },
          { id: "y", decision: "deny", tools: ["y"], models: [] },
        ],
        unlistedDefinitions: "deny",
      });
      assert.equal(settings?.failure.unknown_shape, "deny");
      assert.equal(settings?.failure.encoded_body, "allow"); // the other says nothing about it
    });

    it("adds no entities of a policy that looks for none", () => {
      const set = setOf(
        policy("a", "{egress: {pii: {action: off}}}"),
        policy("b", "{egress: {pii: {action: deny, entities: [iban]}}}"),
      );
      assert.deepEqual(set.select(chat)?.settings.egress.pii, {
        action: "deny",
        entities: ["iban"],
      });
    });

    it("lets a model pass only when every list of models has it", () => {
      const set = setOf(
        policy("a", '{ingress: {validation: {models: ["gpt-*"]}}}'),
        policy("b", '{ingress: {validation: {models: ["*-mini", claude]}}}'),
        policy("c"),
      );
      const passes = (model: string): boolean => {
        const models = set.select({ ...chat, model })?.settings.ingress.models ?? [];
        return models.some((glob) => globMatch(glob, model));
      };
      const models = ["gpt-5-mini", "gpt-5", "o-mini", "claude"];
      assert.deepEqual(models.map(passes), [true, false, false, false]);
    });

    const one = <T>(...words: readonly T[]) => fc.constantFrom(...words);
    const maybe = <T>(part: fc.Arbitrary<T>) => fc.option(part, { nil: undefined });
    const pii = fc.record({
      action: one(...TEXT_ACTIONS),
      entities: fc.uniqueArray(one(...PII_ENTITIES), { minLength: 1 }),
    });
    const spec = fc.record({
      ingress: maybe(
        fc.record({
          limits: fc.record({ bodyBytes: fc.integer({ min: 1, max: 999 }) }),
          injection: fc.record({
            user: one(...INJECTION_ACTIONS),
            sensitivity: one(...SENSITIVITIES),
          }),
          passThrough: fc.uniqueArray(one("GET /a", "GET /a/*", "GET /*", "OPTIONS *")),
          pii,
        }),
      ),
      egress: maybe(fc.record({ pii, holdBytes: fc.integer({ min: 512, max: 999 }) })),
      failure: maybe(fc.record({ unknownShape: one("allow", "deny") })),
    });
    const specs = fc.array(spec, { minLength: 2, maxLength: 5 });
    const texts = (list: readonly unknown[]) =>
      list.map((said, i) => policy(`p${i}`, JSON.stringify(said)));

    it("gives the same settings and digest whatever the order of the files", () => {
      fc.assert(
        fc.property(specs, fc.infiniteStream(fc.nat()), (list, random) => {
          const given = texts(list);
          const weights = given.map(() => random.next().value ?? 0);
          const mixed = given.toSorted(
            (a, b) => (weights[given.indexOf(a)] ?? 0) - (weights[given.indexOf(b)] ?? 0),
          );
          const [first, second] = [setOf(...given), setOf(...mixed)];
          assert.equal(first.digest, second.digest);
          assert.deepEqual(first.select(chat)?.settings, second.select(chat)?.settings);
        }),
        { numRuns: 60 },
      );
    });

    it("never loosens what one policy says because of another", () => {
      fc.assert(
        fc.property(specs, (list) => {
          const merged = setOf(...texts(list)).select(chat)?.settings;
          assert.ok(merged);
          for (const said of list) {
            const { ingress, egress } = said;
            const rank = <W>(order: readonly W[], word: W) => order.indexOf(word);
            assert.ok(merged.ingress.limits.bodyBytes <= (ingress?.limits.bodyBytes ?? Infinity));
            assert.ok(merged.egress.holdBytes <= (egress?.holdBytes ?? Infinity));
            if (ingress) {
              const { user, sensitivity } = ingress.injection;
              assert.ok(
                rank(SENSITIVITIES, merged.ingress.injection.sensitivity) >=
                  rank(SENSITIVITIES, sensitivity),
              );
              assert.ok(
                rank(INJECTION_ACTIONS, merged.ingress.injection.user) >=
                  rank(INJECTION_ACTIONS, user),
              );
              for (const entry of merged.ingress.passThrough) {
                assert.ok(ingress.passThrough.some((own) => covers(own, entry)));
              }
            }
            if (egress && egress.pii.action !== "off") {
              assert.ok(
                rank(TEXT_ACTIONS, merged.egress.pii.action) >=
                  rank(TEXT_ACTIONS, egress.pii.action),
              );
              assert.ok(
                egress.pii.entities.every((one) => merged.egress.pii.entities.includes(one)),
              );
            }
            if (said.failure?.unknownShape === "deny")
              assert.equal(merged.failure.unknown_shape, "deny");
          }
        }),
        { numRuns: 60 },
      );
    });
  });

  describe("the set", () => {
    it("has a digest of what the documents mean, not of how they are written", () => {
      const json = JSON.stringify({
        spec: { mode: "enforce" },
        metadata: { name: "a" },
        kind: "BoundaryPolicy",
        apiVersion: "limen.dev/v1alpha1",
      });
      const [yaml, other] = [policy("a", "{mode: enforce} # a comment"), policy("a", "{}")];
      assert.match(digestOf(parse(yaml)), /^[0-9a-f]{64}$/);
      assert.equal(digestOf(parse(yaml)), digestOf(parse(json)));
      assert.notEqual(digestOf(parse(yaml)), digestOf(parse(other)));
      assert.equal(digestOf(parse(yaml, policy("b"))), digestOf(parse(policy("b"), yaml)));
    });

    it("is frozen all the way down", () => {
      const effective = setOf(policy("a", "{egress: {pii: {action: deny}}}")).select(chat);
      const unfrozen = (value: unknown): boolean =>
        typeof value === "object" &&
        value !== null &&
        (!Object.isFrozen(value) || Object.values(value).some(unfrozen));
      assert.ok(effective);
      assert.equal(unfrozen(effective.settings), false);
      assert.ok(Object.isFrozen(effective) && Object.isFrozen(effective.names));
    });

    it("may print the names that documents spell, and no pattern", () => {
      const set = setOf(
        policy(
          "a",
          '{selector: {routes: [llm, "x-*"]}, ingress: {validation: {models: [gpt-5]}}, action: {rules: [{id: r, decision: allow, tools: [send, "get_*"], models: [claude]}]}}',
        ),
      );
      assert.deepEqual([...set.printable].sort(), ["claude", "gpt-5", "llm", "send"]);
    });

    it("makes controls at load, once for each settings, and keeps a bounded number of combinations", () => {
      const { made, value } = factories();
      const names = Array.from({ length: 12 }, (_, i) => `m${i}`);
      const texts = names.map((name) => policy(name, `{selector: {models: ["*${name}.*"]}}`));
      const set = compile(parse(...texts), value);
      assert.deepEqual(made, { ingress: 1, egress: 1, action: 1 });
      const pick = (bits: number) =>
        set.select({ ...chat, model: `${names.filter((_, i) => bits & (1 << i)).join(".")}.` });
      const first = pick(1);
      assert.equal(pick(1), first);
      for (let bits = 1; bits < 600; bits += 1) pick(bits);
      assert.notEqual(pick(1), first); // forgotten and made anew
      assert.deepEqual(pick(1), first);
      assert.deepEqual(made, { ingress: 1, egress: 1, action: 1 });
    });

    it("fails the load when a control cannot be built from any policy", () => {
      const broken = { ...factories().value, egress: () => assert.fail("no such detector") };
      assert.throws(() => compile(parse(policy("a")), broken), /no such detector/);
    });
  });

  it("covers only what a glob really matches", () => {
    const glob = fc
      .array(fc.constantFrom("a", "b", "?", "*"), { maxLength: 6 })
      .map((c) => c.join(""));
    const text = fc.array(fc.constantFrom("a", "b"), { maxLength: 8 }).map((c) => c.join(""));
    let seen = 0;
    fc.assert(
      fc.property(glob, glob, text, (outer, inner, sample) => {
        if (!covers(outer, inner) || !globMatch(inner, sample)) return;
        seen += 1;
        assert.ok(globMatch(outer, sample), `${outer} ${inner} ${sample}`);
      }),
      { numRuns: 5000 },
    );
    assert.ok(seen > 50);
    assert.ok(covers("get_*", "get_ticket") && covers("*", "a*b?") && !covers("a?", "a*"));
  });
});
