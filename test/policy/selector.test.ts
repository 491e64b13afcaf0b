import assert from "node:assert/strict";
import fc from "fast-check";
import { ruleId } from "../../src/core/brand.ts";
import type { CallVerdict } from "../../src/core/control.ts";
import { LimenError, type Problem } from "../../src/core/errors.ts";
import { Identity, NOBODY, type Vouched } from "../../src/core/identity.ts";
import { ALLOW } from "../../src/core/verdict.ts";
import { type ControlFactories, compile } from "../../src/policy/compile.ts";
import { lint } from "../../src/policy/lint.ts";
import { parsePolicies } from "../../src/policy/schema.ts";
import { unvouched } from "../../src/policy/unvouched.ts";
import { NO_TRUST } from "../envoy/trust.ts";
import { parse, policy } from "./files.ts";

const allowed: CallVerdict = { kind: "allow", rule: ruleId("test") };
const request = { judgeRequest: async () => ({ verdict: ALLOW, findings: [] }) };
const factories: ControlFactories = {
  ingress: () => request,
  egress: () => ({
    judgeText: () => ({ verdict: { kind: "allow" }, findings: [], judged: 0, held: 0 }),
    judgeArguments: () => ({ verdict: { kind: "allow" }, findings: [] }),
  }),
  action: () => ({ ...request, judgeTool: () => allowed, judgeCall: () => allowed }),
};

const who = (said: Partial<Vouched>): Identity => new Identity({ ...NOBODY.reveal(), ...said });
const chosen = (texts: readonly string[], identity: Identity): readonly string[] | undefined =>
  compile(parse(...texts), factories).select({ route: "llm", path: "/v1/messages", identity })
    ?.names;
const asks = (name: string, selector: string): string => policy(name, `{selector: ${selector}}`);

const bot = who({
  spiffe: "spiffe://prod/ns/agents/sa/bot",
  claims: new Map([
    ["azp", ["support-bot"]],
    ["groups", ["staff", "support"]],
  ]),
  headers: new Map([["x-team", "support"]]),
  tenant: "acme",
  profile: "refund-flow",
});

