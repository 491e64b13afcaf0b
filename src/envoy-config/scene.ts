/**
 * Finds what a file says about Limen: its filters, the connection managers they stand in, the routes behind
 * those, and the clusters. Reads bootstrap files, dumps of Envoy's admin port, and the patches of Istio's
 * EnvoyFilters; what a file leaves to somebody else (istiod, a management server) is marked as not seen.
 */
import type { Cursor } from "./cursor.ts";

const EXT_PROC = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor";
const EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz";
const MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const STRUCTS: ReadonlySet<string> = new Set([
  "udpa.type.v1.TypedStruct",
  "xds.type.v3.TypedStruct",
]);
const WITH_MATCHER = "envoy.extensions.common.matching.v3.ExtensionWithMatcher";
const ROUTE_FILTER = "envoy.config.route.v3.FilterConfig";
/** Longer names are not looked up by: every lookup by name costs its length. */
const MAX_NAME = 256;

/** The configuration of an extension, out of its wrappings. */
export type Message = {
  readonly type: string;
  readonly body: Cursor;
  /** "matched": it holds for the requests that a matcher chooses. */
  readonly holds: "always" | "matched";
};

export type Filter = Message & {
  readonly name: string;
  /** The entry of `http_filters`, or the value of the patch that puts it there. */
  readonly entry: Cursor;
  readonly patch: Cursor | undefined;
};

/** A route, or what holds for many: a route configuration, a virtual host, a share of a weighted cluster. */
export type Level = {
  readonly kind: "configuration" | "host" | "route" | "share";
  readonly at: Cursor;
  readonly parents: readonly Level[];
};

/** A connection manager. */
export type Manager = {
  /** "patches": only what EnvoyFilters change is seen, Istio makes the rest. */
  readonly seen: "whole" | "patches";
  readonly guards: readonly Guard[];
  /** Messages with settings of the manager; a setting is in one of them. */
  readonly settings: readonly Cursor[];
  readonly listeners: readonly Cursor[];
  /** In order when seen whole. */
  readonly filters: readonly Filter[];
  readonly levels: readonly Level[];
};

/** A filter of Limen. */
export type Guard = Filter & { readonly kind: "ext_proc" | "ext_authz" };

export type Scene = {
  readonly managers: readonly Manager[];
  /** Connection managers without a filter of Limen. */
  readonly unguarded: readonly Manager[];
  readonly clusters: ReadonlyMap<string, Cursor>;
  /** Whether clusters may exist that the file does not show. */
  readonly clustersSeen: "all" | "some";
  /** EnvoyFilter patches of clusters, with what they match. */
  readonly clusterPatches: readonly Cursor[];
  readonly runtimes: readonly Cursor[];
  /** Entries of Istio's `extensionProviders` that ask Limen. */
  readonly providers: readonly Cursor[];
};

/** Out of `TypedStruct`, `ExtensionWithMatcher` and a route's `FilterConfig`; the reader bounds the nesting. */
export function unwrap(any: Cursor): Message {
  if (STRUCTS.has(any.type)) {
    const type = any.at("type_url").text()?.split("/").at(-1) ?? "";
    return { type, body: any.at("value"), holds: "always" };
  }
  if (any.type === WITH_MATCHER)
    return { ...unwrap(any.in("extension_config", "typed_config")), holds: "matched" };
  if (any.type === ROUTE_FILTER && any.at("config").isWritten) return unwrap(any.at("config"));
  return { type: any.type, body: any, holds: "always" };
}

type Parts = {
  readonly listeners: Cursor[];
  readonly clusters: Cursor[];
  readonly routes: Cursor[];
  readonly patches: Cursor[];
  readonly runtimes: Cursor[];
  readonly providers: Cursor[];
  clustersSeen: Scene["clustersSeen"];
};

