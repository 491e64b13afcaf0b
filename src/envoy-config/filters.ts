/** Rules about a filter of Limen by itself: what it does when Limen fails, what it sends, what Limen may change. */
import { pattern, Subject } from "../detect/re2.ts";
import type { Cursor } from "./cursor.ts";
import { REPLY_DEADLINE_MS, type Rule, type Spot, spotIf } from "./rule.ts";
import type { Guard } from "./scene.ts";

const DEFAULT_TIMEOUT_MS = 200;

/** ext_proc and ext_authz alike. */
export const FILTER_RULES: readonly Rule<Guard>[] = [
  {
    id: "failure-mode-allow",
    severity: "error",
    what: "failure_mode_allow is on",
    so: "every fault of Limen lets the exchange pass unread",
    fix: "set it to false",
    find: ({ body }) => spotIf(isOn(body, "failure_mode_allow"), body.at("failure_mode_allow")),
  },
  {
    id: "filter-disabled",
    severity: "error",
    what: "the filter is disabled in its chain",
    so: "requests pass unread on every route that does not switch it on",
    fix: "leave disabled out",
    find: ({ entry }) => spotIf(isOn(entry, "disabled"), entry.at("disabled")),
  },
  {
    id: "filter-optional",
    severity: "warning",
    what: "is_optional is on",
    so: "an Envoy that was built without this filter starts, and lets everything pass",
    fix: "leave is_optional out",
    find: ({ entry }) => spotIf(isOn(entry, "is_optional"), entry.at("is_optional")),
  },
  {
    id: "filter-matched",
    severity: "warning",
    what: "a matcher decides which requests the filter sees",
    so: "the others pass unread, and no record says so",
    fix: "configure the filter without ExtensionWithMatcher, and let a policy decide",
    find: ({ entry, holds }) => spotIf(holds === "matched", entry.at("typed_config")),
  },
  {
    id: "http-service",
    severity: "error",
    what: "the filter calls an HTTP service",
    so: "Limen speaks gRPC; over HTTP ext_proc would send headers and no bodies",
    fix: "use grpc_service with envoy_grpc",
    find: ({ body }) => spotIf(body.at("http_service").isWritten, body.at("http_service")),
  },
  {
    id: "status-on-error",
    severity: "warning",
    what: "status_on_error is not set",
    so: "a Limen that cannot be reached looks like a defect of Envoy (500) or like a refusal (403)",
    fix: "add status_on_error: { code: ServiceUnavailable }",
    find: ({ body }) =>
      spotIf(!body.in("status_on_error", "code").isWritten, body.at("status_on_error")),
  },
  {
    id: "stat-prefix",
    severity: "warning",
    what: "stat_prefix is not set",
    so: "the counters of this filter cannot be told from those of another of its kind, and alerts miss them",
    fix: "add stat_prefix: limen",
    find: ({ body }) => spotIf(!body.at("stat_prefix").isWritten, body.at("stat_prefix")),
  },
];

