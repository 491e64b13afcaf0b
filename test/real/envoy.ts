/** A real Envoy over the files of envoy/, on free ports; what of them is changed stands in bootstrap.ts. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { type BootstrapOptions, bootstrapOf } from "./bootstrap.ts";
import { stopProcess, until } from "./process.ts";

const DEFAULT_VERSION = "1.40.0";
const STREAMS_LIMIT_MS = 5_000;
const READY_LIMIT_MS = 15_000;

export type EnvoyOptions = Omit<BootstrapOptions, "accessLog"> & {
  /** Folder for the configuration, the admin address and the access log. */
  readonly dir: string;
};

export type Envoy = {
  readonly pid: number;
  /** Origin of a listener, e.g. `http://127.0.0.1:40123`. */
  url(listener: string): string;
  /** The value of one statistic, 0 when Envoy does not have it (yet). */
  stat(name: string): Promise<number>;
  accessLog(): readonly string[];
  stop(): Promise<void>;
};

/** The binary that scripts/setup.sh provides; undefined where there is none: the test skips itself. */
export function envoyBinary(): string | undefined {
  const cache =
    process.env["LIMEN_CACHE"] ??
    join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "limen");
  const machine = process.arch === "arm64" ? "aarch64" : "x86_64";
  const path = process.env["LIMEN_ENVOY"] ?? join(cache, `envoy-${DEFAULT_VERSION}-${machine}`);
  return existsSync(path) ? path : undefined;
}

/** As in "1.40.0". */
export function envoyVersion(): string {
  const binary = envoyBinary();
  assert.ok(binary);
  const { stdout } = spawnSync(binary, ["--version"], { encoding: "utf8" });
  const [, version] = /\/(\d+\.\d+\.\d+)/.exec(stdout) ?? [];
  assert.ok(version, `no version in ${stdout}`);
  return version;
}

const accessLogOf = ({ dir }: EnvoyOptions): string => join(dir, "access.log");

/** Starts Envoy and returns when it is ready; its own messages go to standard error. */
export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const binary = envoyBinary();
  assert.ok(binary, "no Envoy: run scripts/test, or set LIMEN_ENVOY");
  const config = join(options.dir, "envoy.json");
  const adminFile = join(options.dir, "envoy-admin.txt");
  writeFileSync(
    config,
    JSON.stringify(bootstrapOf({ ...options, accessLog: accessLogOf(options) })),
  );
  const args = [
    "-c",
    config,
    "--use-dynamic-base-id",
    "--disable-hot-restart",
    "--concurrency",
    "1",
  ];
  args.push("--admin-address-path", adminFile, "--file-flush-interval-msec", "20", "-l", "error");
  const child = spawn(binary, args, { stdio: ["ignore", "inherit", "inherit"] });
  try {
    const admin = await until(READY_LIMIT_MS, "Envoy's admin address", () =>
      readAddress(child, adminFile),
    );
    await until(READY_LIMIT_MS, "Envoy to be ready", async () => {
      const response = await fetch(`http://${admin}/ready`).catch(() => undefined);
      return response?.ok ? true : undefined;
    });
    return await running(child, admin, options);
  } catch (error) {
    await stopProcess(child);
    throw error;
  }
}

function readAddress(child: ChildProcess, file: string): string | undefined {
  assert.equal(child.exitCode, null, "Envoy refused its configuration");
  const text = existsSync(file) ? readFileSync(file, "utf8") : "";
  return text === "" ? undefined : text;
}

async function running(child: ChildProcess, admin: string, options: EnvoyOptions): Promise<Envoy> {
  const ports = await listenerPorts(admin);
  for (const name of Object.keys(options.listeners))
    assert.ok(ports.has(name), `a port for ${name}`);
  const stat = async (name: string): Promise<number> => {
    const response = await fetch(`http://${admin}/stats?format=json&filter=${name}`);
    const { stats } = (await response.json()) as { stats: { name?: string; value?: number }[] };
    return stats.find((one) => one.name === name)?.value ?? 0;
  };
  const stop = async (): Promise<void> => {
    assert.deepEqual([child.exitCode, child.signalCode], [null, null], "Envoy ended by itself");
    // Envoy 1.40.0 was seen to crash when it exits over a filter's stream that is still open.
    for (const name of Object.keys(options.listeners)) {
      await until(STREAMS_LIMIT_MS, `the streams of ${name} to end`, async () => {
        const open = await stat(`cluster.limen-${name}.upstream_rq_active`);
        return open === 0 || undefined;
      });
    }
    await stopProcess(child);
  };
  return {
    pid: child.pid ?? 0,
    url: (listener) => `http://127.0.0.1:${ports.get(listener)}`,
    stat,
    accessLog: () => readFileSync(accessLogOf(options), "utf8").trim().split("\n"),
    stop,
  };
}

async function listenerPorts(admin: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`http://${admin}/listeners?format=json`);
  const { listener_statuses: statuses } = (await response.json()) as {
    listener_statuses: {
      name: string;
      local_address: { socket_address: { port_value: number } };
    }[];
  };
  return new Map(statuses.map((one) => [one.name, one.local_address.socket_address.port_value]));
}

/** Builds everything in a file and exits: typing errors show, holes do not. */
export async function validate(file: string): Promise<{ code: number; output: string }> {
  const binary = envoyBinary();
  assert.ok(binary);
  const child = spawn(binary, ["--mode", "validate", "-c", file, "-l", "error"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, "exit")) as [number];
  return { code, output };
}
