import assert from "node:assert/strict";
import fc from "fast-check";
import { ruleId } from "../../src/core/brand.ts";
import { atOnce } from "../../src/core/steps.ts";
import {
  type Detector,
  NONE,
  OPEN,
  scanAt,
  sweeper,
  wholeSweeper,
} from "../../src/detect/detector.ts";
import { PII } from "../../src/detect/pii/index.ts";
import { awsSecretKey } from "../../src/detect/secrets/aws-secret-key.ts";
import { SECRETS } from "../../src/detect/secrets/index.ts";
import {
  AWS_KEY,
  AWS_SECRET,
  CARD,
  EMAIL,
  GITHUB_TOKEN,
  IBAN,
  OPENAI_KEY,
  PEM,
  SSN,
} from "../egress/samples.ts";

const DETECTORS = [...SECRETS, ...Object.values(PII)];

/** What candidates are made of: prefixes whole and cut, their alphabets, and what stands around them. */
const piece = fc.oneof(
  fc
    .tuple(fc.constantFrom(...SECRETS.flatMap(({ prefixes }) => prefixes ?? [])), fc.nat(40))
    .map(([prefix, cut]) => prefix.slice(0, cut)),
  fc.string({ unit: fc.constantFrom(..."aZ09_-./+= @\n"), maxLength: 50 }),
  fc.constantFrom("secret_access_key=", "PRIVATE KEY-----", " ", "é", "4111 ", "DE", "@b.org"),
);
const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));

describe("a sweep over an unfinished text", () => {
  it("finds, and leaves open, what every detector does by itself", () => {
    const sweep = sweeper(DETECTORS.map((detector) => ({ detector })));
    let opened = 0;
    fc.assert(
      fc.property(text, fc.nat(20), (whole, from) => {
        const scans = DETECTORS.map((detector) => detector.scan(whole, from));
        const { hits, open } = sweep(whole, from, "more");
        const found = scans.flatMap((scan) => scan.found);
        const begins = (a: { start: number; end: number }, b: typeof a) =>
          a.start - b.start || b.end - a.end;
        assert.deepEqual(
          hits.map(({ span }) => span),
          found.toSorted(begins),
        );
        const starts = scans.map((scan) => scan.open).filter((start) => start < whole.length);
        assert.deepEqual(
          open.map(({ start }) => start),
          starts,
        );
        opened += open.length;
      }),
      { numRuns: 1_000 },
    );
    assert.ok(opened > 500);
  });
});

describe("a sweep over a whole text, in steps", () => {
  const rows = DETECTORS.map((detector) => ({ detector }));
  const sweep = sweeper(rows);
  const inSteps = wholeSweeper(rows);
  const same = (whole: string): number => {
    const { hits } = sweep(whole, 0, "ended");
    assert.deepEqual(atOnce(inSteps(whole)), hits);
    return hits.length;
  };
  /** What detectors find, and what ends one just before it would be found. */
  const find = fc.constantFrom(
    ...[EMAIL, CARD, IBAN, SSN, GITHUB_TOKEN, OPENAI_KEY, AWS_KEY, PEM],
    ...[
      `secret_key = ${AWS_SECRET} `,
      `${EMAIL}@`,
      `${CARD}1`,
      `${"-----BEGIN "}A${"x".repeat(300)}`,
    ],
  );
  const STEP = 65_536;

  it("finds what it finds in one go, wherever a step ends", () => {
    let found = 0;
    const filling = fc.constantFrom("a b ", "x", "4", "\n", "é", "-", ". ");
    const near = fc.array(fc.oneof(find, piece), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(filling, fc.nat(600), near, near, (fill, before, first, second) => {
        const head = fill.repeat(Math.ceil((STEP - before) / fill.length)) + first.join(" ");
        found += same(head + fill.repeat(Math.ceil(STEP / fill.length)) + second.join(""));
      }),
      { numRuns: 150 },
    );
    assert.ok(found > 300, `${found}`);
  }).timeout(30_000);

  /** `[` takes what follows with it; `(` is something by itself, but only where a `!` follows, however late. */
  const late: Detector = {
    rule: ruleId("pii.late"),
    kind: "pii",
    trigger: "[\\[(]",
    scan: (whole, from) => {
      const starts = [...whole.matchAll(/[[(]/g)].map(({ index }) => index);
      return scanAt(
        whole,
        starts.filter((start) => start >= from),
        (_, start) => {
          if (whole[start] === "[") return start + 6 < whole.length ? start + 6 : OPEN;
          if (whole.includes("!", start)) return start + 1;
          return whole.endsWith("\0") ? NONE : OPEN;
        },
      );
    },
  };
  it("waits for what decides a candidate, however late that comes", () => {
    const lateRows = [{ detector: late }];
    const [lateSweep, lateSteps] = [sweeper(lateRows), wholeSweeper(lateRows)];
    const bits = fc.array(fc.constantFrom("[", "(", "!", ".", ".".repeat(STEP)), { maxLength: 30 });
    let found = 0;
    fc.assert(
      fc.property(bits, (list) => {
        const whole = list.join("");
        const { hits } = lateSweep(whole, 0, "ended");
        assert.deepEqual(atOnce(lateSteps(whole)), hits);
        found += hits.length;
      }),
      { numRuns: 200 },
    );
    assert.ok(found > 60, `${found}`);
  }).timeout(30_000);
});

describe("the detector of AWS secret keys", () => {
  const key = ["wJ4lrXUtnF", "EMIK7MDEN", "GbPxRfiCYz9", "Q3vT5sWq2L"].join("");
  for (const name of ["secret_access_key", "SecretAccessKey", "\u017fecret\u212aey"]) {
    it(`reads names as its pattern does: ${JSON.stringify(name)}`, () => {
      const assignment = `${name} = ${key}`;
      const { found } = awsSecretKey.scan(`${assignment} `, 0);
      assert.deepEqual(found, [{ start: assignment.length - key.length, end: assignment.length }]);
    });
  }
});