export const PROC_RULES: readonly Rule<Guard>[] = [
  {
    id: "message-timeout-zero",
    severity: "error",
    what: "message_timeout is 0",
    so: "Envoy gives up before Limen can answer: every request is a 504",
    fix: "use 5s",
    find: ({ body }) => {
      const timeout = body.at("message_timeout");
      return spotIf(timeout.milliseconds() === 0, timeout);
    },
  },
  {
    id: "message-timeout-short",
    severity: "warning",
    what: "message_timeout is not longer than the 4 s in which Limen answers",
    so: "a busy moment ends in Envoy's 504 instead of Limen's verdict; 200 ms is the default",
    fix: "use 5s",
    find: ({ body }) => tooShort(body.at("message_timeout")),
  },
  {
    id: "observability-mode",
    severity: "error",
    what: "observability_mode is on",
    so: "Envoy does not wait for a verdict: everything passes",
    fix: "leave it out; for a trial without effect write flag for the actions of the policy",
    find: ({ body }) => spotIf(isOn(body, "observability_mode"), body.at("observability_mode")),
  },
  {
    id: "immediate-response-off",
    severity: "error",
    what: "disable_immediate_response is on",
    so: "every refusal counts as a fault: clients get an empty 503 and repeat it",
    fix: "leave it out",
    find: ({ body }) =>
      spotIf(isOn(body, "disable_immediate_response"), body.at("disable_immediate_response")),
  },
  {
    id: "response-code-details",
    severity: "warning",
    what: "response_attributes lacks response.code_details",
    so: "answers that Envoy wrote itself are judged as if the model had written them",
    fix: "add response_attributes: [response.code_details]",
    find: ({ body }) => lacks(body.at("response_attributes"), "response.code_details"),
  },
  {
    id: "route-name",
    severity: "warning",
    what: "request_attributes lacks xds.route_name",
    so: "policies that select by route do not apply",
    fix: "add xds.route_name to request_attributes",
    find: ({ body }) => lacks(body.at("request_attributes"), "xds.route_name"),
  },
  {
    id: "mutation-rules-open",
    severity: "warning",
    what: "mutation_rules is not set",
    so: "whoever takes over Limen may change any header, the path too",
    fix: "allow what Limen writes and nothing else, as envoy/envoy.yaml does",
    find: ({ body }) => spotIf(!body.at("mutation_rules").isWritten, body.at("mutation_rules")),
  },
  {
    id: "mutation-rules-narrow",
    severity: "error",
    what: "mutation_rules forbids what Limen writes",
    so: "Envoy drops these headers: answers come compressed and are refused, redacted bodies do not fit their length, refusals lose their meaning",
    fix: "use the allow_expression of envoy/envoy.yaml",
    find: ({ body }) => forbidden(body.at("mutation_rules")),
  },
  {
    id: "credentials-forwarded",
    severity: "warning",
    what: "forward_rules is not set",
    so: "Limen is sent the callers' credentials, which it does not need",
    fix: "list authorization, cookie and the key headers in forward_rules.disallowed_headers",
    find: ({ body }) => spotIf(!body.at("forward_rules").isWritten, body.at("forward_rules")),
  },
  {
    id: "route-cache-cleared",
    severity: "warning",
    what: "route_cache_action is CLEAR",
    so: "Envoy chooses a route again after Limen has chosen the policy by the first one",
    fix: "use RETAIN",
    find: ({ body }) => {
      const action = body.at("route_cache_action");
      return spotIf(action.word(["DEFAULT", "CLEAR", "RETAIN"]) === "CLEAR", action);
    },
  },
];

export const isOn = (message: Cursor, name: string): boolean => message.at(name).boolean() === true;

const lacks = (list: Cursor, text: string): readonly Spot[] =>
  spotIf(!list.texts().includes(text), list);

/** Absent counts as the default of 200 ms; a text that is no duration is Envoy's to refuse. */
export function tooShort(timeout: Cursor): readonly Spot[] {
  const ms = timeout.isWritten ? timeout.milliseconds() : DEFAULT_TIMEOUT_MS;
  return spotIf(ms !== undefined && ms > 0 && ms <= REPLY_DEADLINE_MS, timeout);
}

/** What replies set and remove; `x-limen-` stands for what clients send under our prefix. */
const WRITTEN = [
  "accept-encoding",
  "content-encoding",
  "content-length",
  "content-type",
  "retry-after",
  "x-limen-decision",
  "x-limen-decision-id",
] as const;
/** Envoy itself refuses patterns of about this length. */
const MAX_PATTERN = 1_000;

/** `HeaderMutationRules`: forbidden patterns first, then allowed ones, then disallow_all. */
function forbidden(rules: Cursor): readonly Spot[] {
  const denied = rules.in("disallow_expression", "regex");
  const allowed = rules.in("allow_expression", "regex");
  const isDenied = wholeMatch(denied);
  const isAllowed = wholeMatch(allowed);
  if (isDenied === undefined || isAllowed === undefined) return [];
  const isAll = isOn(rules, "disallow_all");
  const lost = WRITTEN.filter((name) => isDenied(name) || (isAll && !isAllowed(name)));
  const at = [denied, allowed].find((cursor) => cursor.isWritten) ?? rules.at("disallow_all");
  return spotIf(lost.length > 0, at, ` (${lost.join(", ")})`);
}

/** Undefined for what RE2 does not read: Envoy refuses it. Nothing written matches nothing. */
function wholeMatch(regex: Cursor): ((name: string) => boolean) | undefined {
  const source = regex.text();
  if (source === undefined) return () => false;
  if (source.length > MAX_PATTERN) return undefined;
  try {
    const whole = pattern(`^(?:${source})$`);
    return (name) => whole.test(new Subject(name));
  } catch {
    return undefined;
  }
}
