/**
 * Cases as data: `<detector>/<name>.in.json` is what comes in, `.want.json` what is found. `ok-` cases must find
 * nothing that is flagged. `UPDATE_GOLDEN=1` writes the expectations anew, except in CI.
 */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Finding } from "../../src/core/finding.ts";
import type { Provenance } from "../../src/core/segment.ts";
import { PII_ENTITIES } from "../../src/core/settings.ts";
import { sweeper } from "../../src/detect/detector.ts";
import { enforcements, findingOf } from "../../src/detect/enforce.ts";
import { detectByRules } from "../../src/detect/injection/detect.ts";
import { passagesOf } from "../../src/detect/injection/passages.ts";

/** `text` may come in parts, so that no scanner takes a sample key for a real one. */
type Case = { provenance?: Provenance; text: string | string[] };
type Want = { rule: string; kind: string; text: string; flagged: boolean }[];

const sweep = sweeper(
  enforcements({ pii: { action: "flag", entities: PII_ENTITIES }, secrets: { action: "flag" } }),
);
const injected = (text: string, provenance: Provenance): readonly Finding[] =>
  detectByRules(passagesOf(text, provenance)).flatMap(({ findings }) => findings);
const structured = (text: string): readonly Finding[] =>
  sweep(text, 0, "ended").hits.map(findingOf);

function found({ provenance = "user", text }: Case, detector: string): Want {
  const whole = [text].flat().join("");
  const findings = detector === "injection" ? injected(whole, provenance) : structured(whole);
  return findings.map(({ rule, kind, span, score, threshold }) => ({
    rule,
    kind,
    text: shown(whole.slice(span.start, span.end)),
    flagged: score >= threshold,
  }));
}

/** The ends of what a finding covers: enough to see that the span is right, too little for a key. */
function shown(text: string): string {
  const points = [...text];
  if (points.length <= 16) return text;
  return `${points.slice(0, 7).join("")}(${text.length})${points.slice(-4).join("")}`;
}

const update = process.env["UPDATE_GOLDEN"] === "1";
const root = import.meta.dirname;
const folders = readdirSync(root, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith(".in.json"))
  .map((entry) => join(entry.parentPath, entry.name))
  .sort();

describe("detectors on written cases", () => {
  it("has cases, and is never rewritten in CI", () => {
    assert.ok(folders.length > 80, `${folders.length} cases`);
    assert.ok(!(update && process.env["CI"] !== undefined), "UPDATE_GOLDEN is refused in CI");
  });
  for (const path of folders) {
    const name = path.slice(root.length + 1, -".in.json".length);
    it(name, () => {
      const input: Case = JSON.parse(readFileSync(path, "utf8"));
      const got = found(input, name.split("/")[0]!);
      const wantPath = path.replace(".in.json", ".want.json");
      if (update && process.env["CI"] === undefined) {
        writeFileSync(wantPath, `${JSON.stringify(got, null, 2)}\n`);
      }
      assert.ok(existsSync(wantPath), "no expectation: write it with UPDATE_GOLDEN=1 and read it");
      assert.deepEqual(got, JSON.parse(readFileSync(wantPath, "utf8")));
      if (basename(path).startsWith("ok-")) {
        assert.deepEqual(
          got.filter(({ flagged }) => flagged),
          [],
        );
      } else {
        assert.ok(
          got.some(({ flagged }) => flagged),
          "a case that is not ok- finds something",
        );
      }
    });
  }
});
