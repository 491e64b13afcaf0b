/**
 * Rules about what surrounds a filter of Limen: the order of the filters, buffers, timeouts, and how a path and a
 * header name are read. Of a manager that EnvoyFilters change only what they say is judged, and what Istio is
 * known to set otherwise.
 */
import { type Cursor, firstWritten } from "./cursor.ts";
import { bodyMode } from "./modes.ts";
import { type Limits, type Rule, type Spot, smaller, spotIf } from "./rule.ts";
import type { Filter, Guard, Manager } from "./scene.ts";

const DEFAULT_CONNECTION_BYTES = 1024 ** 2;
const DEFAULT_WINDOW_BYTES = 16 * 1024 ** 2;

export const MANAGER_RULES: readonly Rule<Manager>[] = [
  {
    id: "filter-changes-after",
    severity: "error",
    what: "a filter between Limen and the router can change bodies",
    so: "what it writes reaches the model unread, and answers reach Limen in a form that it may not read",
    fix: "move Limen's filter behind it, directly before the router",
    find: (manager) => after(manager, "changes"),
  },
  {
    id: "filter-authenticates-after",
    severity: "warning",
    what: "a filter between Limen and the router decides who may pass",
    so: "Limen judges, and records, requests of callers that nobody has checked yet",
    fix: "move Limen's filter behind it, directly before the router",
    find: (manager) => after(manager, "authenticates"),
  },
  {
    id: "filter-unknown-after",
    severity: "warning",
    what: "Limen's filter is not directly before the router",
    so: "if the filter between them changes bodies, what it writes passes unread",
    fix: "move Limen's filter directly before the router",
    find: (manager) => after(manager, "unknown"),
  },
  {
    id: "filter-twice",
    severity: "error",
    what: "a second filter of this kind asks Limen in the same chain",
    so: "each request is judged and recorded twice, and Envoy before 1.37.1 cuts streams that two such filters carry",
    fix: "keep one of them",
    find: ({ seen, guards }) =>
      (["ext_proc", "ext_authz"] as const)
        .flatMap((one) => guards.filter(({ kind }) => kind === one).slice(1))
        .flatMap(({ entry }) => spotIf(seen === "whole", entry.at("name"))),
  },
  {
    id: "patch-position",
    severity: "warning",
    what: "the patch does not put the filter directly before the router",
    so: "filters that change bodies can come to stand between them",
    fix: "use INSERT_BEFORE with subFilter envoy.filters.http.router",
    find: ({ guards }) => guards.flatMap(misplaced),
  },
  {
    id: "jwt-claims",
    severity: "warning",
    what: "the claims that jwt_authn verifies are not forwarded to Limen",
    so: "policies that select by claims do not apply",
    fix: "name envoy.filters.http.jwt_authn where metadata is forwarded",
    find: (manager) => keptBackClaims(manager),
  },
  {
    id: "upgrades",
    severity: "error",
    what: "upgrades are allowed",
    so: "an upgraded connection has no bodies to read; nothing but Limen's refusal of its headers keeps the tunnel shut",
    fix: "leave upgrade_configs out, and give other services a listener of their own",
    find: ({ settings }) => settings.flatMap((setting) => upgrades(setting)),
  },
  {
    id: "idle-timeout",
    severity: "error",
    what: "stream_idle_timeout is 0, which is also what Istio sets",
    so: "nothing of Envoy's own ends an exchange in which Limen, the client or the model has stopped",
    fix: "use 120s",
    find: (manager) => {
      const timeout = setting(manager, "stream_idle_timeout");
      const isIstios = manager.seen === "patches" && !timeout.isWritten;
      return spotIf(isIstios || timeout.milliseconds() === 0, timeout);
    },
  },
  {
    id: "path-normalize",
    severity: "warning",
    what: "normalize_path is not on",
    so: "Limen chooses the API by a path with dot segments that the provider reads as another one",
    fix: "set it to true",
    find: (manager) => unlessTrue(manager, setting(manager, "normalize_path")),
  },
  {
    id: "path-slashes",
    severity: "warning",
    what: "merge_slashes is not on",
    so: "Limen chooses the API by a path with double slashes that the provider reads as another one",
    fix: "set it to true",
    find: (manager) => unlessTrue(manager, setting(manager, "merge_slashes")),
  },
  {
    id: "path-escapes",
    severity: "warning",
    what: "path_with_escaped_slashes_action lets escaped slashes pass",
    so: "Limen chooses the API by a path with %2F that the provider reads as another one",
    fix: "use REJECT_REQUEST",
    find: (manager) => {
      const action = setting(manager, "path_with_escaped_slashes_action");
      const word = action.word(ESCAPE_ACTIONS);
      const isOpen = word === "IMPLEMENTATION_SPECIFIC_DEFAULT" || word === "KEEP_UNCHANGED";
      return spotIf(isOpen && isKnown(manager, action), action);
    },
  },
  {
    id: "header-underscores",
    severity: "warning",
    what: "header names with underscores pass",
    so: "a provider that reads x_y as x-y sees a header that Limen has not",
    fix: "set common_http_protocol_options.headers_with_underscores_action to REJECT_REQUEST",
    find: (manager) => {
      const action = setting(
        manager,
        "common_http_protocol_options",
        "headers_with_underscores_action",
      );
      const isOpen = action.word(["ALLOW", "REJECT_REQUEST", "DROP_HEADER"]) === "ALLOW";
      return spotIf(isOpen && isKnown(manager, action), action);
    },
  },
  {
    id: "buffer-connection",
    severity: "error",
    what: "per_connection_buffer_limit_bytes is smaller than the bodies that the policy allows",
    so: "Envoy answers them itself (413, or 500 for an answer), in a form that no client library understands; 1 MiB is the default",
    fix: "set it on the listener, well above the policy's limits.bodyBytes",
    find: (manager, limits) => {
      const written = manager.listeners.map((one) => one.at("per_connection_buffer_limit_bytes"));
      const limit = among(written, manager, "per_connection_buffer_limit_bytes");
      const bytes = limit.number() ?? DEFAULT_CONNECTION_BYTES;
      const needed = neededBytes(manager, limits);
      // 0 is no limit.
      return spotIf(bytes > 0 && bytes < needed, limit, smaller(bytes, needed));
    },
  },
  {
    id: "buffer-http2",
    severity: "error",
    what: "initial_stream_window_size is smaller than the bodies that the policy allows",
    so: "for HTTP/2 clients it is the buffer limit: Envoy answers larger requests itself; 16 MiB is the default",
    fix: "set http2_protocol_options.initial_stream_window_size well above the policy's limits.bodyBytes",
    find: (manager, limits) => {
      const window = setting(manager, "http2_protocol_options", "initial_stream_window_size");
      const bytes = window.number() ?? DEFAULT_WINDOW_BYTES;
      const needed = neededBytes(manager, limits);
      return spotIf(bytes < needed, window, smaller(bytes, needed));
    },
  },
];

