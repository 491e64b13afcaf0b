/** The shipped configurations, and copies of them with one thing changed. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { checkEnvoy, type Finding } from "../../src/envoy-config/check.ts";
import type { Edit } from "./cases.ts";

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

/** A good file with the edits of a case. */
export const applied = (file: Shipped, edits: Edit | readonly Edit[]): string =>
  listOf(edits).reduce(
    (text: string, [from, to]) => (to === undefined ? without(text, from) : edit(text, from, to)),
    SHIPPED[file],
  );

const isEdit = (edits: Edit | readonly Edit[]): edits is Edit => typeof edits[0] === "string";
const listOf = (edits: Edit | readonly Edit[]): readonly Edit[] =>
  isEdit(edits) ? [edits] : edits;

/** Without the only line that reads `line`, and without all that is indented deeper below it. */
function without(text: string, line: string): string {
  const lines = text.split("\n");
  const begins = lines.flatMap((one, i) => (one.trim() === line ? [i] : []));
  const [begin = 0] = begins;
  assert.equal(begins.length, 1, `${line} stands once`);
  const depth = (one: string): number => one.search(/\S|$/);
  const length = lines.slice(begin + 1).findIndex((one) => depth(one) <= depth(lines[begin] ?? ""));
  return [...lines.slice(0, begin), ...lines.slice(begin + 1 + length)].join("\n");
}

/** The line at which a finding points. */
export function lineOf(text: string, { where }: Finding): string {
  const [, line = ""] = /^f:(\d+):\d+/.exec(where) ?? [];
  return text.split("\n")[Number(line) - 1]?.trim() ?? "";
}
