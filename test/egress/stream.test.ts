import assert from "node:assert/strict";
import fc from "fast-check";
import { CONTEXT_UNITS, type TextControl } from "../../src/core/control.ts";
import type { EgressSettings, TextAction } from "../../src/core/settings.ts";
import { createEgress } from "../../src/egress/egress.ts";
import {
  AWS_KEY,
  AWS_SECRET,
  CANARY,
  CARD,
  EGRESS,
  EMAIL,
  GITHUB_TOKEN,
  IBAN,
  OPENAI_KEY,
  PEM,
  SSN,
} from "./samples.ts";

type Told = { text: string; denied: string | undefined; rules: string[] };

/** The window as a stream keeps it: judges, releases up to `held`, forgets all but the left context. */
function streamed(control: TextControl, pieces: readonly string[]): Told {
  let text = "";
  let base = 0;
  let [judgedTo, releasedTo] = [0, 0];
  const whole = pieces.join("");
  const told: Told = { text: "", denied: undefined, rules: [] };
  let redactions: { start: number; end: number; replacement: string }[] = [];
  const judge = (ended: boolean): void => {
    const { verdict, findings } = control.judgeText(
      text,
      judgedTo - base,
      ended ? "ended" : "more",
    );
    told.rules.push(...findings.map(({ rule }) => rule));
    if (verdict.kind === "deny") told.denied ??= verdict.rule;
    if (verdict.kind !== "mutate") return;
    for (const { span, replacement } of verdict.redactions) {
      const redaction = { start: span.start + base, end: span.end + base, replacement };
      assert.ok(redaction.start >= releasedTo, "a redaction begins in released text");
      redactions.push(redaction);
    }
  };
  const release = (to: number): void => {
    for (const { start, end, replacement } of redactions.filter(
      (redaction) => redaction.start < to,
    )) {
      assert.ok(end <= to, "text is released in the middle of a redaction");
      told.text += whole.slice(releasedTo, start) + replacement;
      releasedTo = end;
    }
    redactions = redactions.filter(({ start }) => start >= to);
    told.text += whole.slice(releasedTo, to);
    releasedTo = Math.max(releasedTo, to);
  };
  for (const piece of pieces) {
    text += piece;
    const { judged, held } = control.judgeText(text, judgedTo - base, "more");
    assert.ok(held >= judged);
    judge(false);
    judgedTo = base + judged;
    release(base + held);
    const keepFrom = Math.max(0, Math.min(judgedTo, releasedTo) - CONTEXT_UNITS);
    if (keepFrom > base) {
      text = text.slice(keepFrom - base);
      base = keepFrom;
    }
  }
  judge(true);
  release(whole.length);
  return told;
}

const fragments = [
  ...[GITHUB_TOKEN, OPENAI_KEY, AWS_KEY, PEM, CARD, IBAN, EMAIL, SSN, CANARY],
  `aws_secret_access_key = "${AWS_SECRET}"`,
  CARD.replaceAll(" ", "-"),
  CARD.replaceAll(" ", ""),
  IBAN.replaceAll(" ", ""),
  Buffer.from(`x${CANARY}y`).toString("base64"),
  [...CANARY].join(" "),
  "4539 5787",
  "37",
  "sk-",
  "ghp_",
  "-----BEGIN ",
  "-----",
  "a.b-c_d@",
  "@x.org",
  "social security number 536228726",
  "DE89",
  "eyJhbGciOiJIUzI1NiJ9.",
  "secretAccessKey: ",
];
const separators = [
  "",
  " ",
  "  ",
  "\n",
  ".",
  "-",
  "_",
  "@",
  "/",
  "\\n",
  "0",
  "a",
  ",",
  "\u200b",
  "é",
  "😀",
];
const texts = fc
  .array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom(...fragments) },
      { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 12 }) },
      {
        weight: 1,
        arbitrary: fc.constantFrom("word ".repeat(70), "7".repeat(90), "ab-".repeat(120)),
      },
      { weight: 3, arbitrary: fc.constantFrom(...separators) },
    ),
    { maxLength: 14 },
  )
  .map((parts) => parts.join(""));
const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 });

function piecesOf(text: string, sizes: readonly number[]): string[] {
  const pieces: string[] = [];
  for (let at = 0, i = 0; at < text.length; i += 1) {
    const size = sizes[i % sizes.length]!;
    pieces.push(text.slice(at, at + size));
    at += size;
  }
  return pieces;
}

