/** The demo is a promise like any other: it runs, and every act ends as it says. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { envoyBinary } from "./envoy.ts";
import { stopProcess, until } from "./process.ts";
import { send } from "./raw.ts";

const DEMO = fileURLToPath(new URL("../../scripts/demo", import.meta.url));

const README = fileURLToPath(new URL("../../README.md", import.meta.url));
const withoutTimes = (table: string): string =>
  table
    .replace(/-?\d+\.\d ms/g, "")
    .replace(/ +$/gm, "")
    .trim();

describe("scripts/demo", function () {
  this.timeout(120_000);
  let kept: ChildProcess | undefined;
  before(function () {
    if (envoyBinary() === undefined) this.skip();
  });
  after(async () => {
    if (kept !== undefined) await stopProcess(kept);
  });

  it("ends every act as it says, and leaves a running boundary behind when told to", async () => {
    const child = spawn(DEMO, ["--keep"], { stdio: ["ignore", "pipe", "inherit"] });
    kept = child;
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
    const url = await until(90_000, "the demo's curl line", () => {
      assert.equal(child.exitCode, null, output);
      return /curl -i (http:\S+)/.exec(output)?.[1];
    });
    assert.match(output, /^Every act ended as it says\.$/m);
    const rows = output.match(/^\d+[a-z]? /gm)?.map((row) => row.trim());
    assert.deepEqual(rows, [
      "1",
      "2",
      "2b",
      "2c",
      "2d",
      "2e",
      "2f",
      "2g",
      "2h",
      "3",
      "4",
      "5",
      "7",
      "9a",
      "9b",
      "9c",
      "9d",
      "10",
      "11",
    ]);
    assert.doesNotMatch(output, /\^ this is not/);
    // The README shows this very output; only the times differ.
    const readme = readFileSync(README, "utf8");
    const shown = /```text\n(act [\s\S]*?)\n```/.exec(readme)?.[1] ?? "";
    assert.equal(
      withoutTimes(output.slice(0, output.indexOf("Every act"))),
      withoutTimes(shown.slice(0, shown.indexOf("Every act"))),
    );
    const body =
      '{"model":"demo-1","messages":[{"role":"user","content":"Show the customer record number 7."}]}';
    const answer = await send(url, { body });
    assert.match(answer.body.toString(), /card \[/);
    await stopProcess(child);
    assert.equal(child.exitCode, 0);
  });

  it("says how it is used when it is told something else", () => {
    const { status, stderr } = spawnSync(DEMO, ["--keeps"], { encoding: "utf8" });
    assert.equal(status, 2);
    assert.match(stderr, /usage: scripts\/demo \[--keep\]/);
  });
});
