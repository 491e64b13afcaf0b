/**
 * Every fault on the real Envoy. What clients, provider and log saw must be what docs/faults.md says;
 * `UPDATE_FAULTS=1` writes it there. `LIMEN_FAULTS=full` runs all of them, else a sample.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Profile } from "../real/bootstrap.ts";
import { envoyBinary, envoyVersion } from "../real/envoy.ts";
import { faultsOf, ORDER, PROFILES } from "./catalog.ts";
import type { Fault } from "./fault.ts";
import { Rig, type Row } from "./rig.ts";
import { linesOf, readLines, update } from "./table.ts";

const isFull = process.env["LIMEN_FAULTS"] === "full";
const isUpdate = process.env["UPDATE_FAULTS"] === "1";
const policyOf = ({ policy = "policy.yaml" }: Pick<Fault, "policy">): string =>
  fileURLToPath(new URL(policy, import.meta.url));

const isRun = ({ tier }: Fault, profile: Profile): boolean =>
  isFull || tier === "core" || (tier === "sample" && profile === "envoy");

/** Opens the stack of a fault, runs it and checks it. */
async function play(fault: Fault, rig: Rig): Promise<readonly Row[]> {
  try {
    rig.begin(fault.limitMs);
    await fault.run(rig);
    return await rig.check(fault.either);
  } catch (error) {
    await rig.abandon();
    throw error;
  }
}

/** What the file says of a fault under this version must be what was found. */
function compare(profile: Profile, fault: Fault, rows: readonly Row[]): void {
  const version = envoyVersion();
  const found = linesOf(profile, fault, rows);
  if (isUpdate) {
    update(version, found, ORDER);
    return;
  }
  const written = readLines()
    .filter((line) => line.profile === profile && line.fault === fault.name)
    .filter(({ versions }) => versions.includes(version))
    .map(({ versions: _, ...line }) => line);
  const inOrder = (lines: typeof found) =>
    lines.toSorted((a, b) => a.exchange.localeCompare(b.exchange));
  assert.deepEqual(inOrder(found), inOrder(written), `docs/faults.md, Envoy ${version}`);
}

/** A small disk, or undefined where none may be mounted. */
function smallDisk(): string | undefined {
  const dir = mkdtempSync(join(tmpdir(), "limen-disk-"));
  const args = ["-t", "tmpfs", "-o", "size=3m", "limen-test", dir];
  if (spawnSync("mount", args).status === 0) return dir;
  rmSync(dir, { recursive: true });
  return undefined;
}

for (const profile of PROFILES) {
  describe(`faults under envoy/${profile}.yaml`, function () {
    this.timeout(300_000);
    /** The stack of the profile; a fault that failed leaves it in a state that nobody knows. */
    let shared: Rig | undefined;
    before(function () {
      if (envoyBinary() === undefined) this.skip();
    });
    after(async () => {
      await shared?.close();
    });

    for (const fault of faultsOf(profile)) {
      if (!isRun(fault, profile)) continue;
      it(fault.name, async function () {
        const disk = fault.disk === "small" ? smallDisk() : undefined;
        if (fault.disk === "small" && disk === undefined) this.skip();
        const isOwn = [fault.stack, fault.policy, disk].some((one) => one !== undefined);
        const options = { ...fault.stack, profile, policy: policyOf(fault) };
        const auditDir = disk === undefined ? {} : { auditDir: join(disk, "audit") };
        const rig = (isOwn ? undefined : shared) ?? (await Rig.open({ ...options, ...auditDir }));
        if (!isOwn) shared = undefined;
        try {
          const rows = await play(fault, rig);
          if (isOwn) await rig.close();
          else shared = rig;
          compare(profile, fault, rows);
        } finally {
          if (disk !== undefined) {
            spawnSync("umount", ["-l", disk]);
            rmSync(disk, { recursive: true });
          }
        }
      });
    }
  });
}
