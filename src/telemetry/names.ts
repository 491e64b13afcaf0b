/**
 * Every name by which Limen is watched: metrics with their labels, and the attribute that a label is
 * called elsewhere. One idea has one name on every sink; a name is a contract with dashboards and alerts.
 * `gen_ai.*` are the names of open-telemetry/semantic-conventions-genai at commit
 * 9f1b0bb4320aba1797371a60f19ab07bad938932 (docs/registry/attributes/gen-ai.md); all of them are still
 * in development there. `docs/metrics.md` prints these tables; `test/telemetry/names.test.ts` compares.
 */

type LabelRow = {
  /** The same idea as an attribute of a span or event. */
  readonly attribute: string;
  readonly meaning: string;
};

export const LABELS = {
  cause: { attribute: "limen.cause", meaning: "why something was not inspected, or `none`" },
  detector: {
    attribute: "limen.detector.digest",
    meaning: "SHA-256 of the injection detector's manifest, or `rules`",
  },
  dialect: { attribute: "limen.dialect", meaning: "API shape, or `none`" },
  digest: { attribute: "limen.policy.digest", meaning: "SHA-256 of the policy documents in force" },
  direction: { attribute: "limen.direction", meaning: "`request` or `response`" },
  disposition: {
    attribute: "limen.finding.disposition",
    meaning: "`blocked`, `masked` or `delivered`",
  },
  error: { attribute: "error.type", meaning: "why a call or a caller was turned away" },
  how: { attribute: "limen.unsafe.how", meaning: "why a delivered answer counts as unsafe" },
  http_class: {
    attribute: "limen.http_class",
    meaning: "`2xx` to `5xx` of the status that the client got, or `none`",
  },
  kind: { attribute: "limen.finding.kind", meaning: "kind of finding" },
  layer: { attribute: "limen.layer", meaning: "`ingress`, `egress`, `action`, or `all` of them" },
  model: {
    attribute: "gen_ai.request.model",
    meaning: "requested model if a policy names it, else `other`",
  },
  outcome: { attribute: "limen.outcome", meaning: "what was enforced on the whole exchange" },
  phase: { attribute: "limen.phase", meaning: "where in the exchange" },
  reason: { attribute: "limen.reason", meaning: "why a control refused or changed, or `none`" },
  route: { attribute: "limen.route", meaning: "Envoy's route if a policy names it, else `other`" },
  state: { attribute: "limen.coverage.state", meaning: "`full`, `partial` or `none`" },
  tool: {
    attribute: "gen_ai.tool.name",
    meaning: "the tool if a policy names it, else `other`",
  },
  verdict: { attribute: "limen.verdict", meaning: "what was judged" },
  version: { attribute: "service.version", meaning: "version of Limen" },
} as const satisfies Record<string, LabelRow>;
export type LabelName = keyof typeof LABELS;

type MetricRow = {
  readonly type: "counter" | "gauge" | "histogram";
  readonly labels: readonly LabelName[];
  readonly help: string;
};

