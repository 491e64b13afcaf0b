/**
 * The files of envoy/, which users deploy, as one Envoy of a test loads them. Only what a machine shared by
 * many tests forces is changed: addresses and ports, endpoints, the access log's path, and for comparisons
 * the filter itself (left out, or served by another process) and one runtime flag. What a test of its own
 * needs beyond that (TLS, other limits) goes through `edit`, in sight of the test.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** A file of envoy/, without its suffix. */
export type Profile = "envoy" | "strict-stream" | "ext-authz";
export type Endpoint = { readonly path: string } | { readonly port: number };
/**
 * Where the filter of one listener is served: one process with the profile `envoy`, or what is written;
 * undefined: the same listener without the filter.
 */
type FilterAddress =
  | Endpoint
  | { readonly profile?: Profile; readonly endpoints: readonly Endpoint[] }
  | undefined;

export type BootstrapOptions = {
  readonly accessLog: string;
  readonly modelPort: number;
  readonly listeners: Readonly<Record<string, FilterAddress>>;
  /** Whether Envoy closes its streams to the filter in order; "off" as in the file. */
  readonly gracefulClose?: "on" | "off";
  /** Called with the finished configuration, before it is written. */
  readonly edit?: (bootstrap: Bootstrap) => void;
};

// What we touch of the files. Everything else is carried along unread.
type SocketAddress = { address: string; port_value: number };
type LbEndpoint = {
  endpoint: { address: { socket_address: SocketAddress } | { pipe: { path: string } } };
};
export type Cluster = {
  name: string;
  load_assignment: { cluster_name: string; endpoints: { lb_endpoints: LbEndpoint[] }[] };
  [field: string]: unknown;
};
type HttpFilter = {
  name: string;
  typed_config: {
    grpc_service?: { envoy_grpc: { cluster_name: string } };
    [field: string]: unknown;
  };
};
export type Route = { route: Record<string, unknown>; [field: string]: unknown };
export type HttpManager = {
  access_log: { name: string; typed_config: object }[];
  http_filters: HttpFilter[];
  route_config: { virtual_hosts: { routes: Route[] }[] };
  [field: string]: unknown;
};
export type Listener = {
  name: string;
  address: { socket_address: SocketAddress };
  filter_chains: {
    filters: { typed_config: HttpManager }[];
    [field: string]: unknown;
  }[];
  [field: string]: unknown;
};
export type Bootstrap = {
  admin: { address: { socket_address: SocketAddress } };
  layered_runtime: { layers: { static_layer: Record<string, boolean> }[] };
  static_resources: { listeners: Listener[]; clusters: Cluster[] };
};

const GRACEFUL_CLOSE = "envoy.reloadable_features.ext_proc_graceful_grpc_close";
const FILE_LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const ANY_PORT = { address: "127.0.0.1", port_value: 0 };
/** The cluster that stands for Limen in every file. */
const LIMEN = "limen";

export const profileFile = (profile: Profile): URL =>
  new URL(`../../envoy/${profile}.yaml`, import.meta.url);

const readProfile = (profile: Profile): Bootstrap =>
  parse(readFileSync(profileFile(profile), "utf8")) as Bootstrap;

/** One copy of a file's listener, and of its cluster `limen`, per entry of `listeners`. */
export function bootstrapOf(options: BootstrapOptions): Bootstrap {
  const entries = Object.entries(options.listeners).map(([name, address]) => ({
    name,
    ...readAddress(address),
  }));
  const flags: Record<string, boolean> = {};
  const clusters = new Map<string, Cluster>();
  const listeners: Listener[] = [];
  for (const { name, profile, endpoints } of entries) {
    const file = readProfile(profile);
    for (const layer of file.layered_runtime.layers) agree(flags, layer.static_layer);
    const listener = listenerOf(file, name, options.accessLog);
    listeners.push(listener);
    if (endpoints === undefined) withoutFilter(listener);
    else servedBy(listener, `${LIMEN}-${name}`);
    for (const cluster of file.static_resources.clusters) {
      const own = cluster.name === LIMEN ? `${LIMEN}-${name}` : cluster.name;
      const where = cluster.name === LIMEN ? endpoints : [{ port: options.modelPort }];
      if (where === undefined) continue;
      const placed = withEndpoints(cluster, own, where);
      assert.deepEqual(clusters.get(own) ?? placed, placed, `files differ in the cluster ${own}`);
      clusters.set(own, placed);
    }
  }
  assert.equal(flags[GRACEFUL_CLOSE], false, "the files keep off what the tests turn on");
  flags[GRACEFUL_CLOSE] = options.gracefulClose === "on";
  const bootstrap: Bootstrap = {
    ...readProfile("envoy"),
    admin: { address: { socket_address: ANY_PORT } },
    static_resources: { listeners, clusters: [...clusters.values()] },
  };
  const [layer] = bootstrap.layered_runtime.layers;
  assert.ok(layer);
  layer.static_layer = flags;
  options.edit?.(bootstrap);
  return bootstrap;
}

/** The connection manager of a listener, for `edit`. */
export function managerOf(listener: Listener): HttpManager {
  const manager = listener.filter_chains[0]?.filters[0]?.typed_config;
  assert.ok(manager, "the listener has a connection manager");
  return manager;
}

export const routesOf = (manager: HttpManager): readonly Route[] =>
  manager.route_config.virtual_hosts.flatMap(({ routes }) => routes);

function readAddress(address: FilterAddress): {
  profile: Profile;
  endpoints: readonly Endpoint[] | undefined;
} {
  if (address === undefined) return { profile: "envoy", endpoints: undefined };
  if ("endpoints" in address) {
    return { profile: address.profile ?? "envoy", endpoints: address.endpoints };
  }
  return { profile: "envoy", endpoints: [address] };
}

function agree(flags: Record<string, boolean>, more: Record<string, boolean>): void {
  for (const [name, value] of Object.entries(more)) {
    assert.equal(flags[name] ?? value, value, `files differ in the runtime flag ${name}`);
    flags[name] = value;
  }
}

function listenerOf(file: Bootstrap, name: string, accessLog: string): Listener {
  const [listener] = file.static_resources.listeners;
  assert.ok(listener, "the file has a listener");
  listener.name = name;
  listener.address.socket_address = { ...ANY_PORT };
  for (const log of managerOf(listener).access_log) {
    log.typed_config = { ...log.typed_config, "@type": FILE_LOG, path: accessLog };
  }
  return listener;
}

const isOurs = ({ name }: HttpFilter): boolean => name.startsWith(`${LIMEN}.`);

function withoutFilter(listener: Listener): void {
  const manager = managerOf(listener);
  manager.http_filters = manager.http_filters.filter((filter) => !isOurs(filter));
}

function servedBy(listener: Listener, cluster: string): void {
  const filters = managerOf(listener).http_filters.filter(isOurs);
  assert.ok(filters.length > 0, "the file has a filter of ours");
  for (const { typed_config } of filters) {
    assert.ok(typed_config.grpc_service);
    typed_config.grpc_service.envoy_grpc.cluster_name = cluster;
  }
}

function withEndpoints(cluster: Cluster, name: string, endpoints: readonly Endpoint[]): Cluster {
  const found = endpoints.map((one) => ({
    endpoint: {
      address:
        "path" in one
          ? { pipe: { path: one.path } }
          : { socket_address: { address: "127.0.0.1", port_value: one.port } },
    },
  }));
  const assignment = { cluster_name: name, endpoints: [{ lb_endpoints: found }] };
  return { ...cluster, name, load_assignment: assignment };
}
