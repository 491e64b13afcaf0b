/**
 * The numbers that Prometheus reads. Counters are added up from the records that go into the audit log, so
 * metrics and evidence cannot disagree; gauges are read from their owners when a scrape comes.
 * Names and labels stand in `names.ts`. A label value is a word of a closed list or a `Label`.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { DecisionId, Label } from "../core/brand.ts";
import { ownLabel } from "../core/brand.ts";
import {
  type ControlEntry,
  type Coverage,
  type DecisionRecord,
  type ExchangeRecord,
  OUTCOMES,
  type OutcomeRecord,
} from "../core/record.ts";
import { METRICS, type MetricName } from "./names.ts";
import {
  CALL_FAILURES,
  type CallFailure,
  HTTP_CLASSES,
  type LabelValue,
  PEER_REFUSALS,
  type PeerRefusal,
  Series,
  type Unsafe,
  Vocabulary,
} from "./series.ts";

export type AuditState = {
  readonly writable: boolean;
  readonly logSize: number;
  /** `ageSeconds` is Infinity when nothing was signed yet. */
  readonly checkpoint: { readonly size: number; readonly ageSeconds: number };
  readonly queue: { readonly records: number; readonly bytes: number };
  /** Records that were answered with false. */
  readonly refused: number;
  readonly fsyncErrors: number;
};

export type PolicyState = {
  readonly digest: Label;
  readonly ageSeconds: number;
  readonly reloadFailed: boolean;
};

export type DetectorState = {
  readonly digest: Label;
  /** Counted from the start. */
  readonly texts: number;
  readonly cached: number;
  readonly windows: number;
  readonly cleared: number;
  /** Windows that wait now. */
  readonly queued: number;
  /** Threads, and tries to start one again. */
  readonly died: number;
};

type TlsState = {
  /** Unix time; Infinity when no port has a certificate. */
  readonly expirySeconds: number;
  readonly reloadFailed: boolean;
};

export type MetricsSources = {
  readonly version: Label;
  readonly audit: () => AuditState;
  readonly policy: () => PolicyState;
  readonly detector: () => DetectorState;
  readonly tls: () => TlsState;
  readonly exchangesOpen: () => number;
};

export interface Metrics {
  /** Call both for records that are durable, and only for those. */
  countDecision(record: DecisionRecord): void;
  countOutcome(record: OutcomeRecord): void;
  countFailedCall(failure: CallFailure): void;
  countRefusedPeer(refusal: PeerRefusal): void;
  /** The text exposition format. */
  text(): Promise<string>;
  readonly contentType: string;
}

const BUCKETS_SECONDS = [
  0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5,
];
/** Decisions without an outcome that are remembered. Above it the oldest is forgotten and counts as "other". */
const OPEN_LIMIT = 65_536;
const OTHER = ownLabel("other");

/** What an outcome needs to know of its decision. */
type Opened = {
  readonly route: Label;
  readonly model: Label;
  readonly finding: boolean;
  readonly uninspected: boolean;
};
const UNKNOWN: Opened = { route: OTHER, model: OTHER, finding: false, uninspected: false };

type SeriesName = {
  [Name in MetricName]: (typeof METRICS)[Name]["type"] extends "counter" ? Name : never;
}[MetricName];

export function createMetrics(sources: MetricsSources): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  exposeGauges(registry, sources);
  const counts = new Counts(registry);
  const calls = closedCounter(registry, "limen_calls_failed_total", CALL_FAILURES);
  const peers = closedCounter(registry, "limen_peers_refused_total", PEER_REFUSALS);
  gauge(registry, "limen_decisions_open", () => counts.open);
  return {
    countDecision: (record) => counts.decision(record),
    countOutcome: (record) => counts.outcome(record),
    countFailedCall: (failure) => calls.add([failure]),
    countRefusedPeer: (refusal) => peers.add([refusal]),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  };
}

class Counts {
  readonly #opened = new Map<DecisionId, Opened>();
  readonly #routes = new Vocabulary();
  readonly #models = new Vocabulary();
  readonly #tools = new Vocabulary();
  readonly #requests: Series;
  readonly #outcomes: Series;
  readonly #verdicts: Series;
  readonly #tool: Series;
  readonly #findings: Series;
  readonly #delivered: Series;
  readonly #unsafe: Series;
  readonly #exposed: Series;
  readonly #coverage: Series;
  readonly #coverageBytes: Series;
  readonly #verdictSeconds: Record<"request" | "response", Record<LayerOrAll, Observe>>;
  readonly #waitSeconds: Observe;

