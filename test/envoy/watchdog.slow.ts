import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

const child = fileURLToPath(new URL("./watchdog-child.ts", import.meta.url));

const start = (act: string): ChildProcess =>
  spawn(process.execPath, [child, act], { stdio: ["ignore", "pipe", "pipe"], timeout: 9000 });

/** How the child ended and what it said. */
async function run(act: string) {
  const process_ = start(act);
  const [[code, signal], out, err] = await Promise.all([
    once(process_, "exit"),
    text(process_.stdout!),
    text(process_.stderr!),
  ]);
  return { code, signal, out, err };
}

describe("watchdog", () => {
  it("ends a process whose event loop is blocked, after one line that says so", async () => {
    const { signal, err } = await run("block");
    assert.equal(signal, "SIGKILL");
    const { time, ...line } = JSON.parse(err);
    assert.deepEqual(line, {
      level: "error",
      limit_ms: 400,
      event: "event_loop_stalled",
      msg: "the event loop is stuck, the process ends itself",
    });
    assert.ok(Math.abs(Date.now() - Date.parse(time)) < 9000);
  });

  it("ends a process that is stuck because nobody reads its standard error", async () => {
    const process_ = start("mute");
    process_.stderr!.pause();
    const [, signal] = await once(process_, "exit");
    assert.equal(signal, "SIGKILL");
  });

  it("leaves a busy process alone whose loop still turns, and lets it exit after close", async () => {
    const { code, out, err } = await run("busy");
    assert.deepEqual({ code, out, err }, { code: 0, out: "closed", err: "" });
  });

  it("ends nobody after close", async () => {
    const { code, out, err } = await run("closed");
    assert.deepEqual({ code, out, err }, { code: 0, out: "closed", err: "" });
  });

  it("ends the first process of a container too, which SIGKILL of its own does not reach", function () {
    const [unshare, ...flags] = [
      "unshare",
      "--user",
      "--map-root-user",
      "--pid",
      "--fork",
    ] as const;
    if (spawnSync(unshare, [...flags, "true"]).status !== 0) this.skip();
    const { signal, stderr } = spawnSync(
      unshare,
      [...flags, "--kill-child", process.execPath, child, "block"],
      {
        encoding: "utf8",
        killSignal: "SIGKILL", // unshare ignores SIGTERM while its child runs
        timeout: 9000,
      },
    );
    assert.equal(JSON.parse(stderr).event, "event_loop_stalled");
    assert.equal(signal, "SIGTRAP"); // unshare passes on how its child died
  });
});
