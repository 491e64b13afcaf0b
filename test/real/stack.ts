/**
 * The whole path on free ports: clients, Envoy with envoy/envoy.yaml, `scripts/limen serve`, a scripted
 * provider. One listener has the filter, one has not; everything lives in one folder and ends with it.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { type Envoy, type FilterAddress, startEnvoy } from "./envoy.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { stopProcess, until } from "./process.ts";

export const LIMEN = fileURLToPath(new URL("../../scripts/limen", import.meta.url));
const DEMO_POLICY = fileURLToPath(new URL("../../demo/policy.yaml", import.meta.url));
const READY_LIMIT_MS = 20_000;
/** Health check every 2 s, and one more for the margin. */
const NOTICED_LIMIT_MS = 10_000;
const ORIGIN = "example.org/limen/test";

export type StackOptions = {
  /** A policy file; the demo's when left out. */
  readonly policy?: string;
  readonly gracefulClose?: "on" | "off";
  /** Further listeners of the same Envoy. */
  readonly listeners?: Readonly<Record<string, FilterAddress>>;
};

export type Stack = {
  readonly dir: string;
  readonly model: ModelServer;
  readonly envoy: Envoy;
  /** Through the filter, and past it. */
  readonly url: string;
  readonly plainUrl: string;
  readonly limen: Limen;
  close(): Promise<void>;
};

type Limen = {
  pid(): number;
  readonly auditDir: string;
  /** File with the public key of the audit log. */
  readonly auditKey: string;
  /** A page of the admin port, e.g. "/metrics". */
  admin(path: string): Promise<string>;
  /** SIGKILL: no last words. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  /** Starts the process again; returns when it is ready. */
  start(): Promise<void>;
};

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const dir = mkdtempSync(join(tmpdir(), "limen-"));
  const opened: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of opened.splice(0).reverse()) await one();
    rmSync(dir, { recursive: true });
  };
  try {
    const model = await startModelServer();
    opened.push(model.close);
    const limen = await startLimen(dir, options.policy ?? DEMO_POLICY);
    opened.push(limen.stop);
    const envoy = await startEnvoy({
      dir,
      modelPort: model.port,
      listeners: {
        plain: undefined,
        limen: { path: join(dir, "limen.sock") },
        ...options.listeners,
      },
      ...(options.gracefulClose && { gracefulClose: options.gracefulClose }),
    });
    opened.push(envoy.stop);
    return {
      dir,
      model,
      envoy,
      limen,
      url: envoy.url("limen"),
      plainUrl: envoy.url("plain"),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Returns when a request through `url` is judged again, after Limen was away. */
export const untilServing = (url: string): Promise<boolean> =>
  until(NOTICED_LIMIT_MS, "Envoy to find Limen again", async () => {
    const { status } = await fetch(`${url}/v1/models`);
    return status === 200 || undefined;
  });

async function startLimen(dir: string, policy: string): Promise<Limen> {
  const admin = `127.0.0.1:${await freePort()}`;
  const key = join(dir, "audit.key");
  const auditDir = join(dir, "audit");
  const config = join(dir, "limen.yaml");
  const made = spawnSync(LIMEN, ["audit", "keygen", "--origin", ORIGIN, key], { encoding: "utf8" });
  assert.equal(made.status, 0, made.stderr);
  const document = {
    apiVersion: "limen.dev/v1alpha1",
    kind: "Boundary",
    listen: `unix://${join(dir, "limen.sock")}`,
    admin,
    policies: [policy],
    audit: { dir: auditDir, origin: ORIGIN, key: { file: key } },
    drain: { seconds: 1 },
  };
  writeFileSync(config, stringify(document));

  let child: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    // What the service writes is kept for the person who looks into a failed test.
    const log = openSync(join(dir, "limen.log"), "a");
    const started = spawn(LIMEN, ["serve", "-c", config], {
      cwd: dir,
      stdio: ["ignore", log, log],
    });
    closeSync(log); // the child has its own
    child = started;
    await until(READY_LIMIT_MS, "Limen to be ready", async () => {
      assert.equal(
        started.exitCode,
        null,
        `limen serve ended:\n${readFileSync(join(dir, "limen.log"), "utf8")}`,
      );
      const response = await fetch(`http://${admin}/readyz`).catch(() => undefined);
      return response?.ok || undefined;
    });
  };
  try {
    await start();
  } catch (error) {
    if (child !== undefined) await stopProcess(child);
    throw error;
  }
  const running = (): ChildProcess => {
    assert.ok(child);
    return child;
  };
  return {
    pid: () => running().pid ?? 0,
    auditDir,
    auditKey: `${key}.pub`,
    admin: async (path) => (await fetch(`http://${admin}${path}`)).text(),
    kill: async () => {
      const gone = once(running(), "exit");
      running().kill("SIGKILL");
      await gone;
    },
    stop: () => stopProcess(running()),
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
