import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { envoyCheck } from "../../src/cli/envoy.ts";
import { edit, SHIPPED } from "../envoy-config/edits.ts";
import { Folder, policy } from "../policy/files.ts";

const ENVOY = fileURLToPath(new URL("../../envoy/envoy.yaml", import.meta.url));
const OPEN = edit(
  SHIPPED["envoy/envoy.yaml"],
  "failure_mode_allow: false",
  "failure_mode_allow: true",
);

async function check(...args: readonly string[]) {
  const out: string[] = [];
  const err: string[] = [];
  const code = await envoyCheck(args, {
    stdout: (text) => out.push(text),
    stderr: (text) => err.push(text),
  });
  return { code, out: out.join(""), err: err.join("") };
}

describe("limen envoy check", () => {
  it("says ok and exits 0", async () => {
    assert.deepEqual(await check(ENVOY), { code: 0, out: `ok: ${ENVOY}\n`, err: "" });
  });

  it("prints each error with its line, carets, consequence, rule and remedy, and exits 1", async () => {
    using folder = new Folder();
    const file = folder.write("e.yaml", OPEN);
    const line = OPEN.split("\n").findIndex((one) => one.includes("failure_mode_allow: true")) + 1;
    const path =
      "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.failure_mode_allow";
    assert.deepEqual(await check(file), {
      code: 1,
      out: "",
      err: `error: ${file}:${line}:43 ${path}: failure_mode_allow is on: every fault of Limen lets the exchange pass unread [failure-mode-allow]
  ${line} |                       failure_mode_allow: true
      |                                           ^^^^
  fix: set it to false

1 error
`,
    });
  });

  it("prints warnings and still exits 0", async () => {
    using folder = new Folder();
    const text = edit(SHIPPED["envoy/envoy.yaml"], "route_cache_action: RETAIN", "x: 1");
    const clear = edit(text, "x: 1", "route_cache_action: CLEAR");
    const file = folder.write("e.yaml", clear);
    const { code, out, err } = await check(file);
    assert.deepEqual([code, out], [0, `ok: ${file}, 1 warning\n`]);
    assert.match(err, /^warning: .* \[route-cache-cleared\]\n/);
  });

  it("checks each of several files by itself", async () => {
    using folder = new Folder();
    const [a, b] = [folder.write("a.yaml", OPEN), folder.write("b.yaml", "a: 1\n")];
    const { code, err } = await check(a, ENVOY, b);
    assert.equal(code, 1);
    assert.match(
      err,
      /a\.yaml.*\[failure-mode-allow\][\s\S]*b\.yaml:1:1: .*\[no-filter\][\s\S]*2 errors\n$/,
    );
  });

  it("holds the buffers against the policies that it is given", async () => {
    using folder = new Folder();
    const small = folder.write("a.yaml", policy("a"));
    const large = folder.write("b.yaml", policy("b", "{ingress: {limits: {bodyBytes: 33554433}}}"));
    assert.equal((await check("--policy", small, ENVOY)).code, 0);
    const { code, err } = await check("--policy", small, "--policy", large, ENVOY);
    assert.equal(code, 1);
    assert.match(err, /\(33554432 bytes, the policy allows 33554433\)/);
  });

  it("finds the filter by the name that it is given", async () => {
    assert.equal((await check("--filter", "limen.ext_proc", ENVOY)).code, 0);
    assert.match((await check("--filter=guard", ENVOY)).err, /\[no-filter\]/);
  });

  it("writes one JSON object on demand", async () => {
    using folder = new Folder();
    const bad = await check("--json", folder.write("e.yaml", OPEN));
    assert.deepEqual([bad.code, bad.err], [1, ""]);
    const { ok, errors, warnings } = JSON.parse(bad.out);
    assert.deepEqual([ok, errors.length, warnings], [false, 1, []]);
    assert.deepEqual(Object.keys(errors[0]).sort(), [
      "excerpt",
      "fix",
      "rule",
      "severity",
      "what",
      "where",
    ]);
    assert.equal((await check("--json", ENVOY)).out, '{"ok":true,"errors":[],"warnings":[]}\n');
    const missing = await check("--json", "/nowhere/e.yaml");
    assert.deepEqual([missing.code, missing.err, JSON.parse(missing.out).ok], [3, "", false]);
  });

  it("exits 3 when a file cannot be read, or is larger than any configuration", async () => {
    using folder = new Folder();
    const missing = await check("/nowhere/e.yaml");
    assert.equal(missing.code, 3);
    assert.match(missing.err, /^error: \/nowhere\/e\.yaml: there is no such file or folder\n/);
    const huge = await check(folder.write("huge.yaml", "a".repeat(10 * 1024 ** 2)));
    assert.equal(huge.code, 3);
    assert.match(huge.err, /larger than 1048576 bytes/);
    assert.equal((await check("--policy", "/nowhere/p.yaml", ENVOY)).code, 3);
  });

  it("exits 1 when a policy is not valid, and 2 when it is used wrongly", async () => {
    using folder = new Folder();
    const bad = await check("--policy", folder.write("p.yaml", policy("p", "{mode: x}")), ENVOY);
    assert.equal(bad.code, 1);
    assert.match(bad.err, /"x" is not a mode/);
    for (const args of [[], ["--frobnicate", ENVOY], ["--policy"], ["--json=1", ENVOY]]) {
      const { code, err } = await check(...args);
      assert.equal(code, 2, args.join(" "));
      assert.match(err, /^limen envoy check: .*; see limen envoy check --help\n$/);
    }
  });

  it("has a help text whose examples are its own arguments", async () => {
    const { code, out } = await check("--help");
    assert.equal(code, 0);
    using folder = new Folder();
    folder.write("policy.yaml", policy("p"));
    folder.write("envoy.yaml", readFileSync(ENVOY, "utf8"));
    const examples = [...out.matchAll(/^ {2}limen envoy check (.*)$/gm)].map(([, args = ""]) =>
      args.split(" "),
    );
    assert.equal(examples.length, 2);
    for (const args of examples) {
      const here = args.map((arg) => (arg.endsWith(".yaml") ? join(folder.path, arg) : arg));
      assert.equal((await check(...here)).code, 0);
    }
  });
});
