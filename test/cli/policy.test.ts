import assert from "node:assert/strict";
import { join } from "node:path";
import { policyCheck } from "../../src/cli/policy.ts";
import { DEFAULT_POLICY } from "../../src/policy/store.ts";
import { Folder, policy } from "../policy/files.ts";

async function check(...args: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await policyCheck(args, {
    stdout: (text) => out.push(text),
    stderr: (text) => err.push(text),
  });
  return { code, out: out.join(""), err: err.join("") };
}

describe("limen policy check", () => {
  it("says ok, with the names and the digest, and exits 0", async () => {
    const { code, out, err } = await check(DEFAULT_POLICY);
    assert.match(out, /^ok: limen-default\ndigest [0-9a-f]{64}\n$/);
    assert.deepEqual([code, err], [0, ""]);
  });

  it("prints each error with its line, carets and remedy, and exits 1", async () => {
    using folder = new Folder();
    const file = folder.write("p.yaml", policy("p", "{mode: x, foo: 1}"));
    assert.deepEqual(await check(file), {
      code: 1,
      out: "",
      err: `error: ${file}:4:14 spec.mode: "x" is not a mode
  4 | spec: {mode: x, foo: 1}
    |              ^
  fix: use "enforce", or leave the key out

error: ${file}:4:17 spec.foo: "foo" is not a known key
  4 | spec: {mode: x, foo: 1}
    |                 ^^^
  fix: leave it out; known here: selector, mode, budgetMs, ingress, egress, action, audit, failure

2 errors
`,
    });
  });

  it("prints warnings and still exits 0", async () => {
    using folder = new Folder();
    const file = folder.write("p.yaml", policy("p", '{selector: {routes: ["a*", ab]}}'));
    const { code, out, err } = await check(file);
    assert.equal(code, 0);
    assert.match(out, /^ok: p, 1 warning\n/);
    assert.match(err, /^warning: .*: "ab" adds nothing: "a\*" in the same list matches it all\n/);
  });

  it("checks several files as the one set that they are", async () => {
    using folder = new Folder();
    const [a, b] = [folder.write("a.yaml", policy("p")), folder.write("b.yaml", policy("p"))];
    const { code, err } = await check(a, b);
    assert.equal(code, 1);
    assert.match(err, /"p" is taken already, in .*a\.yaml:3/);
  });

  it("writes one JSON object on demand", async () => {
    using folder = new Folder();
    const file = folder.write("p.yaml", policy("p", "{mode: x}"));
    const bad = await check("--json", file);
    assert.deepEqual([bad.code, bad.err], [1, ""]);
    assert.deepEqual(JSON.parse(bad.out), {
      ok: false,
      policies: [],
      warnings: [],
      errors: [
        {
          where: `${file}:4:14 spec.mode`,
          what: '"x" is not a mode',
          fix: 'use "enforce", or leave the key out',
          excerpt: "4 | spec: {mode: x}\n  |              ^",
        },
      ],
    });
    const { ok, digest, policies, errors } = JSON.parse(
      (await check("--json", DEFAULT_POLICY)).out,
    );
    assert.deepEqual([ok, digest.length, policies, errors], [true, 64, ["limen-default"], []]);
  });

  it("exits 3 when a file cannot be read and 2 when it is used wrongly", async () => {
    const missing = await check("/nowhere/p.yaml");
    assert.equal(missing.code, 3);
    assert.match(missing.err, /^error: \/nowhere\/p\.yaml: there is no such file or folder\n/);
    assert.equal((await check()).code, 2);
    assert.equal((await check("--frobnicate", "p.yaml")).code, 2);
  });

  it("has a help text whose examples are its own arguments", async () => {
    const { code, out } = await check("--help");
    assert.equal(code, 0);
    using folder = new Folder();
    folder.write("policy.yaml", policy("p"));
    const examples = [...out.matchAll(/^ {2}limen policy check (.*)$/gm)].map(([, args = ""]) =>
      args.split(" "),
    );
    assert.equal(examples.length, 2);
    for (const args of examples) {
      const here = args.map((arg) =>
        arg === "policy.yaml" ? join(folder.path, arg) : arg === "policy.d/" ? folder.path : arg,
      );
      assert.equal((await check(...here)).code, 0);
    }
  });
});
