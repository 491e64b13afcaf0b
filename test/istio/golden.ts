/**
 * What istiod generates from the files of istio/, one listener per file, kept in golden/ by the Go tests beside
 * this file: the connection manager with its routes, and the clusters that it needs. Loaded here into the Envoy
 * of a test, with the ports filled in.
 */
import { readFileSync } from "node:fs";
import type { Bootstrap, Cluster, Listener } from "../real/bootstrap.ts";

/** The files of istio/ that stand in the way of requests. */
export const PLACES = [
  "gateway",
  "sidecar-outbound",
  "sidecar-inbound",
  "waypoint",
  "ext-authz",
] as const;
export type Place = (typeof PLACES)[number];

type Golden = { readonly listener: Listener; readonly clusters: readonly Cluster[] };

/** What a listener of golden/ is for: a place above, a gateway of an old Istio, the sidecar of Limen itself. */
type Kept = Place | "unsupported-proxy" | "limen-sidecar";

const textOf = (kept: Kept): string =>
  readFileSync(new URL(`golden/${kept}.want.json`, import.meta.url), "utf8");

export const goldenOf = (place: Place): Golden => JSON.parse(textOf(place)) as Golden;

/** Adds the listeners, each with its name. Their clusters of Limen lead to `limenPort`, the others to `otherPort`. */
export function addKept(
  { static_resources: { listeners, clusters } }: Bootstrap,
  kept: readonly Kept[],
  { limenPort, otherPort }: { readonly limenPort: number; readonly otherPort: number },
): void {
  for (const one of kept) {
    // Proxies of several kinds in one process: each keeps clusters of its own.
    const renamed = (JSON.parse(textOf(one)) as Golden).clusters.reduce(
      (text, { name }) => text.replaceAll(`"${name}"`, `"${one} ${name}"`),
      textOf(one),
    );
    const own = JSON.parse(renamed) as Golden;
    for (const { load_assignment: assignment, name } of own.clusters) {
      const port = name.includes("limen-system") ? limenPort : otherPort;
      const address = { socket_address: { address: "127.0.0.1", port_value: port } };
      assignment.endpoints = [{ lb_endpoints: [{ endpoint: { address } }] }];
    }
    listeners.push(own.listener);
    clusters.push(...own.clusters);
  }
}
