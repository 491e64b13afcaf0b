/** Bad configurations: edits of a good file, the one rule that they break, and the line that is shown. */
import type { Shipped } from "./edits.ts";

/** Undefined: the block that begins with this line goes. */
export type Edit = readonly [from: string, to: string | undefined];
export type Case = readonly [
  rule: string,
  file: Shipped,
  edits: Edit | readonly Edit[],
  line: string,
];

const P1 = "envoy/envoy.yaml";
const P2 = "envoy/strict-stream.yaml";
const AUTHZ = "envoy/ext-authz.yaml";
const GATEWAY = "istio/gateway.yaml";
const MESH = "istio/mesh-config.yaml";

const drop = (text: string): Edit => [text, ""];
const block = (line: string): Edit => [line, undefined];
const add = (anchor: string, text: string): Edit => [anchor, `${anchor}${text}`];
const FIELD = " ".repeat(22);
/** One more field of Limen's filter. */
const field = (text: string): Edit => add(`${FIELD}stat_prefix: limen\n`, `${FIELD}${text}\n`);

const HTTP = "type.googleapis.com/envoy.extensions.filters.http";
const ENTRY = "                  - name: limen.ext_proc\n";
const ROUTER = "                  - name: envoy.filters.http.router\n";
/** A filter between Limen and the router. */
const between = (name: string, type: string): Edit => [
  ROUTER,
  `                  - name: ${name}\n                    typed_config: {"@type": ${type}}\n${ROUTER}`,
];
const PER_ROUTE = `${HTTP}.ext_proc.v3.ExtProcPerRoute`;
/** What the route says about Limen's filter. */
const onRoute = (said: string, type = PER_ROUTE): Edit =>
  add(
    "                          request_body_buffer_limit: 33554432\n",
    `                          typed_per_filter_config: { limen.ext_proc: { "@type": ${type}, ${said} } }\n`,
  );
const routeModes = (modes: string): Edit => onRoute(`overrides: { processing_mode: { ${modes} } }`);
const SAID = "typed_per_filter_config: { limen.ext_proc";
const SPELLED =
  "request_header_mode: SEND, response_header_mode: SEND, request_trailer_mode: SKIP, response_trailer_mode: SKIP";
const GRACEFUL = "envoy.reloadable_features.ext_proc_graceful_grpc_close";

