/** Rules about the cluster of Limen: that it exists, speaks HTTP/2, and that a dead process is noticed. */
import type { Cursor } from "./cursor.ts";
import { implicitAuthority, refusedAuthority } from "./grpc-service.ts";
import { type Rule, spotIf } from "./rule.ts";
import { type Manager, type Scene, unwrap } from "./scene.ts";

/** A cluster that a filter of Limen asks. */
export type ClusterUse = {
  /** The field that names it. */
  readonly name: Cursor;
  /** "patches": Istio makes the cluster; "elsewhere": a management server does; "nowhere": nobody does. */
  readonly seen: "whole" | "patches" | "elsewhere" | "nowhere";
  /** The cluster, or what patches add to it. */
  readonly parts: readonly Cursor[];
};

const OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
const SERVICES: ReadonlySet<string> = new Set([
  "",
  "envoy.service.ext_proc.v3.ExternalProcessor",
  "envoy.service.auth.v3.Authorization",
]);
const MAX_IDLE_CHECK_MS = 10_000;

/** The clusters that the services of a manager's filters and routes name, each once. */
export function clustersOf(
  scene: Scene,
  { seen }: Manager,
  services: readonly Cursor[],
): readonly ClusterUse[] {
  const patches = seen === "patches" ? patchesByHost(scene.clusterPatches) : undefined;
  const uses = new Map<string, ClusterUse>();
  for (const service of services) {
    const name = service.in("envoy_grpc", "cluster_name");
    const text = name.text();
    if (text === undefined) continue;
    const cluster = scene.clusters.get(text);
    const unseen = scene.clustersSeen === "all" ? "nowhere" : "elsewhere";
    if (cluster !== undefined) uses.set(text, { name, seen: "whole", parts: [cluster] });
    else if (patches === undefined) uses.set(text, { name, seen: unseen, parts: [] });
    else {
      const host = hostOf(text);
      uses.set(host, { name, seen: "patches", parts: patches.get(host) ?? [] });
    }
  }
  return [...uses.values()];
}

/** Istio names a cluster `outbound|9002||limen.example`. */
const hostOf = (cluster: string): string => cluster.split("|").at(-1) ?? "";

/** What EnvoyFilters add to clusters; patches that match every cluster are not taken for one of Limen's. */
function patchesByHost(patches: readonly Cursor[]): ReadonlyMap<string, readonly Cursor[]> {
  const byHost = new Map<string, Cursor[]>();
  for (const patch of patches) {
    const match = patch.in("match", "cluster");
    const value = patch.in("patch", "value");
    const named = match.at("name").text() ?? value.at("name").text() ?? "";
    const host = match.at("service").text() ?? hostOf(named);
    const known = byHost.get(host);
    if (known === undefined) byHost.set(host, [value]);
    else known.push(value);
  }
  return byHost;
}

