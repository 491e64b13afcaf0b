/** Every command that the README shows, in its order, as a person would run it in an empty folder. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { LIMEN } from "../real/limen.ts";
import { stopProcess, until } from "../real/process.ts";

const README = fileURLToPath(new URL("../../README.md", import.meta.url));
/** Of the checkout, the commands read this folder. */
const ENVOY = fileURLToPath(new URL("../../envoy", import.meta.url));
/** Run by other tests, and by whoever runs this one. */
const ELSEWHERE = ["scripts/demo", "scripts/test", "scripts/soak"];

function commandsOf(readme: string): readonly string[] {
  const blocks = [...readme.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, block = ""]) => block);
  const lines = blocks.join("").split("\n");
  return lines.map((line) => line.replace(/ +#.*$/, "")).filter((line) => line !== "");
}

describe("the README", function () {
  this.timeout(60_000);
  const dir = mkdtempSync(join(tmpdir(), "limen-readme-"));
  symlinkSync(ENVOY, join(dir, "envoy"));
  let served: ChildProcess | undefined;
  after(async () => {
    if (served !== undefined) await stopProcess(served);
    rmSync(dir, { recursive: true });
  });

  /** Starts a service and stops it when it listens on both of its ports. */
  async function serve(command: string): Promise<void> {
    const child = spawn("sh", ["-c", `exec ${command}`], {
      cwd: dir,
      stdio: ["ignore", "pipe", "pipe"],
    });
    served = child;
    let diary = "";
    child.stderr.on("data", (chunk: Buffer) => {
      diary += chunk.toString();
    });
    await until(20_000, "the service to listen", () => {
      assert.equal(child.exitCode, null, diary);
      return diary.match(/service_started/g)?.length === 2 || undefined;
    });
    await stopProcess(child);
    assert.equal(child.exitCode, 0);
  }

  it("shows commands that work one after the other", async () => {
    const commands = commandsOf(readFileSync(README, "utf8"));
    const run: string[] = [];
    for (const command of commands) {
      if (ELSEWHERE.includes(command)) continue;
      assert.ok(command.startsWith("scripts/limen "), command);
      const real = command.replace("scripts/limen", LIMEN);
      run.push(command.split(" ")[1] ?? "");
      if (command.includes(" serve ")) {
        await serve(real);
        continue;
      }
      const { status, stdout, stderr } = spawnSync("sh", ["-c", real], {
        cwd: dir,
        encoding: "utf8",
      });
      // A text in which something is found is a negative answer.
      assert.equal(status, command.includes(" scan ") ? 1 : 0, `${command}\n${stdout}${stderr}`);
      if (command.includes(" scan ")) assert.match(stdout, /email/);
      // Ports that are free, whoever else runs on this machine.
      const ports = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\n";
      if (command.includes(" init ")) appendFileSync(join(dir, "limen.yaml"), ports);
    }
    assert.deepEqual(run, ["init", "policy", "envoy", "serve", "scan", "audit"]);
  });
});
