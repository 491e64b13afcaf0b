import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { init } from "../../src/cli/init.ts";
import { policyCheck } from "../../src/cli/policy.ts";
import { loadConfig } from "../../src/config.ts";
import { loadPolicies } from "../../src/policy/store.ts";
import { Folder } from "../policy/files.ts";

function run(...args: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const io = { stdout: (text: string) => out.push(text), stderr: (text: string) => err.push(text) };
  return { code: init(args, io), out: out.join(""), err: err.join("") };
}

/** A starter with every commented-out key put in force: `# key: value` lines that are YAML. */
const uncommented = (text: string): string =>
  text.replace(/^( *)# ?(?=( *)[a-zA-Z]+:( |$)| *- \{)/gm, "$1");

describe("limen init", () => {
  it("writes files that pass the check and load, into a folder that it makes", async () => {
    using folder = new Folder();
    const target = join(folder.path, "new", "boundary");
    const { code, out } = run(target);
    assert.equal(code, 0);
    assert.match(
      out,
      /^wrote .*limen\.yaml and .*policy\.yaml\nnext: limen serve -c .*limen\.yaml\n$/,
    );
    const said: string[] = [];
    const io = {
      stdout: (text: string) => said.push(text),
      stderr: (text: string) => said.push(text),
    };
    assert.equal(await policyCheck([join(target, "policy.yaml")], io), 0);
    assert.match(said.join(""), /^ok: starter\n/); // no warnings either
    const config = loadConfig(join(target, "limen.yaml"), {});
    assert.deepEqual(config.policies, [join(target, "policy.yaml")]);
    assert.equal(config.audit.dir, join(target, "limen-data/audit"));
  });

  it("says in its comments only what would be accepted", async () => {
    using folder = new Folder();
    run(folder.path);
    const files = ["policy.yaml", "limen.yaml"].map((name) => join(folder.path, name));
    const [policy = "", limen = ""] = files.map((file) => uncommented(readFileSync(file, "utf8")));
    const [document] = await loadPolicies([
      folder.write("full.yaml", policy.replace('"..."', '"a-random-text"')),
    ]);
    assert.equal(document?.spec.action?.rules.length, 4);
    assert.deepEqual(document?.spec.selector?.models, ["gpt-*", "claude-*"]);
    const config = loadConfig(
      folder.write("full-limen.yaml", limen.replace(/^ +listen: .*$/gm, "")),
      {},
    );
    const { listen, admin, trust, detection, drain } = loadConfig(undefined, {});
    assert.deepEqual(
      [config.listen, config.admin, config.trust, config.detection, config.drain],
      [listen, admin, trust, detection, drain],
    );
    for (const [line] of limen.matchAll(/^ +listen: .*$/gm))
      loadConfig(folder.write("listen.yaml", line), {});
  });

  it("overwrites nothing and writes nothing when one of its files is there", () => {
    using folder = new Folder();
    folder.write("policy.yaml", "mine");
    const { code, err } = run(folder.path);
    assert.equal(code, 1);
    assert.match(err, /policy\.yaml exists already, nothing was written\n$/);
    assert.deepEqual(readdirSync(folder.path), ["policy.yaml"]);
    assert.equal(readFileSync(join(folder.path, "policy.yaml"), "utf8"), "mine");
  });

  it("lists what it wrote as JSON on demand", () => {
    using folder = new Folder();
    const { out } = run("--json", folder.path);
    const written = ["limen.yaml", "policy.yaml"].map((name) => join(folder.path, name));
    assert.deepEqual(JSON.parse(out), { written });
  });

  it("exits 3 when it cannot write and 2 when it is used wrongly", () => {
    using folder = new Folder();
    const file = folder.write("a-file", "");
    assert.equal(run(join(file, "below")).code, 3);
    assert.equal(run("a", "b").code, 2);
    assert.equal(run("--force").code, 2);
    assert.equal(run("--help").code, 0);
  });
});
