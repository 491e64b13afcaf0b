import assert from "node:assert/strict";
import { format, inspect } from "node:util";
import { Identity } from "../../src/core/identity.ts";

describe("core/identity", () => {
  it("has no printable form", () => {
    const canary = ["spiffe://prod/ns", "canary"].join("/");
    const identity = new Identity({
      spiffe: canary,
      claims: new Map([[canary, [canary]]]),
      headers: new Map([[canary, canary]]),
      tenant: canary,
      profile: canary,
      doubtful: false,
    });
    const head = { identity };
    const printed = [
      `${identity}`,
      String(identity),
      JSON.stringify(head),
      inspect(head, { showHidden: true, depth: 9 }),
      format("%s %o %O %j", identity, identity, identity, identity),
      JSON.stringify(Object.entries(identity)),
      inspect(structuredClone({ ...head, identity: { ...identity } }), { depth: 9 }),
    ];
    for (const text of printed) assert.doesNotMatch(text, /canary/);
    assert.equal(printed[2], '{"identity":"[identity]"}');
    assert.equal(identity.reveal().spiffe, canary); // so that there was something to print
  });
});
