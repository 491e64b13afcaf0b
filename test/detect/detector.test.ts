import assert from "node:assert/strict";
import fc from "fast-check";
import { sweeper } from "../../src/detect/detector.ts";
import { PII } from "../../src/detect/pii/index.ts";
import { awsSecretKey } from "../../src/detect/secrets/aws-secret-key.ts";
import { SECRETS } from "../../src/detect/secrets/index.ts";

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
