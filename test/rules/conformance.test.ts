/** docs/conformance.md against the tests that it names: a promise that is kept by nothing is not made. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { ROOT } from "./source.ts";

const REASONS = [
  "not a server's matter",
  "mode not offered",
  "below Envoy 1.36",
  "not reproducible here",
] as const;
const CASES = 100;

type Row = { readonly name: string; readonly kept: string };

const text = readFileSync(`${ROOT}docs/conformance.md`, "utf8");
const [counts = "", ...sections] = text.split("\n## ");
const rowsOf = (section: string): readonly Row[] =>
  section
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (?:---|\w+ \| kept by)/.test(line))
    .map((line) => {
      const [, name = "", kept = ""] = /^\| (.+?) \| (.+) \|$/.exec(line) ?? [];
      return { name, kept };
    });
const isFinding = (section: string): boolean => section.startsWith("Seen on real Envoys");
const cases = sections.filter((section) => !isFinding(section)).flatMap(rowsOf);
const findings = sections.filter(isFinding).flatMap(rowsOf);

/** What is wrong with the test that a row names; undefined when it exists. */
function missing(kept: string): string | undefined {
  const [, file = "", title = ""] = /^`(test\/[\w/.-]+\.ts)`: (.+)$/.exec(kept) ?? [];
  if (file === "") return "names no test";
  if (!existsSync(ROOT + file)) return `${file} does not exist`;
  const source = readFileSync(ROOT + file, "utf8");
  return source.includes(title) ? undefined : `${file} has no "${title}"`;
}
const isReason = (kept: string): boolean => REASONS.some((reason) => reason === kept);

describe("the table of conformance", () => {
  it("names tests that exist, or one of four reasons", () => {
    assert.ok(cases.length >= CASES && findings.length >= 17, `${cases.length} cases`);
    for (const { name, kept } of cases) {
      assert.equal(isReason(kept) ? undefined : missing(kept), undefined, name);
    }
    for (const { name, kept } of findings) assert.equal(missing(kept), undefined, name);
  });
  it("has each case once", () => {
    assert.equal(new Set(cases.map(({ name }) => name)).size, cases.length);
  });
  it("counts what it says", () => {
    const counted = new Map(rowsOf(counts).map(({ name, kept }) => [name, Number(kept)]));
    const covered = cases.filter(({ kept }) => !isReason(kept)).length;
    assert.equal(counted.get("covered"), covered);
    for (const reason of REASONS) {
      assert.equal(counted.get(reason), cases.filter(({ kept }) => kept === reason).length, reason);
    }
  });
  it("sees a test that is not there", () => {
    assert.notEqual(missing("`test/rules/conformance.test.ts`: no such"), missing("nothing"));
    assert.ok(missing("`test/rules/none.test.ts`: x")?.includes("does not exist"));
    assert.ok(missing(`\`test/rules/layout.test.ts\`: ${["no", "such"].join(" ")}`));
  });
});
