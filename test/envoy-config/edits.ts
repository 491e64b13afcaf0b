/** The shipped configurations, and copies of them with one thing changed. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { checkEnvoy, type Finding } from "../../src/envoy-config/check.ts";

const read = (path: string): string =>
  readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

export const SHIPPED = {
  "envoy/envoy.yaml": read("envoy/envoy.yaml"),
  "envoy/strict-stream.yaml": read("envoy/strict-stream.yaml"),
  "envoy/ext-authz.yaml": read("envoy/ext-authz.yaml"),
  "istio/gateway.yaml": read("istio/gateway.yaml"),
  "istio/sidecar-inbound.yaml": read("istio/sidecar-inbound.yaml"),
  "istio/sidecar-outbound.yaml": read("istio/sidecar-outbound.yaml"),
  "istio/waypoint.yaml": read("istio/waypoint.yaml"),
  "istio/mesh-config.yaml": read("istio/mesh-config.yaml"),
} as const;
export type Shipped = keyof typeof SHIPPED;

const MiB = 1024 ** 2;
export const LIMITS = { requestBytes: 8 * MiB, responseBytes: 8 * MiB } as const;

export const check = (text: string, filter?: string, limits = LIMITS): readonly Finding[] =>
  checkEnvoy({ name: "f", text }, { filter, limits });

/** Replaces the only place where `from` stands; `"N:..."` the N-th of several. */
export function edit(text: string, from: string, to: string): string {
  const [, nth = "", plain = from] = /^(\d):([\s\S]*)$/.exec(from) ?? [];
  const parts = text.split(plain);
  if (nth === "") assert.equal(parts.length, 2, `${plain} stands once`);
  const n = nth === "" ? 1 : Number(nth);
  assert.ok(n < parts.length, `${plain} stands ${n} times`);
  return parts.slice(0, n).join(plain) + to + parts.slice(n).join(plain);
}

/** The line at which a finding points. */
export function lineOf(text: string, { where }: Finding): string {
  const [, line = ""] = /^f:(\d+):\d+/.exec(where) ?? [];
  return text.split("\n")[Number(line) - 1]?.trim() ?? "";
}