describe("policy/selector", () => {
  const rows: readonly (readonly [string, string, boolean])[] = [
    ["a SPIFFE ID in full", "{identities: {spiffe: [spiffe://prod/ns/agents/sa/bot]}}", true],
    [
      "what is below, across slashes",
      '{identities: {spiffe: ["spiffe://prod/ns/agents/*"]}}',
      true,
    ],
    ["a wildcard in the middle", '{identities: {spiffe: ["spiffe://prod/*/sa/bot"]}}', true],
    ["another trust domain", '{identities: {spiffe: ["spiffe://test/*"]}}', false],
    ["a SPIFFE ID that only begins alike", "{identities: {spiffe: [spiffe://prod/ns]}}", false],
    ["a claim", "{identities: {claims: {azp: [support-bot]}}}", true],
    ["one text of a list", "{identities: {claims: {groups: [support, x]}}}", true],
    ["no text of a list", "{identities: {claims: {groups: [admins]}}}", false],
    ["a list never as one text", '{identities: {claims: {groups: ["staff*support"]}}}', false],
    ["a claim that is absent, whatever it is", '{identities: {claims: {sub: ["*"]}}}', false],
    ["a header", "{identities: {headers: {x-team: [support]}}}", true],
    ["a header that is absent", '{identities: {headers: {x-unit: ["*"]}}}', false],
    ["a tenant", '{tenants: ["ac*"]}', true],
    ["another tenant", "{tenants: [Acme]}", false],
    ["a profile", "{profiles: [other, refund-flow]}", true],
    ["another profile", "{profiles: [other]}", false],
    ["all keys", "{tenants: [acme], identities: {claims: {azp: ['*'], groups: [staff]}}}", true],
    ["one key of two", "{tenants: [acme], identities: {claims: {azp: [other]}}}", false],
    ["one claim of two", "{identities: {claims: {azp: ['*'], groups: [admins]}}}", false],
    ["the sender, but not the route", "{routes: [web], tenants: [acme]}", false],
  ];
  for (const [name, selector, matches] of rows) {
    it(`${matches ? "takes" : "leaves"} ${name}`, () => {
      assert.equal(chosen([asks("a", selector)], bot) !== undefined, matches);
    });
  }

  it("takes nobody where somebody is asked for, whatever the wildcards", () => {
    for (const selector of [
      "{identities: {spiffe: ['spiffe://prod/*']}}",
      "{identities: {claims: {azp: ['*']}}}",
      "{identities: {headers: {x-team: ['*']}}}",
      "{tenants: ['*']}",
      "{profiles: ['*']}",
    ]) {
      assert.equal(chosen([asks("a", selector)], NOBODY), undefined);
      assert.deepEqual(chosen([asks("a", selector), policy("b")], NOBODY), ["b"]);
    }
  });

  it("chooses nothing for a doubtful sender where a policy asks, and as ever where none does", () => {
    const doubtful = who({ tenant: "acme", doubtful: true });
    const strict = asks("strict", "{tenants: [acme]}");
    assert.equal(chosen([strict, policy("loose")], doubtful), undefined);
    const elsewhere = asks("strict", "{routes: [web], tenants: [acme]}");
    assert.deepEqual(chosen([elsewhere, policy("loose")], doubtful), ["loose"]);
  });

  it("a sender gains no looser policy by saying less of himself, or too much", () => {
    const texts = [
      asks("a", "{tenants: [acme]}"),
      asks("b", "{identities: {claims: {groups: [staff, x]}}}"),
      asks("c", "{identities: {spiffe: ['spiffe://prod/*']}, profiles: ['r*']}"),
      policy("d"),
    ];
    const full = chosen(texts, bot);
    assert.deepEqual(full, ["a", "b", "c", "d"]);
    const kept = fc.record({ spiffe: fc.boolean(), tenant: fc.boolean(), doubtful: fc.boolean() });
    fc.assert(
      fc.property(kept, ({ spiffe, tenant, doubtful }) => {
        const { spiffe: id, tenant: of, ...rest } = bot.reveal();
        const less = who({
          ...rest,
          spiffe: spiffe ? id : undefined,
          tenant: tenant ? of : undefined,
          doubtful,
        });
        const names = chosen(texts, less);
        if (doubtful) assert.equal(names, undefined);
        else
          assert.deepEqual(
            names,
            full.filter((n) => (n !== "a" || tenant) && (n !== "c" || spiffe)),
          );
      }),
    );
  });

  it("keeps names of senders out of what may be printed", () => {
    const selector =
      "{models: [gpt], tenants: [acme], profiles: [p], identities: {spiffe: [spiffe://prod/a], claims: {azp: [b]}, headers: {x-team: [c]}}}";
    assert.deepEqual([...compile(parse(asks("a", selector)), factories).printable], ["gpt"]);
  });

  const refused: readonly (readonly [string, string, string])[] = [
    [
      "a trust domain with a wildcard",
      '{identities: {spiffe: ["spiffe://*/ns/a"]}}',
      'spec.selector.identities.spiffe[0]: "spiffe://*/ns/a" is not a SPIFFE ID; write it like spiffe://prod/ns/agents/*: the trust domain in full, wildcards in the path',
    ],
    [
      "an ID without its scheme",
      "{identities: {spiffe: [prod/ns/a]}}",
      'spec.selector.identities.spiffe[0]: "prod/ns/a" is not a SPIFFE ID; write it like spiffe://prod/ns/agents/*: the trust domain in full, wildcards in the path',
    ],
    [
      "a section that asks nothing",
      "{identities: {}}",
      "spec.selector.identities: it asks nothing, so everybody would match; write spiffe, claims or headers below it, or leave it out",
    ],
    [
      "claims without a name",
      "{identities: {claims: {}}}",
      "spec.selector.identities.claims: the map is empty; write an entry, or leave it out",
    ],
    [
      "a claim that any value of would do for, written as nothing",
      "{identities: {claims: {azp: []}}}",
      "spec.selector.identities.claims.azp: the list is empty; write an entry, or leave an optional key out",
    ],
    [
      "a header in another spelling",
      "{identities: {headers: {X-Team: [a]}}}",
      'spec.selector.identities.headers.X-Team: "X-Team" is not the name of a header; write lower-case letters, digits and hyphens, like x-team',
    ],
    [
      "a value that no trusted header can have",
      '{tenants: ["a,b"]}',
      'spec.selector.tenants[0]: "a,b" can match nothing: a trusted header holds printable ASCII without a comma; write what Envoy writes into the header',
    ],
    [
      "a key that does not exist",
      "{identities: {claim: {azp: [a]}}}",
      'spec.selector.identities.claim: "claim" is not a known key; write "claims"',
    ],
  ];
  for (const [name, selector, message] of refused) {
    it(`refuses ${name}`, () => {
      const problems: Problem[] = [];
      parsePolicies([{ name: "a.yaml", text: asks("a", selector) }], problems);
      const said = problems.map(({ where, what, fix }) => `${where}: ${what}; ${fix}`);
      assert.deepEqual(
        said.map((line) => line.replace(/^a\.yaml:\d+:\d+ /, "")),
        [message],
      );
    });
  }

  it("warns of entries that another one in the same list covers", () => {
    const selector =
      "{tenants: ['a*', acme], identities: {spiffe: ['spiffe://prod/*', spiffe://prod/a/b], claims: {azp: [x, x]}}}";
    assert.deepEqual(
      lint(parse(asks("a", selector))).map(({ where }) => where.replace(/^\S+ /, "")),
      [
        "spec.selector.identities.spiffe[1]",
        "spec.selector.identities.claims.azp[1]",
        "spec.selector.tenants[1]",
      ],
    );
  });

  it("says what a policy asks for and the service does not trust, where and how to mend it", () => {
    const selector =
      "{tenants: [a], profiles: [b], identities: {headers: {x-team: [c], x-unit: [d]}, claims: {azp: [e]}}}";
    const trust = { ...NO_TRUST, headers: ["x-team", "x-agent"], profile: "x-agent" };
    const problems = unvouched(parse(asks("a", selector)), trust);
    assert.equal(
      new LimenError("policy_invalid", problems).message,
      '0.yaml:4:28 spec.selector.tenants: limen.yaml trusts no header for "tenants", so this policy would never be chosen; let Envoy overwrite a header and add it to trust.headers, like {tenant: x-tenant}, or leave the key out\n' +
        '0.yaml:4:92 spec.selector.identities.headers.x-unit: limen.yaml trusts no header for "x-unit", so this policy would never be chosen; let Envoy overwrite a header and add it to trust.headers, like {NAME: x-unit}, or leave the key out',
    );
  });
});
