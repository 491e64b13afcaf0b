/**
 * Runs the Go tests of this folder, in which istiod's own code judges the files of istio/. The first time, Go
 * compiles a good part of Istio: nobody waits for that who did not ask (LIMEN_ISTIO=1, scripts/test --full).
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const cwd = fileURLToPath(new URL(".", import.meta.url));
const COMPILE_LIMIT_MS = 18 * 60_000;
const MODULE = "limen/test/istio";

/** Whether the modules are here, and everything but our own package is compiled. Asks no network. */
function warm(): boolean {
  const args = ["list", "-deps", "-test", "-f", "{{if .Stale}}{{.ImportPath}}{{end}}", "."];
  const env = { ...process.env, GOPROXY: "off" };
  const { status, stdout } = spawnSync("go", args, { cwd, env, encoding: "utf8" });
  const stale = stdout?.split("\n").filter((name) => name !== "" && !name.startsWith(MODULE));
  return status === 0 && stale.length === 0;
}

describe("istiod, by its own code", function () {
  this.timeout(COMPILE_LIMIT_MS);

  it("accepts the files of istio/ and generates what golden/ holds", function () {
    if (spawnSync("go", ["version"]).status !== 0) this.skip();
    if (process.env["LIMEN_ISTIO"] === undefined && !warm()) this.skip();
    // -count=1: the files that the tests read lie outside the module, so Go would not see them change.
    const args = ["test", "-count=1", "-p=2", "-v", "."];
    const timeout = COMPILE_LIMIT_MS;
    const ran = spawnSync("go", args, { cwd, timeout, encoding: "utf8", maxBuffer: 64 << 20 });
    const failed = ran.stdout
      .split("\n")
      .filter((line) => /^ *(--- FAIL|\w+_test\.go:)/.test(line));
    assert.equal(ran.status, 0, `${failed.join("\n")}\n${ran.stderr}`);
    const passed = ran.stdout.match(/^--- PASS/gm)?.length ?? 0;
    assert.ok(passed >= 12, `only ${passed} tests ran`);
  });
});
