/** The learned detector as an operator meets it: switched off, missing, and at work. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { DEFAULT_POLICY } from "../../src/policy/store.ts";
import { LIMEN, prepareLimen } from "../real/limen.ts";

describe("limen serve", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "limen-detector-"));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  const started = async (detection: object) => {
    const limen = await prepareLimen({ dir, policy: DEFAULT_POLICY, config: { detection } });
    await limen.start();
    const status = JSON.parse(await limen.admin("/status"));
    const metrics = await limen.admin("/metrics");
    await limen.stop();
    return { injection: status.detector.injection, metrics, diary: limen.diary() };
  };

  it("says wherever a detector is named that it is switched off", async () => {
    const { injection, metrics, diary } = await started({ model: "off" });
    assert.equal(injection, "rules");
    assert.match(metrics, /^limen_detector_info\{detector="rules"\} 1$/m);
    assert.match(diary, /"event":"detector_off"/);
  });

  it("has the weights that ship with it, and names them by their digest", async () => {
    const { injection, metrics, diary } = await started({ threads: 1 });
    assert.match(injection, /^[0-9a-f]{64}$/);
    assert.ok(metrics.includes(`limen_detector_info{detector="${injection}"} 1`));
    assert.doesNotMatch(diary, /detector_off/);
  });

  it("does not start without its weights, and has written nothing by then", () => {
    const file = join(dir, "limen.yaml");
    writeFileSync(
      file,
      stringify({ admin: "127.0.0.1:0", detection: { model: "no-such-folder" } }),
    );
    const { status, stderr } = spawnSync(LIMEN, ["serve", "-c", file], { encoding: "utf8" });
    assert.equal(status, 3);
    assert.match(stderr, /no-such-folder/);
    assert.equal(existsSync(join(dir, "limen-data")), false);
  });
});
