/** What happens to Limen: it dies, stops, stalls, drains, is not there, is one of two, has no disk. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import type { Profile } from "../real/bootstrap.ts";
import { until } from "../real/process.ts";
import type { Exchange, Role } from "./client.ts";
import type { Fault } from "./fault.ts";
import type { Rig } from "./rig.ts";

/** Streams that a drain meets. */
const HERD = 200;
const DRAIN_SECONDS = 6;
const CLIENTS = 4;

const herdOf = (rig: Rig, count: number): readonly Exchange[] =>
  Array.from({ length: count }, () => rig.ask("stream", { play: "ticks", form: "stream" }));

/** A read or not at all: a stopped process finds in its socket what had been sent before Envoy gave up. */
const READ_LATER = {
  during: {
    client: "503",
    upstream: "nothing",
    record: "nothing; allow, then allowed, broken off",
  },
  secret: { client: "503", upstream: "nothing", record: "nothing; deny, then denied" },
  upload: {
    client: "503",
    upstream: "nothing",
    record: "allow, then allowed, broken off; error, then failed_closed, broken off",
  },
} as const;

/** A gate has no part in what follows its answer. Whose check was given up before it was judged is not known: `upload`. */
const READ_LATER_BY_GATE = {
  ...READ_LATER,
  upload: {
    ...READ_LATER.upload,
    record: "nothing; allow, then allowed; error, then failed_closed",
  },
  during: { ...READ_LATER.during, record: "nothing; allow, then allowed" },
} as const;
/** The first and the last phase of an exchange go through Limen in every profile. */
const ALL: readonly Profile[] = ["envoy", "strict-stream", "ext-authz"];

/** Short exchanges one after the other, by some clients at once, until `over` is called: the codes they got. */
function load(rig: Rig, role: Role): { over(): Promise<ReadonlySet<string | undefined>> } {
  let isOver = false;
  const codes = new Set<string | undefined>();
  const client = async (): Promise<void> => {
    while (!isOver) codes.add((await rig.ask(role).done).code);
  };
  const clients = Array.from({ length: CLIENTS }, client);
  return {
    over: async () => {
      isOver = true;
      await Promise.all(clients);
      return codes;
    },
  };
}

const STOPPED: Fault = {
  name: "Limen is stopped (SIGSTOP)",
  limitMs: 6_000,
  by: "Envoy's keepalive on its connection to Limen",
  tier: "core",
  either: READ_LATER,
  async run(rig) {
    await rig.askEveryPhase();
    rig.strike();
    rig.stack.limen.signal("SIGSTOP");
    rig.ask("during");
    rig.ask("secret");
    rig.finishUploads();
    await rig.untilOver("during");
    rig.release(); // what Limen has no part in can go on: nothing where answers are read
    await rig.untilOver();
    rig.stack.limen.signal("SIGCONT");
    await rig.untilServing();
    rig.ask("after");
  },
};

