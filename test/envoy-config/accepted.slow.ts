/** What the rules find is what Envoy itself accepts: otherwise a rule would be a second opinion about typing errors. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { envoyBinary, validate } from "../real/envoy.ts";
import { CHAIN_CASES, CLUSTER_CASES, FILTER_CASES, MODE_CASES } from "./cases.ts";
import { applied } from "./edits.ts";

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
});
