/** Names and sizes of files, and that every test is one that runs. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { basename, matchesGlob } from "node:path";
import { checkRule, matches } from "./rule.ts";
import { filesIn, ROOT, type SourceFile, sourcesIn } from "./source.ts";

const sources = sourcesIn("src");
const tests = sourcesIn("test");

const VAGUE = /^(?:utils?|helpers?|common|shared|misc|manager|service)s?$/;
/** Lists of detectors are the only files of that name. */
const INDEXES: ReadonlySet<string> = new Set([
  "src/detect/pii/index.ts",
  "src/detect/secrets/index.ts",
]);
const LINES = 400;

const badName = ({ path }: SourceFile): string[] => {
  const name = basename(path).replace(/\.(?:(?:test|slow)\.)?ts$/, "");
  if (VAGUE.test(name)) return ["says nothing about what is in it"];
  if (name === "index" && !INDEXES.has(path)) return ["is an index"];
  return /^[a-z0-9]+(?:-[a-z0-9]+)*$/.test(name) ? [] : ["is not in kebab-case"];
};
const lines = (text: string): number => text.split("\n").length - 1;
const tooLong = ({ text }: SourceFile): string[] =>
  lines(text) > LINES ? [`${lines(text)} lines`] : [];

const { scripts, mocha } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8"));
const fast: readonly string[] = mocha.spec;
const all: readonly string[] = [/--spec '([^']+)'/.exec(scripts.test)?.[1] ?? ""];
/** Node's glob has no braces. */
const runs = (path: string, globs: readonly string[]): boolean =>
  globs
    .flatMap((glob) => {
      const [, before = "", words = "", after = ""] = /^(.*)\{([^}]*)\}(.*)$/.exec(glob) ?? [];
      return words === "" ? [glob] : words.split(",").map((word) => before + word + after);
    })
    .some((glob) => matchesGlob(path, glob));

const unrun = (file: SourceFile): string[] => {
  if (matches(file, /^(?:describe|it)\s*\(/gm).length === 0) return [];
  return runs(file.path, all) ? [] : ["has tests that no pattern of package.json runs"];
};
const skipped = (file: SourceFile): readonly string[] =>
  matches(file, /\b(?:describe|it)\.(?:skip|only)\b/g);
const starts = (file: SourceFile): string[] =>
  runs(file.path, fast) ? file.imports.filter((from) => from === "node:child_process") : [];

describe("layout", () => {
  checkRule({
    promise: "a file is named in kebab-case after what is in it",
    files: [...sources, ...tests],
    atLeast: 150,
    find: badName,
    broken: [
      ["src/llm/utils.ts", ""],
      ["src/audit/helper.ts", ""],
      ["test/audit/common.test.ts", ""],
      ["src/llm/index.ts", ""],
      ["src/llm/openaiChat.ts", ""],
    ],
    sound: [["src/detect/pii/index.ts", ""]],
  });
  checkRule({
    promise: `a source file has at most ${LINES} lines`,
    files: sources,
    atLeast: 80,
    find: tooLong,
    broken: [["src/llm/x.ts", "x\n".repeat(LINES + 1)]],
    sound: [["src/llm/x.ts", "x\n".repeat(LINES)]],
  });
  checkRule({
    promise: "every test is run by `npm test`",
    files: tests,
    atLeast: 60,
    find: unrun,
    broken: [
      ["test/llm/json-test.ts", 'describe("x", () => {});'],
      ["test/llm/json.spec.ts", 'it("x", () => {});'],
    ],
    sound: [["test/llm/json.slow.ts", 'describe("x", () => {});']],
  });
  checkRule({
    promise: "no test is switched off or alone",
    files: tests,
    atLeast: 60,
    find: skipped,
    broken: [
      ["test/x.test.ts", 'it.skip("x", () => {});'],
      ["test/x.test.ts", 'describe.only("x", () => {});'],
    ],
  });
  checkRule({
    promise: "a test that starts a process is slow",
    files: tests,
    atLeast: 60,
    find: starts,
    broken: [["test/x.test.ts", 'import { spawn } from "node:child_process";']],
    sound: [["test/x.slow.ts", 'import { spawn } from "node:child_process";']],
  });

  it("the same tests run fast and slow: what is fast is in both", () => {
    const fastTests = tests.filter(({ path }) => runs(path, fast));
    assert.ok(fastTests.length > 50);
    for (const { path } of fastTests) assert.ok(runs(path, all), path);
  });

  it("the top of the repository holds what the design names", () => {
    const top = new Set(
      filesIn("", (path) => !path.includes("/", 1)).map((path) => basename(path)),
    );
    for (const name of [
      "README.md",
      "ARCHITECTURE.md",
      "DECISIONS.md",
      "CHANGELOG.md",
      "SECURITY.md",
      "LICENSE",
    ]) {
      assert.ok(top.has(name), name);
    }
  });
});
