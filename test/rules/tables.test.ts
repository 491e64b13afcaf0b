/** Closed lists against what is written about them: the README, and the tests that produce each entry. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { CAUSES, causes, policyKey } from "../../src/core/cause.ts";
import { ERROR_CODES } from "../../src/core/errors.ts";
import { METRICS } from "../../src/telemetry/names.ts";
import { filesIn, ROOT, sourcesIn } from "./source.ts";

/** Tests and their data, without the rules: a rule that lists a cause does not produce it. */
const evidence = [
  ...sourcesIn("test")
    .filter(({ path }) => !path.startsWith("test/rules/"))
    .map(({ text }) => text),
  ...filesIn("test", (path) => path.endsWith(".json") || path.endsWith(".yaml")).map((path) =>
    readFileSync(`${ROOT}${path}`, "utf8"),
  ),
].join("\n");

const isNamed = (word: string): boolean =>
  new RegExp(`(?<![\\w.])${word.replaceAll(".", "\\.")}(?:_sum|_bucket)?(?!\\w)`).test(evidence);

describe("closed lists", () => {
  it("a word that nothing names is seen as such", () => {
    assert.ok(evidence.length > 100_000);
    assert.equal(isNamed(["no", "such", "cause"].join("_")), false);
    assert.equal(isNamed("malformed_jso"), false);
  });

  const lists: Readonly<Record<string, readonly string[]>> = {
    cause: causes,
    "error code": ERROR_CODES,
    metric: Object.keys(METRICS),
  };
  for (const [kind, words] of Object.entries(lists)) {
    for (const word of words) {
      it(`the ${kind} ${word} is named by a test`, () => assert.ok(isNamed(word)));
    }
  }

  it("the README's table of causes is the table in core/cause.ts", () => {
    const readme = readFileSync(`${ROOT}README.md`, "utf8");
    const [, table = ""] = /<!-- causes -->([\s\S]*?)<!-- \/causes -->/.exec(readme) ?? [];
    const rows = table.split("\n").filter((line) => line.startsWith("|"));
    const expected = causes.map((cause) => {
      const { status, allowable, fallback, meaning } = CAUSES[cause];
      const open = allowable ? (fallback === "allow" ? "yes, and is by default" : "yes") : "never";
      return `| \`${cause}\` | ${status} | \`failure.${policyKey(cause)}\` | ${open} | ${meaning} |`;
    });
    assert.deepEqual(rows.slice(2), expected);
  });
});
