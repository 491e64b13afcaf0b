import assert from "node:assert/strict";
import type { EgressSettings } from "../../src/core/settings.ts";
import { createEgress } from "../../src/egress/egress.ts";
import { jsonUnescaped } from "../../src/egress/unescape.ts";
import { AWS_KEY, CANARY, CARD, EGRESS, EMAIL, GITHUB_TOKEN, IBAN } from "./samples.ts";

const judge = (text: string, settings: Partial<EgressSettings> = {}) =>
  createEgress({ ...EGRESS, ...settings }).judgeText(text, 0, "ended");
const args = (value: string, settings: Partial<EgressSettings> = {}) =>
  createEgress({ ...EGRESS, ...settings }).judgeArguments(value);

describe("egress", () => {
  it("lets an ordinary answer pass without findings", () => {
    const text = "The capital of Peru is Lima; it has 10 million people (2023).";
    assert.deepEqual(judge(text), {
      verdict: { kind: "allow" },
      findings: [],
      judged: text.length,
      held: text.length,
    });
  });

  it("masks in order, each value under its name", () => {
    const { verdict } = judge(`${CARD} and ${IBAN}, ${GITHUB_TOKEN}`);
    assert.ok(verdict.kind === "mutate");
    assert.equal(verdict.rule, "pii.credit_card");
    assert.deepEqual(
      verdict.redactions.map(({ replacement }) => replacement),
      ["[credit_card]", "[iban]", "[github_token]"],
    );
  });

  it("refuses a canary in any of its forms, and names it before a secret at the same place", () => {
    const { verdict } = judge(`the token is ${Buffer.from(CANARY).toString("base64")}`);
    assert.deepEqual(verdict, { kind: "deny", reason: "prompt_leak", rule: "leak.canary" });
  });

  it("is told of the first refusal in the text, whichever detector finds it", () => {
    const settings = { secrets: { action: "deny" } } as const;
    const first = judge(`${GITHUB_TOKEN} ${CANARY}`, settings).verdict;
    assert.deepEqual(first, {
      kind: "deny",
      reason: "secret_detected",
      rule: "secret.github_token",
    });
    assert.equal(judge(`${CANARY} ${GITHUB_TOKEN}`, settings).verdict.kind, "deny");
  });

  it("finds nothing with every action off", () => {
    const off = {
      pii: { ...EGRESS.pii, action: "off" },
      secrets: { action: "off" },
      promptLeak: { action: "off", canaries: [CANARY] },
    } as const;
    assert.deepEqual(judge(`${CARD} ${AWS_KEY} ${CANARY}`, off).findings, []);
  });

  it("judges only what begins at or after the given place, with what stands before as context", () => {
    const text = `SSN ${EMAIL} 536-22-8726`;
    const { findings } = createEgress(EGRESS).judgeText(text, 4 + EMAIL.length, "ended");
    assert.deepEqual(
      findings.map(({ rule }) => rule),
      ["pii.us_ssn"],
    );
  });
});

describe("the arguments of a call", () => {
  it("are refused for a credential, also when its action is redact", () => {
    assert.deepEqual(args(JSON.stringify({ key: AWS_KEY })).verdict, {
      kind: "deny",
      reason: "secret_detected",
      rule: "secret.aws_access_key",
    });
    assert.equal(args(`{"k":"${AWS_KEY}"}`, { secrets: { action: "flag" } }).verdict.kind, "allow");
  });

  it("keep personal data, which is recorded", () => {
    const { verdict, findings } = args(JSON.stringify({ to: EMAIL }), {
      pii: { ...EGRESS.pii, action: "deny" },
    });
    assert.equal(verdict.kind, "allow");
    assert.deepEqual(
      findings.map(({ rule }) => rule),
      ["pii.email"],
    );
  });

  it("are read as their tool reads them: escapes hide nothing, and nothing is found twice", () => {
    const escaped = [...AWS_KEY].map((unit) => `\\u00${unit.charCodeAt(0).toString(16)}`).join("");
    assert.equal(args(`{"key":"${escaped}"}`).verdict.kind, "deny");
    assert.equal(args(`{"key":"line\\n${AWS_KEY}"}`).findings.length, 1);
    assert.equal(args(`echo \\${AWS_KEY}`).findings.length, 1);
  });

  it("are refused for a canary", () => {
    assert.equal(args(JSON.stringify({ q: CANARY })).verdict.kind, "deny");
  });
});

describe("JSON escapes", () => {
  it("are resolved as JSON.parse resolves them", () => {
    for (const value of ['a"b\\c/d', "\b\f\n\r\t", "é😀\u0000", "\\u0041", ""]) {
      assert.equal(`"${value}"`, jsonUnescaped(JSON.stringify(value)));
    }
  });
  it("that are broken stay as they are, without their backslash", () => {
    assert.equal(jsonUnescaped("\\u12 \\u12g4 \\x \\"), "u12 u12g4 x \\");
  });
});