/** @param isOurs by the name of a filter and of the cluster it asks */
export function sceneOf(
  documents: readonly Cursor[],
  isOurs: (name: string, cluster: string) => boolean,
): Scene {
  const parts: Parts = {
    listeners: [],
    clusters: [],
    routes: [],
    patches: [],
    runtimes: [],
    providers: [],
    clustersSeen: "some",
  };
  for (const document of documents) collect(document, parts);
  const routes = named(parts.routes);
  const managers = [
    ...parts.listeners.flatMap((listener) => managersOf(listener, routes)),
    patchedManager(parts.patches),
  ].map((manager) => ({ ...manager, guards: guardsAmong(manager.filters, isOurs) }));
  return {
    managers: managers.filter(({ guards }) => guards.length > 0),
    unguarded: managers.filter(({ guards }) => guards.length === 0),
    clusters: named(parts.clusters),
    clustersSeen: parts.clustersSeen,
    clusterPatches: parts.patches.filter((patch) => patch.at("applyTo").text() === "CLUSTER"),
    runtimes: parts.runtimes,
    providers: parts.providers.filter((one) => isOurs(one.at("name").text() ?? "", "")),
  };
}

function collect(document: Cursor, parts: Parts): void {
  const kind = document.at("kind").text() ?? "";
  if (kind === "EnvoyFilter") parts.patches.push(...document.in("spec", "configPatches").items());
  else if (kind.endsWith("List")) {
    for (const item of document.at("items").items()) collect(item, parts);
  } else if (document.at("configs").isWritten) {
    for (const section of document.at("configs").items()) collectDump(section, parts);
  } else if (document.at("resources").isWritten) {
    for (const resource of document.at("resources").items()) collectResource(resource, parts);
  } else {
    const { listeners, clusters, runtimes, providers } = parts;
    listeners.push(...document.in("static_resources", "listeners").items());
    clusters.push(...document.in("static_resources", "clusters").items());
    runtimes.push(...layersOf(document));
    for (const mesh of [document.at("meshConfig"), document.in("spec", "meshConfig")]) {
      providers.push(...mesh.at("extensionProviders").items());
      runtimes.push(mesh.in("defaultConfig", "runtimeValues"));
    }
    const isAll = !document.in("dynamic_resources", "cds_config").isWritten;
    if (isAll && document.at("static_resources").isWritten) parts.clustersSeen = "all";
  }
}

const layersOf = (bootstrap: Cursor): readonly Cursor[] =>
  bootstrap
    .in("layered_runtime", "layers")
    .items()
    .map((layer) => layer.at("static_layer"));

/** A section of `/config_dump` on the admin port, or with `?resource=` one entry of a section. */
function collectDump(section: Cursor, parts: Parts): void {
  const each = (list: string, ...path: readonly string[]): readonly Cursor[] =>
    section
      .at(list)
      .items()
      .map((item) => item.in(...path));
  parts.listeners.push(...each("static_listeners", "listener"));
  parts.listeners.push(...each("dynamic_listeners", "active_state", "listener"));
  parts.clusters.push(...each("static_clusters", "cluster"));
  parts.clusters.push(...each("dynamic_active_clusters", "cluster"));
  parts.routes.push(...each("static_route_configs", "route_config"));
  parts.routes.push(...each("dynamic_route_configs", "route_config"));
  parts.listeners.push(section.in("active_state", "listener"));
  parts.clusters.push(section.at("cluster"));
  parts.routes.push(section.at("route_config"));
  parts.runtimes.push(...layersOf(section.at("bootstrap")));
  if (section.type === "envoy.admin.v3.ClustersConfigDump") parts.clustersSeen = "all";
}

/** A resource of a file that Envoy watches (a DiscoveryResponse). */
function collectResource(resource: Cursor, parts: Parts): void {
  if (resource.type === "envoy.config.listener.v3.Listener") parts.listeners.push(resource);
  if (resource.type === "envoy.config.cluster.v3.Cluster") parts.clusters.push(resource);
  if (resource.type === "envoy.config.route.v3.RouteConfiguration") parts.routes.push(resource);
}