export const PROCESS_FAULTS: readonly Fault[] = [
  {
    name: "Limen is killed (SIGKILL)",
    profiles: ALL,
    limitMs: 2_000,
    by: "Envoy, when the connection ends",
    tier: "core",
    async run(rig) {
      await rig.askEveryPhase();
      rig.strike();
      await rig.stack.limen.kill();
      rig.ask("during");
      rig.ask("secret");
      await rig.untilOver("during");
      // What Limen has no part in can go on: nothing where answers are read.
      rig.finishUploads();
      rig.release();
      await rig.untilOver();
      await rig.restart();
      rig.ask("after");
    },
  },
  STOPPED,
  { ...STOPPED, profiles: ["ext-authz"], either: READ_LATER_BY_GATE },
  {
    name: "Limen's event loop stands still for 1.5 s",
    limitMs: 6_000,
    by: "nothing ends: all wait",
    tier: "sample",
    async run(rig) {
      await rig.askEveryPhase();
      rig.strike();
      rig.stack.limen.signal("SIGSTOP");
      rig.ask("during");
      rig.ask("secret");
      await pause(1_500); // the length of the stall is the point
      rig.stack.limen.signal("SIGCONT");
      rig.finishUploads();
      rig.release();
    },
  },
  {
    name: `Limen drains (SIGTERM) under ${HERD} streams`,
    limitMs: DRAIN_SECONDS * 1_000 + 2_000,
    by: `\`drain.seconds\` (here ${DRAIN_SECONDS})`,
    tier: "full",
    stack: { drainSeconds: DRAIN_SECONDS },
    async run(rig) {
      const herd = herdOf(rig, HERD);
      for (const one of herd) await rig.untilReceived(one, 500);
      rig.strike();
      const struck = performance.now();
      rig.stack.limen.signal("SIGTERM");
      rig.ask("during");
      const first = await Promise.race(
        herd.map(async (one) => {
          await one.done;
          return performance.now() - struck;
        }),
      );
      assert.ok(first > DRAIN_SECONDS * 1_000 - 200, `a stream was cut after ${first} ms`);
      await rig.untilOver();
      assert.equal(await rig.stack.limen.exited(), 0);
      await rig.restart();
      rig.ask("after");
    },
  },
  {
    name: "Limen drains (SIGTERM), and streams end in time",
    limitMs: DRAIN_SECONDS * 1_000 + 2_000,
    by: `\`drain.seconds\` (here ${DRAIN_SECONDS})`,
    tier: "full",
    stack: { drainSeconds: DRAIN_SECONDS },
    async run(rig) {
      await rig.askEveryPhase();
      rig.strike();
      rig.stack.limen.signal("SIGTERM");
      rig.finishUploads();
      await pause(1_000); // some of the drain passes: everything goes on meanwhile
      rig.release();
      await rig.untilOver();
      assert.equal(await rig.stack.limen.exited(), 0);
      await rig.restart();
      rig.ask("after");
    },
  },
  {
    name: "Limen is not there when Envoy starts",
    profiles: ALL,
    limitMs: 3_000,
    by: "Envoy, which cannot connect",
    tier: "sample",
    stack: { limenAtStart: "absent" },
    async run(rig) {
      rig.ask("during");
      rig.ask("secret");
      await rig.untilOver();
      await rig.restart();
      rig.ask("after");
    },
  },
  {
    name: "one of two Limens is killed (SIGKILL)",
    limitMs: 3_000,
    by: "Envoy, which goes to the other",
    tier: "sample",
    stack: { processes: 2, listen: "tcp" },
    either: {
      stream: {
        client: "200; 200, then cut",
        upstream: "asked; asked, then left",
        record: "allow, then mutated; allow, then unknown_crash, broken off",
      },
    },
    async run(rig) {
      const [first, second] = rig.stack.limens;
      assert.ok(first && second);
      for (const one of herdOf(rig, 8)) await rig.untilReceived(one, 500);
      rig.strike();
      await first.kill();
      for (let i = 0; i < 20; i += 1) {
        rig.ask("during");
        rig.ask("secret");
      }
      await rig.untilOver("during");
      rig.release();
      await rig.untilOver();
      await first.start();
      rig.ask("after");
    },
  },
  {
    name: "the disk under the log is full",
    limitMs: 5_000,
    by: "Limen refuses, drains and ends with exit code 3",
    tier: "sample",
    disk: "small",
    either: {
      during: {
        client: "200; 503; 503 `audit_unavailable`",
        upstream: "asked; asked, then left; nothing",
        record: "allow, then mutated; allow, then unknown_crash, broken off; nothing",
      },
    },
    async run(rig) {
      const clients = load(rig, "during");
      const { limen } = rig.stack;
      assert.equal(await limen.exited(), 3);
      assert.ok((await clients.over()).has("audit_unavailable"));
      const { status } = spawnSync("mount", ["-o", "remount,size=64m", join(limen.auditDir, "..")]);
      assert.equal(status, 0);
      await rig.restart();
      rig.ask("after");
    },
  },
  {
    name: "two Limens restart one after the other under load",
    limitMs: 5_000,
    by: "Envoy's health checks: no request fails",
    tier: "full",
    stack: { processes: 2, listen: "tcp", drainSeconds: 12 },
    async run(rig) {
      const clients = load(rig, "during");
      for (const limen of rig.stack.limens) {
        limen.signal("SIGTERM");
        assert.equal(await limen.exited(), 0);
        await limen.start();
        // A process that Envoy does not believe to be there is no help when the other one leaves.
        await until(10_000, "Envoy to find both", async () => {
          const healthy = await rig.stack.envoy.stat("cluster.limen-limen.membership_healthy");
          return healthy === 2 || undefined;
        });
      }
      await clients.over();
    },
  },
];