  constructor(registry: Registry) {
    this.#requests = counter(registry, "limen_requests_total", [0, 1]);
    this.#outcomes = closedCounter(registry, "limen_outcomes_total", OUTCOMES);
    this.#verdicts = counter(registry, "limen_control_verdicts_total");
    this.#tool = counter(registry, "limen_tool_calls_total", [0]);
    this.#findings = counter(registry, "limen_findings_total");
    this.#delivered = counter(registry, "limen_delivered_total", [0]);
    this.#unsafe = counter(registry, "limen_delivered_unsafe_total", [0]);
    this.#exposed = counter(registry, "limen_released_before_verdict_bytes_total");
    this.#coverage = counter(registry, "limen_coverage_requests_total");
    this.#coverageBytes = counter(registry, "limen_coverage_bytes_total");
    const seconds = histogram(registry, "limen_time_to_verdict_seconds");
    const layers = (phase: "request" | "response"): Record<LayerOrAll, Observe> => ({
      ingress: seconds({ layer: "ingress", phase }),
      egress: seconds({ layer: "egress", phase }),
      action: seconds({ layer: "action", phase }),
      all: seconds({ layer: "all", phase }),
    });
    this.#verdictSeconds = { request: layers("request"), response: layers("response") };
    this.#waitSeconds = histogram(registry, "limen_audit_wait_seconds")({});
  }

  get open(): number {
    return this.#opened.size;
  }

  decision(record: DecisionRecord): void {
    this.#judged(record, "request");
    this.#covered("request", record.coverage.request, record.input.bytes);
    this.#verdictSeconds.request.all(record.timing.verdict_us / 1e6);
    if (this.#opened.size >= OPEN_LIMIT) {
      for (const oldest of this.#opened.keys()) {
        this.#opened.delete(oldest);
        break;
      }
    }
    this.#opened.set(record.id, {
      route: this.#routes.admit(record.source.route),
      model: this.#models.admit(record.model.requested),
      finding: hasDelivered(record),
      uninspected: record.coverage.request.state !== "full",
    });
  }

  outcome(record: OutcomeRecord): void {
    const opened = this.#opened.get(record.refs.decision) ?? UNKNOWN;
    this.#opened.delete(record.refs.decision);
    this.#judged(record, "response");
    this.#covered("response", record.coverage.response, record.output.bytes);
    this.#waitSeconds(record.timing.audit_wait_us / 1e6);
    const { action, http_status } = record.verdict;
    const status = HTTP_CLASSES[Math.floor((http_status ?? 0) / 100) - 1] ?? "none";
    this.#requests.add([opened.route, opened.model, record.dialect, action, status]);
    this.#outcomes.add([action]);
    if (refusedLate(record)) this.#exposed.add([], record.output.released_bytes);
    if (!isDelivered(record)) return;
    this.#delivered.add([opened.model]);
    const unsafe = unsafeBy(record, opened);
    if (unsafe !== undefined) this.#unsafe.add([opened.model, unsafe]);
  }

  #judged(record: ExchangeRecord, phase: "request" | "response"): void {
    for (const { layer, verdict, reason, us } of record.controls) {
      this.#verdicts.add([layer, phase, verdict, reason ?? "none"]);
      this.#verdictSeconds[phase][layer](us / 1e6);
    }
    for (const tool of record.tools) {
      const name = this.#tools.admit(tool.name);
      const reason = tool.reason ?? "none";
      this.#tool.add([name, tool.verdict, reason, tool.phase, record.dialect]);
    }
    for (const { kind, disposition, count } of record.findings) {
      this.#findings.add([kind, phase, disposition], count);
    }
  }

  #covered(direction: "request" | "response", { state, cause }: Coverage, bytes: number): void {
    this.#coverage.add([direction, state, cause ?? "none"]);
    this.#coverageBytes.add([direction, state], bytes);
  }
}

const hasDelivered = (record: ExchangeRecord): boolean =>
  record.findings.some(({ disposition }) => disposition === "delivered");

/** The rest of an answer was refused after a part of it had left. */
const refusedLate = ({ verdict, output }: OutcomeRecord): boolean =>
  output.released_bytes > 0 && (verdict.action === "denied" || verdict.action === "failed_closed");

/** Answers that did not come from a model, or of which the client got nothing, are not delivered. */
const UNDELIVERED: ReadonlySet<string> = new Set([
  "provider_error",
  "local_reply",
  "not_inference",
] satisfies OutcomeRecord["verdict"]["action"][]);
const isDelivered = ({ verdict, output }: OutcomeRecord): boolean =>
  output.released_bytes > 0 && !UNDELIVERED.has(verdict.action);