export const MODE_CASES: readonly Case[] = [
  [
    "body-mode-blind",
    P2,
    ["request_body_mode: BUFFERED", "request_body_mode: GRPC"],
    "request_body_mode: GRPC",
  ],
  [
    "body-mode-blind",
    P2,
    ["request_body_mode: BUFFERED", "request_body_mode: 3"],
    "request_body_mode: 3",
  ],
  [
    "body-mode-blind",
    P1,
    routeModes("request_body_mode: BUFFERED, request_trailer_mode: SEND, response_body_mode: GRPC"),
    SAID,
  ],
  [
    "body-mode-none",
    P2,
    ["response_body_mode: FULL_DUPLEX_STREAMED", "response_body_mode: NONE"],
    "response_body_mode: NONE",
  ],
  [
    "body-mode-none",
    P2,
    drop("                        request_body_mode: BUFFERED\n"),
    "processing_mode:",
  ],
  [
    "body-mode-none",
    P1,
    routeModes("request_body_mode: BUFFERED, request_trailer_mode: SEND"),
    SAID,
  ],
  [
    "body-mode-streamed",
    P2,
    ["response_body_mode: FULL_DUPLEX_STREAMED", "response_body_mode: STREAMED"],
    "response_body_mode: STREAMED",
  ],
  [
    "body-mode-streamed",
    P2,
    ["request_body_mode: BUFFERED", "requestBodyMode: STREAMED"],
    "requestBodyMode: STREAMED",
  ],
  [
    "body-mode-streamed",
    P1,
    routeModes("request_body_mode: STREAMED, response_body_mode: STREAMED"),
    SAID,
  ],
  [
    "header-mode-skip",
    P2,
    ["response_header_mode: SEND", "response_header_mode: SKIP"],
    "response_header_mode: SKIP",
  ],
  ["header-mode-skip", P1, routeModes("request_header_mode: SKIP"), SAID],
  [
    "duplex-trailers",
    P2,
    ["response_trailer_mode: SEND", "response_trailer_mode: SKIP"],
    "response_trailer_mode: SKIP",
  ],
  [
    "duplex-trailers",
    P1,
    routeModes(
      "request_body_mode: BUFFERED, request_trailer_mode: SEND, response_body_mode: FULL_DUPLEX_STREAMED",
    ),
    SAID,
  ],
  [
    "request-trailers-hidden",
    P2,
    ["request_trailer_mode: SEND", "request_trailer_mode: SKIP"],
    "request_trailer_mode: SKIP",
  ],
  [
    "response-trailers-hidden",
    P1,
    [
      "\n                        response_trailer_mode: SEND",
      "\n                        response_trailer_mode: SKIP",
    ],
    "response_trailer_mode: SKIP",
  ],
  ["override-modes-open", P1, block("allowed_override_modes:"), "allow_mode_override: true"],
  [
    "override-mode-blind",
    P1,
    ["- *buffered", `- { ${SPELLED}, response_body_mode: BUFFERED }`],
    "- { request_header_mode",
  ],
  [
    "override-mode-blind",
    P1,
    [
      "- *buffered",
      `- { ${SPELLED}, request_body_mode: BUFFERED, response_body_mode: BUFFERED_PARTIAL }`,
    ],
    "- { request_header_mode",
  ],
  [
    "override-mode-unset",
    P1,
    [
      "- *buffered",
      "- { request_body_mode: BUFFERED, response_body_mode: STREAMED, response_header_mode: SEND, request_trailer_mode: SKIP }",
    ],
    "- { request_body_mode",
  ],
  [
    "override-mode-missing",
    P1,
    ["allow_mode_override: true", "allow_mode_override: false"],
    "allow_mode_override: false",
  ],
  [
    "override-mode-missing",
    P1,
    ["response_body_mode: STREAMED", "response_body_mode: BUFFERED"],
    "allowed_override_modes:",
  ],
  [
    "override-ignored",
    P2,
    field(
      `allow_mode_override: true\n${FIELD}allowed_override_modes: [{ ${SPELLED}, request_body_mode: BUFFERED, response_body_mode: STREAMED }]`,
    ),
    "allow_mode_override: true",
  ],
  [
    "override-ignored",
    P1,
    field("send_body_without_waiting_for_header_response: true"),
    "allow_mode_override: true",
  ],
];

