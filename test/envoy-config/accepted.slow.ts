/** What the rules find is what Envoy itself accepts: otherwise a rule would be a second opinion about typing errors. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { envoyBinary, startEnvoy, validate } from "../real/envoy.ts";
import { CHAIN_CASES, CLUSTER_CASES, FILTER_CASES, MODE_CASES } from "./cases.ts";
import { applied, check } from "./edits.ts";

/** Fields and words that came with later releases, and what Envoy checks in filters but not in routes. */
const REFUSED =
  /unknown enum value: 'GRPC'|no\s+such\s+field: 'shadow_mode'|then the response_trailer_mode has to be set to SEND/;

describe("limen envoy check: what Envoy says to the same files", () => {
  let dir: string;
  before(function () {
    if (envoyBinary() === undefined) this.skip();
    dir = mkdtempSync(join(tmpdir(), "limen-accepted-"));
  });
  after(() => {
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });

  const cases = [...MODE_CASES, ...FILTER_CASES, ...CHAIN_CASES, ...CLUSTER_CASES];
  const bootstraps = cases.filter(([, file]) => file.startsWith("envoy/"));
  let refused = 0;
  bootstraps.forEach(([rule, file, edits], i) => {
    it(`accepts ${file} with ${rule}, ${i}`, async () => {
      const path = join(dir, `${i}.yaml`);
      writeFileSync(path, applied(file, edits));
      const { code, output } = await validate(path);
      if (REFUSED.test(output)) refused += 1;
      else assert.equal(code, 0, output);
    });
  });
  it("accepts nearly all", () => {
    assert.ok(bootstraps.length > 70);
    assert.ok(refused <= 4, `${refused} refused`);
  });

  it("dumps a good configuration in words in which nothing is found, and a bad one in which it is", async () => {
    const listeners = { one: { path: join(dir, "nobody.sock") } };
    const envoy = await startEnvoy({ dir, modelPort: 1, listeners });
    try {
      const admin = readFileSync(join(dir, "envoy-admin.txt"), "utf8");
      const dump = await (await fetch(`http://${admin}/config_dump`)).text();
      assert.deepEqual(check(dump), []);
      const open = dump.replaceAll(
        '"processing_mode"',
        '"failure_mode_allow": true, "processing_mode"',
      );
      assert.deepEqual([...new Set(check(open).map(({ rule }) => rule))], ["failure-mode-allow"]);
    } finally {
      await envoy.stop();
    }
  });
});