const ESCAPE_ACTIONS = [
  "IMPLEMENTATION_SPECIFIC_DEFAULT",
  "KEEP_UNCHANGED",
  "REJECT_REQUEST",
  "UNESCAPE_AND_REDIRECT",
  "UNESCAPE_AND_FORWARD",
] as const;

/** A field of the manager, from the part that says it. */
const setting = (manager: Manager, ...path: readonly string[]): Cursor =>
  among(
    manager.settings.map((part) => part.in(...path)),
    manager,
    path.join("."),
  );

/** The written one, or the last; where no part could say it, the place of the filter that needs it. */
function among(cursors: readonly Cursor[], { guards }: Manager, name: string): Cursor {
  const [first, ...rest] = cursors;
  if (first !== undefined) return firstWritten([first, ...rest]);
  const [guard] = guards;
  if (guard === undefined) throw new Error("a manager without a filter of Limen is not judged");
  return (guard.patch ?? guard.entry).at(name);
}

/** What is not written is Envoy's default, unless Istio may have set it. */
const isKnown = ({ seen }: Manager, field: Cursor): boolean => seen === "whole" || field.isWritten;

const unlessTrue = (manager: Manager, field: Cursor): readonly Spot[] =>
  spotIf(field.boolean() !== true && isKnown(manager, field), field);