export const FILTER_CASES: readonly Case[] = [
  ["no-filter", P1, ["name: limen.ext_proc", "name: other"], "admin:"],
  [
    "failure-mode-allow",
    P1,
    ["failure_mode_allow: false", "failure_mode_allow: true"],
    "failure_mode_allow: true",
  ],
  [
    "failure-mode-allow",
    P1,
    ["failure_mode_allow: false", "failureModeAllow: yes"],
    "failureModeAllow: yes",
  ],
  [
    "failure-mode-allow",
    AUTHZ,
    ["failure_mode_allow: false", "failure_mode_allow: On"],
    "failure_mode_allow: On",
  ],
  ["filter-disabled", P1, add(ENTRY, "                    disabled: true\n"), "disabled: true"],
  [
    "filter-optional",
    P1,
    add(ENTRY, "                    is_optional: true\n"),
    "is_optional: true",
  ],
  [
    "http-service",
    AUTHZ,
    [
      block("grpc_service:"),
      field("http_service: { server_uri: { uri: limen.local, cluster: limen, timeout: 5s } }"),
    ],
    "http_service:",
  ],
  [
    "status-on-error",
    P1,
    drop("                      status_on_error: { code: ServiceUnavailable }\n"),
    "typed_config:",
  ],
  ["stat-prefix", P1, drop(`${FIELD}stat_prefix: limen\n`), "typed_config:"],
  [
    "message-timeout-zero",
    P1,
    [" message_timeout: 5s", " message_timeout: 0s"],
    "message_timeout: 0s",
  ],
  [
    "message-timeout-short",
    P1,
    [" message_timeout: 5s", " message_timeout: 4s"],
    "message_timeout: 4s",
  ],
  [
    "message-timeout-short",
    P1,
    [" message_timeout: 5s", ' message_timeout: "0.500s"'],
    'message_timeout: "0.500s"',
  ],
  ["message-timeout-short", P2, drop(`${FIELD}message_timeout: 5s\n`), "typed_config:"],
  ["observability-mode", P1, field("observability_mode: true"), "observability_mode: true"],
  [
    "immediate-response-off",
    P1,
    field("disable_immediate_response: true"),
    "disable_immediate_response: true",
  ],
  [
    "response-code-details",
    P1,
    ["[response.code_details]", "[response.code]"],
    "response_attributes:",
  ],
  ["route-name", P1, drop("                        - xds.route_name\n"), "request_attributes:"],
  ["mutation-rules-open", P1, block("mutation_rules:"), "typed_config:"],
  ["mutation-rules-narrow", P1, ["content-.+|retry", "content-length|retry"], 'regex: "^(accept'],
  [
    "mutation-rules-narrow",
    P1,
    ["disallow_all: true", 'disallow_expression: { regex: "retry-.*" }'],
    "disallow_expression:",
  ],
  ["credentials-forwarded", P1, block("forward_rules:"), "typed_config:"],
  [
    "route-cache-cleared",
    P1,
    ["route_cache_action: RETAIN", "route_cache_action: 1"],
    "route_cache_action: 1",
  ],
  ["authz-body-missing", AUTHZ, block("with_request_body:"), "typed_config:"],
  [
    "authz-body-partial",
    AUTHZ,
    ["allow_partial_message: false", "allow_partial_message: true"],
    "allow_partial_message: true",
  ],
  [
    "authz-body-text",
    AUTHZ,
    drop("                        pack_as_bytes: true\n"),
    "with_request_body:",
  ],
  [
    "authz-body-limit",
    AUTHZ,
    ["max_request_bytes: 33554432", "max_request_bytes: 8388607"],
    "max_request_bytes: 8388607",
  ],
  ["authz-timeout-short", AUTHZ, drop("                        timeout: 5s\n"), "grpc_service:"],
  [
    "authz-sampled",
    AUTHZ,
    field("filter_enabled: { default_value: { numerator: 50 } }"),
    "filter_enabled:",
  ],
  ["shadow-mode", AUTHZ, field("shadow_mode: true"), "shadow_mode: true"],
  [
    "authority",
    P1,
    ["1:authority: limen.local", "authority: outbound|9002||limen"],
    "authority: outbound|9002||limen",
  ],
  [
    "authority",
    GATEWAY,
    drop("1:                authority: limen.limen-system.svc.cluster.local\n"),
    "envoy_grpc:",
  ],
  [
    "authority",
    P1,
    onRoute(
      'overrides: { grpc_service: { envoy_grpc: { cluster_name: limen, authority: "a b" } } }',
    ),
    SAID,
  ],
  [
    "authority-implicit",
    P1,
    drop("                          authority: limen.local\n"),
    "envoy_grpc:",
  ],
  [
    "google-grpc",
    P1,
    [
      block("envoy_grpc:"),
      [
        "                        retry_policy:\n",
        "                        google_grpc: { target_uri: limen.local, stat_prefix: x }\n                        retry_policy:\n",
      ],
    ],
    "google_grpc:",
  ],
  ["grpc-attempt-short", AUTHZ, ["max_interval: 5s", "max_interval: 0.250s"], "retry_back_off:"],
  [
    "grpc-retry",
    P1,
    ["connect-failure,refused-stream", "connect-failure, unavailable"],
    "retry_on:",
  ],
];

