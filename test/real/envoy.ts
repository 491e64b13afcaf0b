/**
 * A real Envoy with envoy/envoy.yaml, the file that users deploy. Only what a machine shared by many
 * tests forces is changed: addresses and ports, endpoints, the access log's path, and for comparisons
 * the filter itself (left out, or served by another process) and one runtime flag.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { stopProcess, until } from "./process.ts";

export const ENVOY_YAML = new URL("../../envoy/envoy.yaml", import.meta.url);
const GRACEFUL_CLOSE = "envoy.reloadable_features.ext_proc_graceful_grpc_close";
const DEFAULT_VERSION = "1.40.0";
const FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const STREAMS_LIMIT_MS = 5_000;
const READY_LIMIT_MS = 15_000;

/** Where the filter of one listener is served; undefined: the same listener without the filter. */
export type FilterAddress = { readonly path: string } | { readonly port: number } | undefined;

export type EnvoyOptions = {
  /** Folder for the configuration, the admin address and the access log. */
  readonly dir: string;
  readonly modelPort: number;
  readonly listeners: Readonly<Record<string, FilterAddress>>;
  /** Whether Envoy closes its streams to the filter in order; "off" as in the file. */
  readonly gracefulClose?: "on" | "off";
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

// What we touch of the file. Everything else is carried along unread.
type SocketAddress = { address: string; port_value: number };
type Endpoint = {
  endpoint: { address: { socket_address: SocketAddress } | { pipe: { path: string } } };
};
type Cluster = {
  name: string;
  load_assignment: { cluster_name: string; endpoints: { lb_endpoints: Endpoint[] }[] };
};
type HttpFilter = {
  name: string;
  typed_config: { grpc_service?: { envoy_grpc: { cluster_name: string } } };
};
type Listener = {
  name: string;
  address: { socket_address: SocketAddress };
  filter_chains: {
    filters: {
      typed_config: {
        access_log: { name: string; typed_config: object }[];
        http_filters: HttpFilter[];
      };
    }[];
  }[];
};
type Bootstrap = {
  admin: { address: { socket_address: SocketAddress } };
  layered_runtime: { layers: { static_layer: Record<string, boolean> }[] };
  static_resources: { listeners: Listener[]; clusters: Cluster[] };
};

const accessLogOf = ({ dir }: EnvoyOptions): string => join(dir, "access.log");

/** The file with the overrides: one copy of its listener, and of its cluster `limen`, per entry. */
function bootstrapOf(options: EnvoyOptions): Bootstrap {
  const read = (): Bootstrap => parse(readFileSync(ENVOY_YAML, "utf8")) as Bootstrap;
  const file = read();
  const anyPort = { address: "127.0.0.1", port_value: 0 };
  file.admin.address.socket_address = anyPort;
  const flags = file.layered_runtime.layers[0]?.static_layer;
  assert.equal(flags?.[GRACEFUL_CLOSE], false, "the file keeps off what the tests turn on");
  flags[GRACEFUL_CLOSE] = options.gracefulClose === "on";

  const cluster = (name: string): Cluster => {
    const found = read().static_resources.clusters.find((one) => one.name === name);
    assert.ok(found, `the file has a cluster ${name}`);
    return found;
  };
  const clusters = [withEndpoint(cluster("model"), "model", { port: options.modelPort })];
  const listeners = Object.entries(options.listeners).map(([name, address]) => {
    const listener = read().static_resources.listeners[0];
    const manager = listener?.filter_chains[0]?.filters[0]?.typed_config;
    assert.ok(listener && manager);
    listener.name = name;
    listener.address.socket_address = anyPort;
    for (const log of manager.access_log) {
      log.typed_config = { ...log.typed_config, "@type": FILE_LOG, path: accessLogOf(options) };
    }
    const index = manager.http_filters.findIndex((filter) => filter.name === "limen.ext_proc");
    const service = manager.http_filters[index]?.typed_config.grpc_service?.envoy_grpc;
    assert.ok(service);
    if (address === undefined) {
      manager.http_filters.splice(index, 1);
    } else {
      service.cluster_name = `limen-${name}`;
      clusters.push(withEndpoint(cluster("limen"), `limen-${name}`, address));
    }
    return listener;
  });
  return { ...file, static_resources: { listeners, clusters } };
}

function withEndpoint(
  cluster: Cluster,
  name: string,
  address: { path: string } | { port: number },
): Cluster {
  const where =
    "path" in address
      ? { pipe: { path: address.path } }
      : { socket_address: { address: "127.0.0.1", port_value: address.port } };
  const endpoints = [{ lb_endpoints: [{ endpoint: { address: where } }] }];
  return { ...cluster, name, load_assignment: { cluster_name: name, endpoints } };
}

/** Starts Envoy and returns when it is ready; its own messages go to standard error. */
export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const binary = envoyBinary();
  assert.ok(binary, "no Envoy: run scripts/test, or set LIMEN_ENVOY");
  const config = join(options.dir, "envoy.json");
  const adminFile = join(options.dir, "envoy-admin.txt");
  writeFileSync(config, JSON.stringify(bootstrapOf(options)));
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
    listener_statuses: { name: string; local_address: { socket_address: SocketAddress } }[];
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
