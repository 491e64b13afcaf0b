/**
 * What istiod generates from the files of istio/, one listener per file, kept in golden/ by the Go tests beside
 * this file: the connection manager with its routes, and the clusters that it needs. Loaded here into the Envoy
 * of a test, with the ports filled in.
 */
import assert from "node:assert/strict";
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

const textOf = (place: Place): string =>
  readFileSync(new URL(`golden/${place}.want.json`, import.meta.url), "utf8");

export const goldenOf = (place: Place): Golden => JSON.parse(textOf(place)) as Golden;

/** Adds a listener per place, named after it, that reaches the bootstrap's own Limen and model. */
export function addPlaces({ static_resources: { listeners, clusters } }: Bootstrap): void {
  const endpointsOf = (own: string): Cluster["load_assignment"]["endpoints"] => {
    const found = clusters.find(({ name }) => name === own);
    assert.ok(found, `the bootstrap has a cluster ${own}`);
    return found.load_assignment.endpoints;
  };
  const [limen, model] = [endpointsOf("limen-limen"), endpointsOf("model")];
  for (const place of PLACES) {
    // Proxies of several kinds in one process: each keeps clusters of its own.
    const names = goldenOf(place).clusters.map(({ name }) => name);
    const renamed = names.reduce(
      (text, name) => text.replaceAll(`"${name}"`, `"${place} ${name}"`),
      textOf(place),
    );
    const own = JSON.parse(renamed) as Golden;
    for (const { load_assignment: assignment, name } of own.clusters) {
      assignment.endpoints = name.includes("limen-system") ? limen : model;
    }
    listeners.push(own.listener);
    clusters.push(...own.clusters);
  }
}