export const CHAIN_CASES: readonly Case[] = [
  ["filter-changes-after", P1, between("custom", `${HTTP}.lua.v3.Lua`), "- name: custom"],
  ["filter-authenticates-after", P1, between("who", `${HTTP}.rbac.v3.RBAC`), "- name: who"],
  [
    "filter-unknown-after",
    P1,
    between("ours", `${HTTP}.original_src.v3.OriginalSrc`),
    "- name: ours",
  ],
  [
    "listener-unguarded",
    P1,
    [
      [
        "\n  clusters:\n",
        `
    - name: side
      address: { pipe: { path: side.sock } }
      filter_chains:
        - filters:
            - name: http
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: side
                http_filters: [{ name: r, typed_config: { "@type": ${HTTP}.router.v3.Router } }]
                route_config:
                  virtual_hosts:
                    - { name: v, domains: ["*"], routes: [{ match: { prefix: / }, route: { cluster: model } }] }

  clusters:
`,
      ],
    ],
    '- { name: v, domains: ["*"]',
  ],
  [
    "filter-twice",
    P1,
    [
      [
        `${ENTRY}                    typed_config:\n`,
        `${ENTRY}                    typed_config: &limen\n`,
      ],
      [
        ROUTER,
        `                  - name: limen.again\n                    typed_config: *limen\n${ROUTER}`,
      ],
    ],
    "- name: limen.again",
  ],
  [
    "patch-position",
    GATEWAY,
    ["operation: REPLACE", "operation: INSERT_FIRST"],
    "operation: INSERT_FIRST",
  ],
  [
    "patch-position",
    GATEWAY,
    [
      ["operation: REPLACE", "operation: INSERT_BEFORE"],
      [
        "subFilter: { name: limen.unsupported_proxy }",
        "subFilter: { name: envoy.filters.http.cors }",
      ],
    ],
    "operation: INSERT_BEFORE",
  ],
  [
    "jwt-claims",
    P1,
    [
      [
        ENTRY,
        `                  - name: jwt\n                    typed_config: { "@type": ${HTTP}.jwt_authn.v3.JwtAuthentication }\n${ENTRY}`,
      ],
      ["untyped: [envoy.filters.http.jwt_authn]", "untyped: [jwt]"],
    ],
    "forwarding_namespaces:",
  ],
  [
    "upgrades",
    P1,
    add(
      "                stat_prefix: inference\n",
      "                upgrade_configs: [{ upgrade_type: websocket }]\n",
    ),
    "upgrade_configs:",
  ],
  [
    "idle-timeout",
    P1,
    ["stream_idle_timeout: 120s", "stream_idle_timeout: 0s"],
    "stream_idle_timeout: 0s",
  ],
  ["idle-timeout", GATEWAY, drop("            stream_idle_timeout: 120s\n"), "typed_config:"],
  ["path-normalize", P1, drop("                normalize_path: true\n"), "typed_config:"],
  [
    "path-normalize",
    GATEWAY,
    ["normalize_path: true", "normalize_path: false"],
    "normalize_path: false",
  ],
  ["path-slashes", P1, ["merge_slashes: true", "mergeSlashes: false"], "mergeSlashes: false"],
  [
    "path-escapes",
    P1,
    ["slashes_action: REJECT_REQUEST", "slashes_action: KEEP_UNCHANGED"],
    "path_with_escaped",
  ],
  [
    "header-underscores",
    P1,
    ["underscores_action: REJECT_REQUEST", "underscores_action: 0"],
    "headers_with_underscores_action: 0",
  ],
  [
    "buffer-connection",
    P1,
    drop("      per_connection_buffer_limit_bytes: 33554432\n"),
    "- name: inference",
  ],
  [
    "buffer-connection",
    GATEWAY,
    ["limit_bytes: 33554432", "limit_bytes: 8388607"],
    "value: { per_connection",
  ],
  [
    "buffer-http2",
    P1,
    ["initial_stream_window_size: 33554432", "initial_stream_window_size: 65535"],
    "initial_stream_window_size",
  ],
  ["route-disabled", P1, onRoute("disabled: true"), SAID],
  [
    "route-disabled",
    P1,
    onRoute("disabled: true", "type.googleapis.com/envoy.config.route.v3.FilterConfig"),
    SAID,
  ],
  ["route-failure-mode-allow", P1, onRoute("overrides: { failure_mode_allow: true }"), SAID],
  [
    "route-body-off",
    AUTHZ,
    add(
      "context_extensions: { route: llm-main }\n",
      "                                disable_request_body_buffering: true\n",
    ),
    "disable_request_body_buffering",
  ],
  [
    "route-upgrades",
    P1,
    add(
      "                            cluster: model\n",
      "                            upgrade_configs: [{ upgrade_type: websocket }]\n",
    ),
    "upgrade_configs:",
  ],
  ["route-idle-timeout", P1, [" idle_timeout: 120s", " idle_timeout: 0s"], "idle_timeout: 0s"],
  ["route-timeout", P1, drop("                            timeout: 0s\n"), "route:"],
  [
    "route-retries",
    P2,
    [
      ["request_body_mode: BUFFERED", "request_body_mode: FULL_DUPLEX_STREAMED"],
      add(
        "                            cluster: model\n",
        "                            retry_policy: { retry_on: 5xx }\n",
      ),
    ],
    "retry_policy:",
  ],
  [
    "route-buffer",
    P1,
    ["request_body_buffer_limit: 33554432", "request_body_buffer_limit: 4096"],
    "request_body_buffer_limit",
  ],
  [
    "route-context",
    AUTHZ,
    ["context_extensions: { route: llm-main }", "context_extensions: { name: llm-main }"],
    "typed_per_filter_config:",
  ],
];