export const CLUSTER_RULES: readonly Rule<ClusterUse>[] = [
  {
    id: "cluster-missing",
    severity: "error",
    what: "no cluster has this name",
    so: "Envoy starts all the same, and every request is a 503",
    fix: "add the cluster, or correct the name",
    find: ({ name, seen }) => spotIf(seen === "nowhere", name),
  },
  {
    id: "cluster-http2",
    severity: "error",
    what: "the cluster of Limen does not speak HTTP/2",
    so: "gRPC needs it: every request is a 503",
    fix: "add explicit_http_config with http2_protocol_options",
    find: ({ seen, parts }) =>
      parts.flatMap((part) => {
        const options = optionsOf(part);
        const isKnown = seen === "whole" || options.isWritten;
        return spotIf(isKnown && !http2Of(part).isWritten, options.at("explicit_http_config"));
      }),
  },
  {
    id: "cluster-keepalive",
    severity: "error",
    what: "the cluster of Limen has no connection_keepalive",
    so: "a process that is stopped or cut off hangs its exchanges until stream_idle_timeout ends them",
    fix: "add connection_keepalive: { interval: 2s, timeout: 2s } to its http2_protocol_options",
    find: ({ name, seen, parts }) => {
      const places = parts.map((part) => http2Of(part).at("connection_keepalive"));
      const isSet = places.some((place) => place.at("interval").isWritten);
      // Istio sets none. A cluster without HTTP/2 has a rule of its own.
      const isKnown = seen === "patches" || parts.some((part) => http2Of(part).isWritten);
      return spotIf(isKnown && !isSet, places[0] ?? name);
    },
  },
  {
    id: "health-check",
    severity: "warning",
    what: "the cluster of Limen has no health check",
    so: "a dead process keeps its share of the traffic, and a draining one is not left in time",
    fix: "add a grpc_health_check, as envoy/envoy.yaml does",
    // In Istio Kubernetes takes a dead process out of the cluster.
    find: ({ seen, parts }) =>
      parts.flatMap((part) => {
        const checks = part.at("health_checks");
        return spotIf(seen === "whole" && checks.items().length === 0, checks);
      }),
  },
  {
    id: "health-authority",
    severity: "error",
    what: "the authority of the health check has a character that Node refuses",
    so: "every check fails and every request is a 503; without an authority Envoy sends the cluster's name, in Istio one with bars",
    fix: "add authority: with the host name of Limen's service, or limen.local",
    find: (use) =>
      checksOf(use).flatMap((check) => refusedAuthority(check.at("grpc_health_check"), use.name)),
  },
  {
    id: "health-authority-implicit",
    severity: "warning",
    what: "the health check has no authority",
    so: "Envoy sends the cluster's name: a cluster renamed with a bar or a slash turns every request into a 503",
    fix: "add authority: limen.local",
    find: (use) =>
      checksOf(use).flatMap((check) => implicitAuthority(check.at("grpc_health_check"), use.name)),
  },
  {
    id: "health-service",
    severity: "error",
    what: "the health check asks for a service that Limen does not have",
    so: "the answer is NOT_FOUND, which counts as dead: every request is a 503",
    fix: "use envoy.service.ext_proc.v3.ExternalProcessor or envoy.service.auth.v3.Authorization",
    find: (use) =>
      checksOf(use).flatMap((check) => {
        const service = check.in("grpc_health_check", "service_name");
        return spotIf(!SERVICES.has(service.text() ?? ""), service);
      }),
  },
  {
    id: "health-idle",
    severity: "warning",
    what: "no_traffic_interval is not set, or longer than 10 s",
    so: "before the first request Envoy checks once a minute: a dead process gets its share of the first traffic",
    fix: "add no_traffic_interval: 2s",
    find: (use) =>
      checksOf(use).flatMap((check) => {
        const interval = check.at("no_traffic_interval");
        const ms = interval.isWritten ? interval.milliseconds() : Number.POSITIVE_INFINITY;
        return spotIf(ms !== undefined && ms > MAX_IDLE_CHECK_MS, interval);
      }),
  },
  {
    id: "panic-threshold",
    severity: "warning",
    what: "healthy_panic_threshold is not 0",
    so: "with too few healthy processes Envoy sends traffic to the unhealthy ones; 50 % is the default",
    fix: "add common_lb_config with healthy_panic_threshold: { value: 0 }",
    find: ({ seen, parts }) =>
      parts.flatMap((part) => {
        const threshold = part.in("common_lb_config", "healthy_panic_threshold");
        const isZero = threshold.isWritten && (threshold.at("value").number() ?? 0) === 0;
        return spotIf(!isZero && (seen === "whole" || threshold.isWritten), threshold);
      }),
  },
  {
    id: "circuit-breakers",
    severity: "warning",
    what: "the cluster of Limen has Envoy's default of 1,024 requests at a time",
    so: "a busy hour is refused with 503; Limen has limits of its own, and says so in its records",
    fix: "raise max_requests in circuit_breakers, as envoy/envoy.yaml does",
    find: ({ seen, parts }) =>
      parts.flatMap((part) => {
        const thresholds = part.in("circuit_breakers", "thresholds");
        const isSet = thresholds.items().some((one) => one.at("max_requests").isWritten);
        return spotIf(seen === "whole" && !isSet, thresholds);
      }),
  },
];

const checksOf = ({ parts }: ClusterUse): readonly Cursor[] =>
  parts.flatMap((part) => part.at("health_checks").items());

const optionsOf = (cluster: Cursor): Cursor =>
  unwrap(cluster.in("typed_extension_protocol_options", OPTIONS)).body;

/** The older place of the field counts as well. */
function http2Of(cluster: Cursor): Cursor {
  const older = cluster.at("http2_protocol_options");
  return older.isWritten
    ? older
    : optionsOf(cluster).in("explicit_http_config", "http2_protocol_options");
}