function unsafeBy(record: OutcomeRecord, opened: Opened): Unsafe | undefined {
  if (hasDelivered(record)) return "response_finding";
  if (opened.finding) return "request_finding";
  if (record.verdict.action === "failed_open") return "fail_open";
  if (refusedLate(record)) return "late_stream";
  const { state, cause } = record.coverage.response;
  // Of an answer that broke off, what left was inspected: only its rest never came.
  const unseen = state !== "full" && cause !== "aborted";
  return unseen || opened.uninspected ? "uninspected" : undefined;
}

type LayerOrAll = ControlEntry["layer"] | "all";
type Observe = (seconds: number) => void;

const base = (registry: Registry, name: MetricName) => ({
  name,
  help: METRICS[name].help,
  labelNames: METRICS[name].labels,
  registers: [registry],
});

/** A counter whose counts stand in the returned series. @param open positions of its open labels */
function counter(registry: Registry, name: SeriesName, open: readonly number[] = []): Series {
  const series = new Series(new Set(open));
  const labels = METRICS[name].labels;
  new Counter({
    ...base(registry, name),
    collect() {
      this.reset();
      for (const { values, count } of series) {
        this.inc(Object.fromEntries(labels.map((label, at) => [label, values[at]])), count);
      }
    },
  });
  return series;
}

/**
 * A counter of one label whose values are all known. They are shown from the start: Prometheus sees no increase in a
 * series that begins at 1, and the first failure is the one to be woken for.
 */
function closedCounter(
  registry: Registry,
  name: SeriesName,
  values: readonly LabelValue[],
): Series {
  const series = counter(registry, name);
  for (const value of values) series.add([value], 0);
  return series;
}

/** A counter that its owner keeps. */
function read(registry: Registry, name: SeriesName, count: () => number): void {
  new Counter({
    ...base(registry, name),
    collect() {
      this.reset();
      this.inc(count());
    },
  });
}

function gauge(registry: Registry, name: MetricName, value: () => number): void {
  new Gauge({
    ...base(registry, name),
    collect() {
      this.set(value());
    },
  });
}

/** 1 beside the one label value that holds now. */
function info(
  registry: Registry,
  name: "limen_build_info" | "limen_policy_info" | "limen_detector_info",
  value: () => Label,
): void {
  const [label] = METRICS[name].labels;
  new Gauge({
    ...base(registry, name),
    collect() {
      this.reset();
      this.set({ [label]: value() }, 1);
    },
  });
}

function histogram(registry: Registry, name: MetricName) {
  const metric = new Histogram({ ...base(registry, name), buckets: BUCKETS_SECONDS });
  return (labels: Readonly<Record<string, LabelValue | "all">>): Observe =>
    metric.labels(labels).observe;
}

function exposeGauges(
  registry: Registry,
  { version, audit, policy, detector, tls, exchangesOpen }: MetricsSources,
): void {
  gauge(registry, "limen_exchanges_open", exchangesOpen);
  gauge(registry, "limen_tls_certificate_expiry_timestamp_seconds", () => tls().expirySeconds);
  gauge(registry, "limen_tls_reload_failed", () => Number(tls().reloadFailed));
  info(registry, "limen_build_info", () => version);
  info(registry, "limen_policy_info", () => policy().digest);
  gauge(registry, "limen_policy_age_seconds", () => policy().ageSeconds);
  gauge(registry, "limen_policy_reload_failed", () => Number(policy().reloadFailed));
  info(registry, "limen_detector_info", () => detector().digest);
  read(registry, "limen_detector_texts_total", () => detector().texts);
  read(registry, "limen_detector_texts_cached_total", () => detector().cached);
  read(registry, "limen_detector_windows_total", () => detector().windows);
  read(registry, "limen_detector_windows_cleared_total", () => detector().cleared);
  gauge(registry, "limen_detector_queue_windows", () => detector().queued);
  read(registry, "limen_detector_threads_died_total", () => detector().died);
  gauge(registry, "limen_audit_writable", () => Number(audit().writable));
  gauge(registry, "limen_audit_log_size", () => audit().logSize);
  gauge(registry, "limen_audit_checkpoint_size", () => audit().checkpoint.size);
  gauge(registry, "limen_audit_checkpoint_age_seconds", () => audit().checkpoint.ageSeconds);
  gauge(registry, "limen_audit_queue_records", () => audit().queue.records);
  gauge(registry, "limen_audit_queue_bytes", () => audit().queue.bytes);
  read(registry, "limen_audit_refused_total", () => audit().refused);
  read(registry, "limen_audit_fsync_errors_total", () => audit().fsyncErrors);
}