export const CLUSTER_CASES: readonly Case[] = [
  [
    "cluster-missing",
    P1,
    [
      "cluster_name: limen\n                          #",
      "cluster_name: limen-2\n                          #",
    ],
    "cluster_name: limen-2",
  ],
  [
    "cluster-missing",
    P1,
    onRoute(
      "overrides: { grpc_service: { envoy_grpc: { cluster_name: limen-2, authority: limen.local } } }",
    ),
    SAID,
  ],
  [
    "cluster-http2",
    P1,
    [
      ["http2_protocol_options:\n              #", "http_protocol_options:\n              #"],
      ["connection_keepalive: { interval: 2s, timeout: 2s }", "enable_trailers: true"],
      // With a gRPC health check Envoy sees it by itself.
      block("grpc_health_check:"),
      add("          healthy_threshold: 1\n", "          tcp_health_check: {}\n"),
    ],
    "explicit_http_config:",
  ],
  [
    "cluster-keepalive",
    P1,
    ["connection_keepalive: { interval: 2s, timeout: 2s }", "max_concurrent_streams: 1000"],
    "http2_protocol_options:",
  ],
  [
    "cluster-keepalive",
    GATEWAY,
    ["connection_keepalive: { interval: 2s, timeout: 2s }", "max_concurrent_streams: 1000"],
    "http2_protocol_options:",
  ],
  [
    "cluster-keepalive",
    GATEWAY,
    ["applyTo: CLUSTER", "applyTo: OTHER"],
    "cluster_name: outbound|9002",
  ],
  ["health-check", P1, block("health_checks:"), "- name: limen"],
  [
    "health-authority",
    P1,
    ["2:authority: limen.local", "authority: limen/local"],
    "authority: limen/local",
  ],
  [
    "health-authority",
    GATEWAY,
    drop("2:                authority: limen.limen-system.svc.cluster.local\n"),
    "grpc_health_check:",
  ],
  [
    "health-authority-implicit",
    P1,
    ["            authority: limen.local\n      common", "      common"],
    "grpc_health_check:",
  ],
  [
    "health-service",
    P1,
    ["service_name: envoy.service.ext_proc.v3.ExternalProcessor", "service_name: limen"],
    "service_name: limen",
  ],
  ["health-idle", P1, drop("          no_traffic_interval: 2s\n"), "- timeout: 1s"],
  [
    "health-idle",
    GATEWAY,
    ["no_traffic_interval: 2s", "no_traffic_interval: 60s"],
    "no_traffic_interval: 60s",
  ],
  [
    "panic-threshold",
    P1,
    ["healthy_panic_threshold: { value: 0 }", "healthy_panic_threshold: { value: 50 }"],
    "healthy_panic_threshold:",
  ],
  ["panic-threshold", P1, block("common_lb_config:"), "- name: limen"],
  ["circuit-breakers", P1, block("circuit_breakers:"), "- name: limen"],
  ["graceful-close", P1, [`${GRACEFUL}: false`, `${GRACEFUL}: "true"`], GRACEFUL],
  [
    "graceful-close",
    MESH,
    add("meshConfig:\n", `  defaultConfig: { runtimeValues: { ${GRACEFUL}: "true" } }\n`),
    "defaultConfig:",
  ],
  ["provider-http", MESH, ["envoyExtAuthzGrpc:", "envoyExtAuthzHttp:"], "envoyExtAuthzHttp:"],
  ["provider-fail-open", MESH, ["failOpen: false", "failOpen: true"], "failOpen: true"],
  ["provider-timeout", MESH, drop("        timeout: 5s\n"), "envoyExtAuthzGrpc:"],
  ["provider-status", MESH, drop('        statusOnError: "503"\n'), "envoyExtAuthzGrpc:"],
  ["provider-body-missing", MESH, block("includeRequestBodyInCheck:"), "envoyExtAuthzGrpc:"],
  [
    "provider-body-partial",
    MESH,
    ["allowPartialMessage: false", "allowPartialMessage: true"],
    "allowPartialMessage: true",
  ],
  ["provider-body-text", MESH, ["packAsBytes: true", "packAsBytes: false"], "packAsBytes: false"],
  [
    "provider-body-limit",
    MESH,
    ["maxRequestBytes: 8388608", "maxRequestBytes: 8388607"],
    "maxRequestBytes: 8388607",
  ],
];
