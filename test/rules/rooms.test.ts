/** Who may import whom, and which package and which part of Node stands where. Types count too. */
import { posix } from "node:path";
import { checkRule, roomOf } from "./rule.ts";
import { type SourceFile, sourcesIn } from "./source.ts";

const sources = sourcesIn("src");

/** "top" and cli know every room. A room that is not listed may not exist. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  llm: ["core"],
  detect: ["core"],
  telemetry: ["core"],
  policy: ["core"],
  // Reads with places as policies are read, and tries patterns as Envoy will: with RE2.
  "envoy-config": ["core", "detect", "policy"],
  audit: ["core"],
  ingress: ["core", "detect", "llm"],
  egress: ["core", "detect", "llm"],
  action: ["core", "detect", "llm"],
  exchange: ["core", "llm"],
  envoy: ["core", "exchange", "telemetry"],
};

/** Where a package may be imported: a folder, or one file. */
const PACKAGES: Readonly<Record<string, string>> = {
  re2: "src/detect/re2.ts",
  yaml: "src/policy/",
  pino: "src/telemetry/log.ts",
  "prom-client": "src/telemetry/metrics.ts",
  "@grpc/grpc-js": "src/envoy/",
  "@grpc/proto-loader": "src/envoy/proto.ts",
  "grpc-health-check": "src/envoy/server.ts",
  "onnxruntime-node": "src/detect/model/runtime.ts",
};

/** Parts of Node that compute and touch nothing outside. */
const PURE: ReadonlySet<string> = new Set([
  "node:buffer",
  "node:crypto",
  "node:events",
  "node:path",
  "node:url",
  "node:util",
  "node:zlib",
]);
/** Parts that reach outside the process or beside the event loop, and the files that may. */
const EFFECTS: Readonly<Record<string, readonly string[]>> = {
  "node:fs": [
    "src/audit/file.ts",
    "src/config.ts",
    "src/detect/model/weights.ts",
    "src/envoy/server.ts", // the socket file that a dead process left
    "src/envoy/tls-files.ts", // certificates
    "src/envoy/watchdog-thread.ts", // the last line on standard error
    "src/policy/store.ts",
  ],
  "node:fs/promises": ["src/policy/store.ts"],
  "node:http": ["src/admin.ts"],
  "node:module": ["src/detect/model/runtime.ts"], // a package whose types are not imported
  "node:net": [
    "src/admin.ts",
    "src/config-listen.ts",
    "src/envoy/server.ts",
    "src/envoy/tls-port.ts",
  ],
  "node:tls": ["src/envoy/tls-files.ts", "src/envoy/tls-port.ts"],
  "node:sqlite": ["src/audit/lock.ts"], // its lock dies with the process
  "node:v8": ["src/envoy/watchdog-thread.ts"],
  "node:vm": ["src/envoy/watchdog-thread.ts"],
  "node:worker_threads": [
    "src/audit/log.ts",
    "src/audit/open.ts",
    "src/audit/writer-thread.ts",
    "src/detect/model/thread.ts",
    "src/detect/model/threads.ts",
    "src/envoy/watchdog.ts",
    "src/envoy/watchdog-thread.ts",
  ],
};

const isOwn = (specifier: string): boolean => specifier.startsWith(".");
const isBuiltin = (specifier: string): boolean => specifier.startsWith("node:");
const inCli = (path: string): boolean => roomOf(path) === "cli";
const packageOf = (specifier: string): string =>
  specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");

function foreignRooms(file: SourceFile): string[] {
  const room = roomOf(file.path);
  if (room === "top" || room === "cli") return [];
  const allowed = ROOMS[room];
  if (allowed === undefined) return [`the room ${room} is not in the table`];
  return file.imports.filter(isOwn).filter((specifier) => {
    const target = posix.join(posix.dirname(file.path), specifier);
    const other = roomOf(target);
    return target.startsWith("src/") && other !== room && !allowed.includes(other);
  });
}

const foreignPackages = ({ path, imports }: SourceFile): string[] =>
  imports
    .filter((specifier) => !isOwn(specifier) && !isBuiltin(specifier))
    .filter((specifier) => {
      const place = PACKAGES[packageOf(specifier)];
      return (
        place === undefined || !(place.endsWith("/") ? path.startsWith(place) : path === place)
      );
    });

const effects = ({ path, imports }: SourceFile): string[] =>
  imports
    .filter(isBuiltin)
    .filter((part) => !PURE.has(part) && !EFFECTS[part]?.includes(path) && !inCli(path));

const outside = ({ path, imports }: SourceFile): string[] =>
  imports.filter(isOwn).filter((specifier) => {
    const target = posix.join(posix.dirname(path), specifier);
    return !target.startsWith("src/") && roomOf(path) !== "cli" && !target.startsWith("proto");
  });

describe("rooms", () => {
  checkRule({
    promise: "a room imports only the rooms of its row, types too",
    files: sources,
    atLeast: 80,
    find: foreignRooms,
    broken: [
      ["src/core/x.ts", 'import { parseJson } from "../llm/json.ts";'],
      ["src/exchange/x.ts", 'import type { Server } from "../envoy/server.ts";'],
      ["src/llm/framing/x.ts", 'import { re2 } from "../../detect/re2.ts";'],
      ["src/audit/x.ts", 'type T = import("../telemetry/metrics.ts").Metrics;'],
      ["src/envoy/x.ts", 'new URL("../audit/writer-thread.ts", import.meta.url)'],
      ["src/detect/x.ts", 'import { loadConfig } from "../config.ts";'],
      ["src/shared/x.ts", ""],
    ],
    sound: [
      ["src/envoy/ext-proc/x.ts", 'import { y } from "../../exchange/y.ts";'],
      ["src/cli/x.ts", 'import { y } from "../audit/y.ts";'],
      ["src/admin.ts", 'import { y } from "./telemetry/y.ts";'],
    ],
  });
  checkRule({
    promise: "a package is imported in its room or its one file alone",
    files: sources,
    atLeast: 80,
    find: foreignPackages,
    broken: [
      ["src/detect/rules.ts", 'import RE2 from "re2";'],
      ["src/cli/serve.ts", 'import { pino } from "pino";'],
      ["src/exchange/x.ts", 'import type { Metadata } from "@grpc/grpc-js";'],
      ["src/core/x.ts", 'import left from "left-pad";'],
      ["src/core/x.ts", 'import fs from "fs";'],
    ],
    sound: [["src/envoy/ext-proc/x.ts", 'import { status } from "@grpc/grpc-js/build/src/x";']],
  });
  checkRule({
    promise: "files, sockets, processes and threads are touched where the table says",
    files: sources,
    atLeast: 80,
    find: effects,
    broken: [
      ["src/llm/x.ts", 'import { readFileSync } from "node:fs";'],
      ["src/audit/leaf.ts", 'import { readFileSync } from "node:fs";'],
      ["src/detect/x.ts", 'import { Worker } from "node:worker_threads";'],
      ["src/policy/store.ts", 'import { spawn } from "node:child_process";'],
      ["src/core/x.ts", 'import { fetch } from "node:https";'],
    ],
    sound: [["src/audit/merkle.ts", 'import { createHash } from "node:crypto";']],
  });
  checkRule({
    promise: "nothing in src imports what is not in src",
    files: sources,
    atLeast: 80,
    find: outside,
    broken: [["src/core/x.ts", 'import { records } from "../../test/telemetry/records.ts";']],
  });
});
