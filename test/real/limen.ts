/** One `scripts/limen serve` of a test, in a folder of its own, with a key, a log and two addresses. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import type { Endpoint } from "./bootstrap.ts";
import { stopProcess, until } from "./process.ts";

export const LIMEN = fileURLToPath(new URL("../../scripts/limen", import.meta.url));
const READY_LIMIT_MS = 20_000;
const ORIGIN = "example.org/limen/test";

export type LimenOptions = {
  /** Made when it is not there. */
  readonly dir: string;
  readonly policy: string;
  readonly listen?: "unix" | "tcp";
  /** Where the log is kept; below `dir` when left out. */
  readonly auditDir?: string;
  readonly drainSeconds?: number;
  /** Most that values and texts may take in each thread; Node's own default when left out. */
  readonly heapMiB?: number;
  /** Further keys of limen.yaml, instead of those that stand there otherwise. */
  readonly config?: Readonly<Record<string, unknown>>;
};

export type Limen = {
  readonly dir: string;
  /** Where Envoy finds it. */
  readonly endpoint: Endpoint;
  pid(): number;
  readonly auditDir: string;
  /** File with the public key of the audit log. */
  readonly auditKey: string;
  /** What the service has said so far, its earlier lives included. */
  diary(): string;
  /** A page of the admin port, e.g. "/metrics". */
  admin(path: string): Promise<string>;
  signal(name: NodeJS.Signals): void;
  /** The exit code, or the signal that ended it, once it has. */
  exited(): Promise<number | string>;
  /** SIGKILL: no last words. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  /** Starts the process (again); returns when it is ready. */
  start(): Promise<void>;
};

/** A service that has all it needs and does not run yet. */
export async function prepareLimen(options: LimenOptions): Promise<Limen> {
  const { dir, heapMiB } = options;
  mkdirSync(dir, { recursive: true });
  const socket = join(dir, "limen.sock");
  const endpoint =
    options.listen === "tcp" ? { port: await freePort() } : { path: join(dir, "limen.sock") };
  const listen = "port" in endpoint ? `127.0.0.1:${endpoint.port}` : `unix://${socket}`;
  const admin = `127.0.0.1:${await freePort()}`;
  const key = join(dir, "audit.key");
  const auditDir = options.auditDir ?? join(dir, "audit");
  const config = join(dir, "limen.yaml");
  const logFile = join(dir, "limen.log");
  const made = spawnSync(LIMEN, ["audit", "keygen", "--origin", ORIGIN, key], { encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  const document = {
    apiVersion: "limen.dev/v1alpha1",
    kind: "Boundary",
    listen,
    admin,
    policies: [options.policy],
    audit: { dir: auditDir, origin: ORIGIN, key: { file: key } },
    drain: { seconds: options.drainSeconds ?? 1 },
    ...options.config,
  };
  writeFileSync(config, stringify(document));

  let child: ChildProcess | undefined;
  const running = (): ChildProcess => {
    assert.ok(child, "the service was started");
    return child;
  };
  const exited = async (): Promise<number | string> => {
    const { exitCode, signalCode } = running();
    if (exitCode === null && signalCode === null) await once(running(), "exit");
    return running().exitCode ?? running().signalCode ?? "not known";
  };
  const start = async (): Promise<void> => {
    // What the service writes is kept for the person who looks into a failed test.
    const log = openSync(logFile, "a");
    const env =
      heapMiB === undefined
        ? process.env
        : { ...process.env, NODE_OPTIONS: `--max-old-space-size=${heapMiB}` };
    child = spawn(LIMEN, ["serve", "-c", config], { cwd: dir, env, stdio: ["ignore", log, log] });
    closeSync(log); // the child has its own
    const started = child;
    await until(READY_LIMIT_MS, "Limen to be ready", async () => {
      assert.equal(started.exitCode, null, `limen serve ended:\n${readFileSync(logFile, "utf8")}`);
      const response = await fetch(`http://${admin}/readyz`).catch(() => undefined);
      return response?.ok || undefined;
    });
  };
  return {
    dir,
    endpoint,
    pid: () => child?.pid ?? 0,
    auditDir,
    auditKey: `${key}.pub`,
    diary: () => readFileSync(logFile, "utf8"),
    admin: async (path) => (await fetch(`http://${admin}${path}`)).text(),
    signal: (name) => {
      running().kill(name);
    },
    exited,
    kill: async () => {
      running().kill("SIGKILL");
      await exited();
    },
    stop: async () => {
      if (child !== undefined) await stopProcess(child);
    },
    start,
  };
}

/** A port that was free a moment ago: for a server that cannot say which one it got. */
async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}
