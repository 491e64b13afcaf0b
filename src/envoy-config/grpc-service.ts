/** Rules about the calls to Limen: a `grpc_service`, of a filter or of a route's override. */
import type { Cursor } from "./cursor.ts";
import { REPLY_DEADLINE_MS, type Rule, type Spot, spotIf } from "./rule.ts";

/** nghttp2, below Node, closes a stream whose authority holds anything else (RFC 3986, 3.2). */
const AUTHORITY = /^[\w.~:[\]@!$&'()*+,;=%-]+$/;

export const SERVICE_RULES: readonly Rule<Cursor>[] = [
  {
    id: "authority",
    severity: "error",
    what: "the authority has a character that Node refuses",
    so: "every request is a 503; without an authority Envoy sends the cluster's name, in Istio one with bars",
    fix: "add authority: with the host name of Limen's service, or limen.local",
    find: (service) =>
      refusedAuthority(service.at("envoy_grpc"), service.in("envoy_grpc", "cluster_name")),
  },
  {
    id: "authority-implicit",
    severity: "warning",
    what: "authority is not set",
    so: "Envoy sends the cluster's name: a cluster renamed with a bar or a slash turns every request into a 503",
    fix: "add authority: limen.local",
    find: (service) =>
      implicitAuthority(service.at("envoy_grpc"), service.in("envoy_grpc", "cluster_name")),
  },
  {
    id: "google-grpc",
    severity: "warning",
    what: "google_grpc carries the calls",
    so: "it has pools, limits and deadlines of its own, and nothing here was tried with it",
    fix: "use envoy_grpc with a cluster",
    find: (service) => spotIf(service.at("google_grpc").isWritten, service.at("google_grpc")),
  },
  {
    id: "grpc-attempt-short",
    severity: "warning",
    what: "retry_back_off.max_interval is not longer than the 4 s in which Limen answers",
    so: "Envoy ends each attempt after it, whatever timeout says: a slower answer of Limen is a 503",
    fix: "use max_interval: 5s",
    find: (service) => {
      const longest = service.in("retry_policy", "retry_back_off", "max_interval");
      const ms = longest.milliseconds() ?? Number.POSITIVE_INFINITY;
      return spotIf(ms <= REPLY_DEADLINE_MS, longest);
    },
  },
  {
    id: "grpc-retry",
    severity: "warning",
    what: "retry_on has a gRPC status",
    so: "Limen's own refusals for lack of capacity are asked again of the next process, which is as busy",
    fix: "use connect-failure,refused-stream",
    find: (service) => {
      const retryOn = service.in("retry_policy", "retry_on");
      const words = (retryOn.text() ?? "").split(",").map((word) => word.trim());
      return spotIf(
        words.some((word) => GRPC_RETRIES.has(word)),
        retryOn,
      );
    },
  },
];

const GRPC_RETRIES: ReadonlySet<string> = new Set([
  "cancelled",
  "deadline-exceeded",
  "internal",
  "resource-exhausted",
  "unavailable",
]);

/** @param name the cluster's, which stands in where no authority is written */
export function refusedAuthority(call: Cursor, name: Cursor): readonly Spot[] {
  const authority = call.at("authority");
  const sent = authority.text() ?? name.text();
  return spotIf(call.isWritten && sent !== undefined && !AUTHORITY.test(sent), authority);
}

export function implicitAuthority(call: Cursor, name: Cursor): readonly Spot[] {
  const authority = call.at("authority");
  const isFine = AUTHORITY.test(name.text() ?? "");
  return spotIf(call.isWritten && !authority.isWritten && isFine, authority);
}