export const METRICS = {
  limen_requests_total: {
    type: "counter",
    labels: ["route", "model", "dialect", "outcome", "http_class"],
    help: "Finished exchanges by what was enforced.",
  },
  limen_outcomes_total: {
    type: "counter",
    labels: ["outcome"],
    help: "Finished exchanges by outcome alone; every outcome is there from the start, so that the first is an increase.",
  },
  limen_exchanges_open: {
    type: "gauge",
    labels: [],
    help: "Exchanges that Envoy has open now; above 4,096 new ones are refused.",
  },
  limen_calls_failed_total: {
    type: "counter",
    labels: ["error"],
    help: "Calls that were ended with a failure, which Envoy answers with 503: protocol, late or defect.",
  },
  limen_peers_refused_total: {
    type: "counter",
    labels: ["error"],
    help: "Connections refused on a TLS port: handshake_failed or not_listed.",
  },
  limen_tls_certificate_expiry_timestamp_seconds: {
    type: "gauge",
    labels: [],
    help: "When the first of the certificates that are served expires, in Unix time; +Inf when there is none.",
  },
  limen_tls_reload_failed: {
    type: "gauge",
    labels: [],
    help: "1 while certificate files cannot serve and older ones stay in use.",
  },
  limen_decisions_open: {
    type: "gauge",
    labels: [],
    help: "Decisions on record without an outcome yet; one whose outcome could not be recorded stays.",
  },
  limen_control_verdicts_total: {
    type: "counter",
    labels: ["layer", "phase", "verdict", "reason"],
    help: "Verdicts of single controls.",
  },
  limen_tool_calls_total: {
    type: "counter",
    labels: ["tool", "verdict", "reason", "phase", "dialect"],
    help: "Tools that were declared, replayed or called.",
  },
  limen_findings_total: {
    type: "counter",
    labels: ["kind", "direction", "disposition"],
    help: "What detectors found, and what became of it.",
  },
  limen_delivered_total: {
    type: "counter",
    labels: ["model"],
    help: "Exchanges in which the client got something of a model's answer.",
  },
  limen_delivered_unsafe_total: {
    type: "counter",
    labels: ["model", "how"],
    help: "Of limen_delivered_total, those that were not safe, each counted once by its worst cause.",
  },
  limen_released_before_verdict_bytes_total: {
    type: "counter",
    labels: [],
    help: "Bytes of an answer that had left when the rest of it was refused.",
  },
  limen_coverage_requests_total: {
    type: "counter",
    labels: ["direction", "state", "cause"],
    help: "How much of each direction was inspected, counted in exchanges.",
  },
  limen_coverage_bytes_total: {
    type: "counter",
    labels: ["direction", "state"],
    help: "How much of each direction was inspected, counted in bytes.",
  },
  limen_time_to_verdict_seconds: {
    type: "histogram",
    labels: ["layer", "phase"],
    help: "Time that judging took; layer all is the time until the request was decided.",
  },
  limen_audit_wait_seconds: {
    type: "histogram",
    labels: [],
    help: "Time that an exchange waited for its records to be durable.",
  },
  limen_policy_info: {
    type: "gauge",
    labels: ["digest"],
    help: "1 for the policy set in force.",
  },
  limen_policy_age_seconds: {
    type: "gauge",
    labels: [],
    help: "Time since the policy set in force was loaded.",
  },
  limen_policy_reload_failed: {
    type: "gauge",
    labels: [],
    help: "1 while the last reload has failed and an older set stays in force.",
  },
  limen_detector_info: {
    type: "gauge",
    labels: ["detector"],
    help: "1 for what finds injections.",
  },
  limen_detector_texts_total: {
    type: "counter",
    labels: [],
    help: "Texts that the injection detector was asked about.",
  },
  limen_detector_texts_cached_total: {
    type: "counter",
    labels: [],
    help: "Of limen_detector_texts_total, those that it had read before.",
  },
  limen_detector_windows_total: {
    type: "counter",
    labels: [],
    help: "Windows of text that the injection detector has read.",
  },
  limen_detector_windows_cleared_total: {
    type: "counter",
    labels: [],
    help: "Of limen_detector_windows_total, those that ended with its first part, at a third of the cost.",
  },
  limen_detector_queue_windows: {
    type: "gauge",
    labels: [],
    help: "Windows of text that wait for the injection detector.",
  },
  limen_detector_threads_died_total: {
    type: "counter",
    labels: [],
    help: "Threads of the injection detector that died, did not answer, or could not be started again; each is tried again.",
  },
  limen_audit_writable: {
    type: "gauge",
    labels: [],
    help: "1 while the audit log takes records; 0: exchanges fail closed.",
  },
  limen_audit_log_size: {
    type: "gauge",
    labels: [],
    help: "Entries in the audit log.",
  },
  limen_audit_checkpoint_size: {
    type: "gauge",
    labels: [],
    help: "Entries that the last signed checkpoint covers.",
  },
  limen_audit_checkpoint_age_seconds: {
    type: "gauge",
    labels: [],
    help: "Time since the last checkpoint was signed; +Inf when there is none.",
  },
  limen_audit_queue_records: {
    type: "gauge",
    labels: [],
    help: "Records that wait to be written.",
  },
  limen_audit_queue_bytes: {
    type: "gauge",
    labels: [],
    help: "Bytes that wait to be written.",
  },
  limen_audit_refused_total: {
    type: "counter",
    labels: [],
    help: "Records that the audit log did not take in time.",
  },
  limen_audit_fsync_errors_total: {
    type: "counter",
    labels: [],
    help: "Writes that the disk did not confirm; after the first the log takes nothing more.",
  },
  limen_build_info: {
    type: "gauge",
    labels: ["version"],
    help: "1 for the running version.",
  },
} as const satisfies Record<string, MetricRow>;
export type MetricName = keyof typeof METRICS;
