import assert from "node:assert/strict";
import fc from "fast-check";
import type { Trust, Vouched } from "../../src/core/identity.ts";
import { identityOf } from "../../src/envoy/identity.ts";
import { NO_TRUST } from "./trust.ts";

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** google.protobuf.Value as the loader gives it. */
function asValue(json: Json): object {
  if (typeof json === "string") return { stringValue: json, kind: "stringValue" };
  if (typeof json === "number") return { numberValue: json, kind: "numberValue" };
  if (typeof json === "boolean") return { boolValue: json, kind: "boolValue" };
  if (json === null) return { nullValue: "NULL_VALUE", kind: "nullValue" };
  if (Array.isArray(json)) return { listValue: { values: json.map(asValue) }, kind: "listValue" };
  return { structValue: structOf(json as Record<string, Json>), kind: "structValue" };
}
const structOf = (json: Readonly<Record<string, Json>>): object => ({
  fields: Object.fromEntries(Object.entries(json).map(([key, value]) => [key, asValue(value)])),
});
const tokenOf = (claims: Json, filter = "envoy.filters.http.jwt_authn", name = "jwt"): object => ({
  filter_metadata: { [filter]: structOf({ [name]: claims }) },
});

type Part = {
  readonly principal?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly metadata?: unknown;
};
const read = (said: Part, trust: Trust = NO_TRUST): Vouched =>
  identityOf(
    {
      principal: said.principal ?? "",
      headers: new Map(Object.entries(said.headers ?? {})),
      metadata: said.metadata,
    },
    trust,
  ).reveal();

const TRUST: Trust = {
  headers: ["x-tenant", "x-team"],
  tenant: "x-tenant",
  profile: undefined,
  jwtPayload: "jwt",
};
const nobody = read({});