/** By name; of two with the same name the first. Only names that are looked up cheaply. */
function named(cursors: readonly Cursor[]): ReadonlyMap<string, Cursor> {
  const byName = new Map<string, Cursor>();
  for (const cursor of cursors) {
    const name = cursor.at("name").text();
    if (name !== undefined && name.length <= MAX_NAME && !byName.has(name))
      byName.set(name, cursor);
  }
  return byName;
}

type Unguarded = Omit<Manager, "guards">;

function managersOf(listener: Cursor, routes: ReadonlyMap<string, Cursor>): readonly Unguarded[] {
  const chains = [...listener.at("filter_chains").items(), listener.at("default_filter_chain")];
  return chains
    .flatMap((chain) => chain.at("filters").items())
    .map((filter) => unwrap(filter.at("typed_config")))
    .filter(({ type }) => type === MANAGER)
    .map(({ body }) => {
      const remote = routes.get(body.in("rds", "route_config_name").text() ?? "");
      return {
        seen: "whole",
        settings: [body],
        listeners: [listener],
        filters: body
          .at("http_filters")
          .items()
          .map((entry) => filterOf(entry, undefined)),
        levels: levelsOf(remote ?? body.at("route_config")),
      };
    });
}

/** What all patches of a file say together: istiod applies them to one proxy, whatever document they are in. */
function patchedManager(patches: readonly Cursor[]): Unguarded {
  const of = (target: string): readonly Cursor[] =>
    patches.filter((patch) => patch.at("applyTo").text() === target);
  const values = (target: string): readonly Cursor[] =>
    of(target).map((patch) => patch.in("patch", "value"));
  return {
    seen: "patches",
    settings: values("NETWORK_FILTER")
      .map((value) => unwrap(value.at("typed_config")))
      .filter(({ type }) => type === MANAGER)
      .map(({ body }) => body),
    listeners: values("LISTENER"),
    filters: of("HTTP_FILTER").map((patch) => filterOf(patch.in("patch", "value"), patch)),
    levels: [
      ...values("ROUTE_CONFIGURATION").flatMap(levelsOf),
      ...values("VIRTUAL_HOST").flatMap((host) => hostLevels(host, [])),
      ...values("HTTP_ROUTE").flatMap((route) => routeLevels(route, [])),
    ],
  };
}

const filterOf = (entry: Cursor, patch: Cursor | undefined): Filter => ({
  ...unwrap(entry.at("typed_config")),
  name: entry.at("name").text() ?? "",
  entry,
  patch,
});

function guardsAmong(
  filters: readonly Filter[],
  isOurs: (name: string, cluster: string) => boolean,
): readonly Guard[] {
  return filters.flatMap((filter): readonly Guard[] => {
    const kind =
      filter.type === EXT_PROC ? "ext_proc" : filter.type === EXT_AUTHZ ? "ext_authz" : undefined;
    const cluster = filter.body.in("grpc_service", "envoy_grpc", "cluster_name").text() ?? "";
    const isNamed = filter.name.length <= MAX_NAME && isOurs(filter.name, cluster);
    return kind !== undefined && isNamed ? [{ ...filter, kind }] : [];
  });
}

function levelsOf(configuration: Cursor): readonly Level[] {
  const top: Level = { kind: "configuration", at: configuration, parents: [] };
  const hosts = configuration.at("virtual_hosts").items();
  return [top, ...hosts.flatMap((host) => hostLevels(host, [top]))];
}

function hostLevels(host: Cursor, parents: readonly Level[]): readonly Level[] {
  const level: Level = { kind: "host", at: host, parents };
  const routes = host.at("routes").items();
  return [level, ...routes.flatMap((route) => routeLevels(route, [level, ...parents]))];
}

function routeLevels(route: Cursor, parents: readonly Level[]): readonly Level[] {
  const level: Level = { kind: "route", at: route, parents };
  const shares = route.in("route", "weighted_clusters", "clusters").items();
  const above = [level, ...parents];
  return [level, ...shares.map((at): Level => ({ kind: "share", at, parents: above }))];
}