const settingsOf = (
  pii: TextAction,
  secrets: TextAction,
  canary: "flag" | "deny",
): EgressSettings => ({
  ...EGRESS,
  pii: { ...EGRESS.pii, action: pii },
  secrets: { action: secrets },
  promptLeak: { action: canary, canaries: [CANARY] },
});

describe("egress on a stream", () => {
  const rows = [
    settingsOf("redact", "redact", "flag"),
    settingsOf("flag", "redact", "deny"),
    settingsOf("redact", "deny", "flag"),
    settingsOf("deny", "flag", "flag"),
  ];
  for (const settings of rows) {
    const { pii, secrets, promptLeak } = settings;
    const name = `pii ${pii.action}, secrets ${secrets.action}, canary ${promptLeak.action}`;
    it(`says and releases the same however the text is cut (${name})`, () => {
      const control = createEgress(settings);
      let found = 0;
      fc.assert(
        fc.property(texts, cuts, (text, sizes) => {
          const whole = streamed(control, [text]);
          found += whole.rules.length;
          const cut = streamed(control, piecesOf(text, sizes));
          // A refused stream ends where its refusal is found: what is masked before depends on the cuts.
          if (whole.denied !== undefined) cut.text = whole.text;
          assert.deepEqual(cut, whole);
          const { verdict, findings } = control.judgeText(text, 0, "ended");
          assert.deepEqual(
            whole.rules,
            findings.map(({ rule }) => rule),
          );
          assert.equal(whole.denied, verdict.kind === "deny" ? verdict.rule : undefined);
        }),
        { numRuns: 400 },
      );
      assert.ok(found > 100, "the texts hold findings"); // so that "the same" cannot mean "nothing"
    });
  }

  it("never releases a unit of a value that the whole text would have redacted", () => {
    const control = createEgress(settingsOf("redact", "redact", "flag"));
    for (const value of [GITHUB_TOKEN, OPENAI_KEY, AWS_KEY, PEM, CARD, IBAN, EMAIL]) {
      const text = `Here it is: ${value}, as you asked.`;
      const { text: told } = streamed(control, [...text]);
      assert.match(told, /^Here it is: \[\w+\], as you asked\.$/);
    }
  });

  it("holds nothing back for a detector that only flags, and reports what it flags", () => {
    const control = createEgress(settingsOf("flag", "off", "flag"));
    const { judged, held } = control.judgeText("write to joe@exa", 0, "more");
    assert.deepEqual({ judged, held }, { judged: 9, held: 16 });
    assert.deepEqual(streamed(control, [..."write to joe@exa.org now"]).rules, ["pii.email"]);
  });

  const endless = {
    "a card": "4".repeat(20),
    "an IBAN": `DE89${"3".repeat(19)}`,
    "a local part": `x${"y".repeat(64)}`,
    "a host name": `a@${"b".repeat(254)}`,
    "a key with a prefix": `ghp_${"a".repeat(38)}`,
    "a secret key": `secret_key=${"aB1/".repeat(10)}c`,
    "the header of a key with prose behind": `-----BEGIN ${"PRIVATE KEY-----"}${" word".repeat(81)} `,
  };
  for (const [what, text] of Object.entries(endless)) {
    it(`lets go of what has become too long for ${what}`, () => {
      const { held } = createEgress(EGRESS).judgeText(text, 0, "more");
      // What an e-mail address could still begin with stays: the last 64 units.
      assert.ok(held === text.length || held >= text.length - 64, `${text.length - held} held`);
      const { held: secrets } = createEgress({
        ...EGRESS,
        pii: { ...EGRESS.pii, entities: ["credit_card", "iban"] },
      }).judgeText(text, 0, "more");
      // Two letters may begin an IBAN or a canary.
      assert.ok(secrets >= text.length - 2, `${text.length - secrets} held`);
    });
  }

  it("holds back an ordinary text by a word at most", () => {
    const control = createEgress(EGRESS);
    const text = "The quick brown fox jumps over the lazy dog and skips 12 of them";
    for (let end = 1; end <= text.length; end += 1) {
      const { held } = control.judgeText(text.slice(0, end), 0, "more");
      assert.ok(end - held <= "brown".length + 1, `${end - held} units held after ${end}`);
    }
  });
});
