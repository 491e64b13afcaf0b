/** That the soak runs; what it finds in half an hour is for `scripts/soak` itself. Minutes are for --full. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const SOAK = fileURLToPath(new URL("../../scripts/soak", import.meta.url));

describe("scripts/soak", () => {
  it("says how it is used", () => {
    const { status, stderr } = spawnSync(SOAK, ["--minutes", "soon"], { encoding: "utf8" });
    assert.deepEqual([status, stderr.startsWith("usage: scripts/soak")], [2, true]);
  });

  if (process.env["LIMEN_FAULTS"] === "full") {
    it("ends well after a minute with two restarts", function () {
      this.timeout(240_000);
      const { status, stdout } = spawnSync(SOAK, ["--minutes", "1"], { encoding: "utf8" });
      assert.equal(status, 0, stdout);
      assert.match(stdout, /^0 failures; both logs verify$/m);
    });
  }
});