describe("envoy/identity", () => {
  it("is nobody when Envoy says nothing, whatever the client's headers say", () => {
    const headers = {
      "x-tenant": "acme",
      "x-forwarded-client-cert": "URI=spiffe://prod/ns/agents/sa/bot",
      authorization: "Bearer abc",
      "x-limen-tenant": "acme",
    };
    assert.deepEqual(read({ headers }), nobody);
    assert.deepEqual(
      [nobody.spiffe, nobody.tenant, nobody.doubtful, nobody.headers.size, nobody.claims.size],
      [undefined, undefined, false, 0, 0],
    );
  });

  describe("of a certificate", () => {
    const rows: readonly (readonly [string, string, "taken" | "left" | "doubtful"])[] = [
      ["a SPIFFE ID", "spiffe://prod/ns/agents/sa/bot", "taken"],
      ["a trust domain alone", "spiffe://prod", "taken"],
      ["no certificate", "", "left"],
      ["another URI", "https://example.com/bot", "left"],
      ["a subject, as ext_authz says it", "CN=spiffe://prod/bot", "left"],
      ["a path that goes up", "spiffe://prod/ns/agents/../admins", "doubtful"],
      ["an escaped slash", "spiffe://prod/ns%2fagents", "doubtful"],
      ["an empty segment", "spiffe://prod//agents", "doubtful"],
      ["two names in one", "spiffe://prod/a, spiffe://prod/b", "doubtful"],
      ["a letter that looks like another", "spiffe://prod/аgents", "doubtful"],
      ["2,048 units", `spiffe://prod/${"a".repeat(2_034)}`, "taken"],
      ["2,049 units", `spiffe://prod/${"a".repeat(2_035)}`, "doubtful"],
    ];
    for (const [name, principal, expected] of rows) {
      it(`${name} is ${expected}`, () => {
        const { spiffe, doubtful } = read({ principal });
        assert.deepEqual(
          [spiffe, doubtful],
          [expected === "taken" ? principal : undefined, expected === "doubtful"],
        );
      });
    }
  });

  describe("of a token", () => {
    const claims = (payload: Json): unknown => {
      const { claims: found, doubtful } = read({ metadata: tokenOf(payload) });
      return doubtful ? "doubtful" : Object.fromEntries(found);
    };

    it("takes texts and the texts of lists, and nothing that is no text", () => {
      const payload = {
        azp: "support-bot",
        groups: ["a", 1, "b", ["c"], { d: "d" }, null, true, ""],
        level: 5,
        admin: true,
        nothing: null,
        nested: { role: "admin" },
        empty: "",
        none: [],
      };
      assert.deepEqual(claims(payload), { azp: ["support-bot"], groups: ["a", "b"] });
    });

    it("reads only the verified payload: of jwt_authn, under the configured name", () => {
      for (const metadata of [
        tokenOf({ azp: "x" }, "envoy.filters.http.lua"),
        tokenOf({ azp: "x" }, undefined, "other"),
        tokenOf("x"),
        tokenOf([{ azp: "x" }]),
        { filter_metadata: [] },
        { filter_metadata: null },
        "x",
      ]) {
        assert.deepEqual(read({ metadata }), nobody);
      }
      const renamed = { ...NO_TRUST, jwtPayload: "payload" };
      const metadata = tokenOf({ azp: "x" }, undefined, "payload");
      assert.deepEqual(read({ metadata }, renamed).claims, new Map([["azp", ["x"]]]));
    });

    it("takes names of object members for what they are: names of claims", () => {
      for (const name of ["constructor", "toString", "__proto__"]) {
        assert.deepEqual(read({}, { ...NO_TRUST, jwtPayload: name }), nobody);
        assert.equal(read({ metadata: tokenOf({}) }).claims.get(name), undefined);
      }
      const payload = { constructor: "a", toString: "b" } as unknown as Json;
      assert.deepEqual(read({ metadata: tokenOf(payload) }).claims.get("toString"), ["b"]);
    });

    it("is doubtful above 1,024 texts or 2,048 units of one, and not at them", () => {
      const many = (n: number): Json => Array.from({ length: n }, () => "g");
      assert.deepEqual(claims({ groups: many(1_024) }), { groups: many(1_024) });
      assert.equal(claims({ groups: many(1_025) }), "doubtful");
      assert.equal(claims({ a: many(1_000), b: many(25) }), "doubtful");
      assert.deepEqual(claims({ a: "x".repeat(2_048) }), { a: ["x".repeat(2_048)] });
      assert.equal(claims({ a: "x".repeat(2_049) }), "doubtful");
      assert.equal(claims({ a: ["x".repeat(2_049)] }), "doubtful");
    });

    it("does not follow a token that is nested without end", () => {
      let deep: object = { stringValue: "x" };
      for (let i = 0; i < 100_000; i += 1) deep = { listValue: { values: [deep] } };
      const metadata = {
        filter_metadata: {
          "envoy.filters.http.jwt_authn": {
            fields: { jwt: { structValue: { fields: { a: deep, b: { stringValue: "b" } } } } },
          },
        },
      };
      assert.deepEqual(read({ metadata }).claims, new Map([["b", ["b"]]]));
    });
  });

  describe("of trusted headers", () => {
    it("takes those that are listed, and calls one of them the tenant", () => {
      const headers = { "x-tenant": "acme", "x-team": "support", "x-other": "no" };
      const { tenant, profile, headers: trusted, doubtful } = read({ headers }, TRUST);
      assert.deepEqual(
        [tenant, profile, doubtful, Object.fromEntries(trusted)],
        ["acme", undefined, false, { "x-tenant": "acme", "x-team": "support" }],
      );
    });

    const odd: readonly (readonly [string, string])[] = [
      ["two lines, joined", "evil, acme"],
      ["one line with a comma", "acme,"],
      ["a line with nothing beside another", ", acme"],
      ["bytes that are no ASCII", "acm\u00e9"],
      ["a control character", "acme\t"],
      ["2,049 units", "a".repeat(2_049)],
    ];
    for (const [name, value] of odd) {
      it(`is doubtful for ${name}`, () => {
        const { tenant, headers, doubtful } = read({ headers: { "x-tenant": value } }, TRUST);
        assert.deepEqual([tenant, headers.size, doubtful], [undefined, 0, true]);
      });
    }

    it("an empty one is an absent one", () => {
      assert.deepEqual(read({ headers: { "x-tenant": "" } }, TRUST), nobody);
    });
  });

  it("takes any metadata and any principal without a throw, and nothing that is not said", () => {
    const words = new Set(["azp", "groups", "a", "b"]);
    fc.assert(
      fc.property(fc.jsonValue(), fc.string({ unit: "binary" }), (json, principal) => {
        const { spiffe, claims } = read({ principal, metadata: tokenOf(json as Json) });
        if (spiffe !== undefined) assert.equal(spiffe, principal);
        const written = JSON.stringify(json);
        for (const text of [...claims.values()].flat())
          assert.ok(written.includes(JSON.stringify(text)) || words.has(text));
        read({ metadata: json });
      }),
    );
  });
});
