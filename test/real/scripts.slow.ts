/** The scripts as a person calls them: from anywhere, through links, with and without sense. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LIMEN } from "./limen.ts";

const script = (name: string): string =>
  fileURLToPath(new URL(`../../scripts/${name}`, import.meta.url));

describe("scripts", function () {
  this.timeout(120_000); // the pinned Node may have to be fetched
  it("limen runs from any folder, through a chain of links, and hands its arguments and exit code on", () => {
    const dir = mkdtempSync(join(tmpdir(), "limen-link "));
    symlinkSync(LIMEN, join(dir, "one"));
    symlinkSync("one", join(dir, "two"));
    const help = spawnSync(join(dir, "two"), ["policy", "check", "--help"], {
      cwd: "/",
      encoding: "utf8",
    });
    assert.deepEqual([help.status, help.stderr], [0, ""]);
    assert.match(help.stdout, /limen policy check/);
    const wrong = spawnSync(join(dir, "two"), ["no such command"], { cwd: "/", encoding: "utf8" });
    assert.equal(wrong.status, 2);
    rmSync(dir, { recursive: true });
  });

  it("limen finds the Node that it needs although an old one is first in PATH", () => {
    const dir = mkdtempSync(join(tmpdir(), "limen-path-"));
    const old = spawnSync("sh", [
      "-c",
      `printf '#!/bin/sh\\necho v20.19.0\\n' >"$0/node" && chmod +x "$0/node"`,
      dir,
    ]);
    assert.equal(old.status, 0);
    // Whether it fetches or finds the pinned one, the old one is not what runs.
    const env = { ...process.env, PATH: `${dir}:${process.env["PATH"]}` };
    const { status, stdout } = spawnSync(LIMEN, ["--help"], { env, encoding: "utf8" });
    assert.deepEqual([status, stdout.includes("usage: limen")], [0, true]);
    rmSync(dir, { recursive: true });
  });

  it("test refuses an option that it does not know, and rewriting expectations in CI", () => {
    const run = (args: string[], env = {}) =>
      spawnSync(process.execPath, [script("test.ts"), ...args], {
        env: { ...process.env, ...env },
        encoding: "utf8",
      });
    const unknown = run(["--allow-skipp", "real"]);
    assert.equal(unknown.status, 2);
    assert.match(unknown.stderr, /usage: scripts\/test/);
    assert.equal(run([], { CI: "true", UPDATE_GOLDEN: "1" }).status, 2);
  });
});