/** What Envoy has to hold of one body for the filters of this chain. */
export function neededBytes({ guards }: Manager, limits: Limits): number {
  const needs = guards.map(({ kind, body }) => {
    const modes = body.at("processing_mode");
    const isHeld = kind === "ext_authz" || bodyMode(modes, "request") === "BUFFERED";
    const isAnswerHeld = kind === "ext_proc" && bodyMode(modes, "response") === "BUFFERED";
    return Math.max(isHeld ? limits.requestBytes : 0, isAnswerHeld ? limits.responseBytes : 0);
  });
  return needs.reduce((a, b) => Math.max(a, b), 0);
}

/** Upgrades that are switched on, of a manager or of a route's action. */
export const upgrades = (message: Cursor): readonly Spot[] =>
  message
    .at("upgrade_configs")
    .items()
    .filter((upgrade) => upgrade.at("enabled").boolean() !== false)
    .map((at) => ({ at, detail: "" }));

type Effect = "changes" | "authenticates" | "harmless" | "unknown";

/** By the folder of the type's package below `envoy.extensions.filters.http`. */
const EFFECTS: Readonly<Record<Exclude<Effect, "unknown">, ReadonlySet<string>>> = {
  changes: new Set([
    "aws_lambda",
    "composite",
    "compressor", // the response passes it before Limen, which then sees it compressed
    "connect_grpc_bridge",
    "dynamic_modules",
    "ext_proc",
    "golang",
    "grpc_http1_bridge",
    "grpc_http1_reverse_bridge",
    "grpc_json_reverse_transcoder",
    "grpc_json_transcoder",
    "grpc_web",
    "lua",
    "wasm",
  ]),
  authenticates: new Set([
    "api_key_auth",
    "basic_auth",
    "ext_authz",
    "jwt_authn",
    "oauth2",
    "rbac",
  ]),
  harmless: new Set([
    "admission_control",
    "alternate_protocols_cache",
    "aws_request_signing",
    "bandwidth_limit",
    "buffer",
    "cors",
    "credential_injector",
    "csrf",
    "decompressor",
    "fault",
    "gcp_authn",
    "grpc_stats",
    "header_mutation",
    "health_check",
    "local_ratelimit",
    "on_demand",
    "ratelimit",
    "router",
    "set_filter_state",
    "set_metadata",
    "stateful_session",
    "upstream_codec",
  ]),
};
/** Istio's own, which count and choose protocols. */
const ISTIO = /^(?:stats\.PluginConfig|io\.istio\..+|istio\.envoy\.config\.filter\..+)$/;

function effectOf({ type }: Filter): Effect {
  const [, folder = ""] = /^envoy\.extensions\.filters\.http\.([a-z0-9_]+)\./.exec(type) ?? [];
  if (EFFECTS.changes.has(folder)) return "changes";
  if (EFFECTS.authenticates.has(folder)) return "authenticates";
  return EFFECTS.harmless.has(folder) || ISTIO.test(type) ? "harmless" : "unknown";
}

/** Filters with this effect behind the last one of Limen. In patches the order is not seen. */
function after({ seen, filters, guards }: Manager, effect: Effect): readonly Spot[] {
  const last = guards.at(-1);
  if (seen === "patches" || last === undefined) return [];
  const index = filters.findLastIndex(({ entry }) => entry === last.entry);
  return filters
    .slice(index + 1)
    .filter((filter) => effectOf(filter) === effect)
    .map(({ entry }) => ({ at: entry.at("name"), detail: "" }));
}

function misplaced({ patch }: Guard): readonly Spot[] {
  const operation = patch?.in("patch", "operation");
  const word = operation?.text() ?? "";
  if (patch === undefined || operation === undefined) return [];
  if (["MERGE", "REPLACE"].includes(word)) return [];
  const neighbour = patch.in("match", "listener", "filterChain", "filter", "subFilter", "name");
  const isBefore = word === "INSERT_BEFORE" && neighbour.text() === "envoy.filters.http.router";
  return spotIf(!isBefore, operation);
}

const JWT_AUTHN = "envoy.filters.http.jwt_authn";

function keptBackClaims({ filters, guards }: Manager): readonly Spot[] {
  const isVerified = filters.some(({ type }) => type.includes(".jwt_authn."));
  if (!isVerified) return [];
  return guards.flatMap(({ kind, body }) => {
    const names =
      kind === "ext_proc"
        ? body.in("metadata_options", "forwarding_namespaces", "untyped")
        : body.at("metadata_context_namespaces");
    return spotIf(!names.texts().includes(JWT_AUTHN), names);
  });
}
