import assert from "node:assert/strict";
import { type Label, ownLabel, ruleId } from "../../src/core/brand.ts";
import { type DecisionRecord, OUTCOMES, type OutcomeRecord } from "../../src/core/record.ts";
import {
  type AuditState,
  createMetrics,
  type DetectorState,
  type PolicyState,
} from "../../src/telemetry/metrics.ts";
import { decision, email, outcome, refused } from "./records.ts";

const AUDIT: AuditState = {
  writable: true,
  logSize: 20,
  checkpoint: { size: 18, ageSeconds: 0.5 },
  queue: { records: 2, bytes: 1400 },
  refused: 3,
  fsyncErrors: 1,
};
const POLICY: PolicyState = { digest: ownLabel("ab12"), ageSeconds: 60, reloadFailed: false };

const DETECTOR: DetectorState = {
  digest: ownLabel("ef56"),
  texts: 9,
  cached: 4,
  windows: 8,
  cleared: 6,
  queued: 2,
  died: 3,
};

function open() {
  let audit = AUDIT;
  let policy = POLICY;
  let tls = { expirySeconds: Number.POSITIVE_INFINITY, reloadFailed: false };
  const metrics = createMetrics({
    version: ownLabel("1.2.3"),
    audit: () => audit,
    policy: () => policy,
    detector: () => DETECTOR,
    tls: () => tls,
    exchangesOpen: () => 7,
  });
  /** Samples of a metric whose value is not 0, as the scraper reads them. */
  const samples = async (name: string): Promise<string[]> =>
    (await metrics.text())
      .split("\n")
      .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
      .map((line) => line.slice(name.length).trim())
      .filter((line) => line !== "0");
  return {
    metrics,
    samples,
    exchange(first: Partial<DecisionRecord> = {}, last: Partial<OutcomeRecord> = {}) {
      metrics.countDecision(decision("one", first));
      metrics.countOutcome(outcome("one", last));
    },
    set: (changes: { audit?: AuditState; policy?: PolicyState; tls?: typeof tls }) => {
      audit = changes.audit ?? audit;
      policy = changes.policy ?? policy;
      tls = changes.tls ?? tls;
    },
  };
}

describe("metrics", () => {
  it("count an exchange once, when its outcome is known, under the route and model of its decision", async () => {
    const { metrics, samples } = open();
    metrics.countDecision(decision("one"));
    assert.deepEqual(await samples("limen_requests_total"), []);
    assert.deepEqual(await samples("limen_decisions_open"), ["1"]);
    metrics.countOutcome(outcome("one"));
    metrics.countDecision(decision("two", { source: { route: ownLabel("llm-mail") } }));
    metrics.countOutcome(refused("two"));
    assert.deepEqual(await samples("limen_requests_total"), [
      '{route="llm-chat",model="gpt-x",dialect="openai-chat",outcome="allowed",http_class="2xx"} 1',
      '{route="llm-mail",model="gpt-x",dialect="openai-chat",outcome="denied",http_class="4xx"} 1',
    ]);
    assert.deepEqual(await samples("limen_decisions_open"), []);
  });

  it("show every outcome and every failure before the first one, so that the first is an increase", async () => {
    const { exchange, metrics, samples } = open();
    const before = await samples("limen_outcomes_total");
    assert.equal(before.length, OUTCOMES.length);
    assert.ok(before.includes('{outcome="failed_open"} 0'));
    exchange({}, { verdict: { decision: "allow", action: "failed_open" } });
    assert.ok((await samples("limen_outcomes_total")).includes('{outcome="failed_open"} 1'));
    metrics.countFailedCall("late");
    assert.deepEqual(await samples("limen_calls_failed_total"), [
      '{error="protocol"} 0',
      '{error="late"} 1',
      '{error="defect"} 0',
    ]);
    metrics.countRefusedPeer("not_listed");
    assert.deepEqual(await samples("limen_peers_refused_total"), [
      '{error="handshake_failed"} 0',
      '{error="not_listed"} 1',
    ]);
  });

  it("show open exchanges, and when certificates expire or cannot be read again", async () => {
    const { set, samples } = open();
    const expiry = "limen_tls_certificate_expiry_timestamp_seconds";
    assert.deepEqual(await samples("limen_exchanges_open"), ["7"]);
    assert.deepEqual(
      [await samples(expiry), await samples("limen_tls_reload_failed")],
      [["+Inf"], []],
    );
    set({ tls: { expirySeconds: 1_800_000_000, reloadFailed: true } });
    assert.deepEqual(
      [await samples(expiry), await samples("limen_tls_reload_failed")],
      [["1800000000"], ["1"]],
    );
  });

  for (const [status, name] of [
    [undefined, "none"],
    [0, "none"],
    [100, "1xx"],
    [399, "3xx"],
    [503, "5xx"],
    [600, "none"],
    [Number.NaN, "none"],
  ] as const) {
    it(`put status ${status} into the class ${name}`, async () => {
      const { exchange, samples } = open();
      const http = status === undefined ? {} : { http_status: status };
      exchange({}, { verdict: { decision: "allow", action: "local_reply", ...http } });
      assert.match((await samples("limen_requests_total"))[0] ?? "", RegExp(`class="${name}"} 1`));
    });
  }

  it("count an outcome without its decision as other, and do not fail", async () => {
    const { metrics, samples } = open();
    metrics.countOutcome(outcome("never seen"));
    assert.deepEqual(await samples("limen_requests_total"), [
      '{route="other",model="other",dialect="openai-chat",outcome="allowed",http_class="2xx"} 1',
    ]);
  });

  it("keep verdicts of controls apart by layer, phase and reason, and their time", async () => {
    const { exchange, samples } = open();
    const us = 700;
    exchange(
      {
        controls: [
          { layer: "ingress", verdict: "allow", us },
          { layer: "action", verdict: "deny", reason: "action_denied", us },
        ],
      },
      { controls: [{ layer: "egress", verdict: "mutate", reason: "pii_detected", us }] },
    );
    assert.deepEqual(await samples("limen_control_verdicts_total"), [
      '{layer="ingress",phase="request",verdict="allow",reason="none"} 1',
      '{layer="action",phase="request",verdict="deny",reason="action_denied"} 1',
      '{layer="egress",phase="response",verdict="mutate",reason="pii_detected"} 1',
    ]);
    assert.deepEqual(await samples("limen_time_to_verdict_seconds_sum"), [
      '{layer="ingress",phase="request"} 0.0007',
      '{layer="action",phase="request"} 0.0007',
      '{layer="all",phase="request"} 0.0009',
      '{layer="egress",phase="response"} 0.0007',
    ]);
    const buckets = await samples("limen_time_to_verdict_seconds_bucket");
    const ingress = buckets.filter((line) => line.includes("ingress"));
    assert.ok(ingress.includes('{le="0.0005",layer="ingress",phase="request"} 0'));
    assert.ok(ingress.includes('{le="0.001",layer="ingress",phase="request"} 1'));
    assert.equal(ingress.at(-1), '{le="+Inf",layer="ingress",phase="request"} 1');
    assert.deepEqual(await samples("limen_audit_wait_seconds_sum"), ["0.0006"]);
  });

  it("count tools by name, verdict and phase", async () => {
    const { exchange, samples } = open();
    const rule = ruleId("action.read-crm");
    const name = ownLabel("crm_read");
    exchange(
      { tools: [{ name, verdict: "strip", reason: "action_denied", rule, phase: "declared" }] },
      { tools: [{ name, verdict: "allow", rule, phase: "call" }] },
    );
    assert.deepEqual(await samples("limen_tool_calls_total"), [
      '{tool="crm_read",verdict="strip",reason="action_denied",phase="declared",dialect="openai-chat"} 1',
      '{tool="crm_read",verdict="allow",reason="none",phase="call",dialect="openai-chat"} 1',
    ]);
  });

  it("count findings as often as they were found", async () => {
    const { exchange, samples } = open();
    exchange({ findings: [email("masked", 3)] }, { findings: [email("delivered", 2)] });
    assert.deepEqual(await samples("limen_findings_total"), [
      '{kind="pii",direction="request",disposition="masked"} 3',
      '{kind="pii",direction="response",disposition="delivered"} 2',
    ]);
  });

  it("count coverage of both directions, in exchanges and in bytes", async () => {
    const { exchange, samples } = open();
    exchange(
      { coverage: { request: { state: "partial", cause: "media_not_inspected" } } },
      { coverage: { response: { state: "none", cause: "provider_error" } } },
    );
    assert.deepEqual(await samples("limen_coverage_requests_total"), [
      '{direction="request",state="partial",cause="media_not_inspected"} 1',
      '{direction="response",state="none",cause="provider_error"} 1',
    ]);
    assert.deepEqual(await samples("limen_coverage_bytes_total"), [
      '{direction="request",state="partial"} 4000',
      '{direction="response",state="none"} 2000',
    ]);
  });
});

describe("the rate of unsafe answers", () => {
  const released = (bytes: number) => ({
    output: { bytes: 2000, released_bytes: bytes, streamed: true, aborted: false },
  });
  const action = (name: OutcomeRecord["verdict"]["action"]) => ({
    verdict: { decision: "allow" as const, action: name, http_status: 200 },
  });
  const media = {
    coverage: { request: { state: "partial", cause: "media_not_inspected" } },
  } as const;
  const unseen = { coverage: { response: { state: "partial", cause: "hold_exceeded" } } } as const;
  const aborted = { coverage: { response: { state: "partial", cause: "aborted" } } } as const;
  const rows: readonly {
    readonly name: string;
    readonly first?: Partial<DecisionRecord>;
    readonly last?: Partial<OutcomeRecord>;
    readonly delivered: 0 | 1;
    readonly how?: string;
  }[] = [
    { name: "a clean answer", delivered: 1 },
    { name: "a redacted answer", last: action("mutated"), delivered: 1 },
    { name: "a masked finding", last: { findings: [email("masked")] }, delivered: 1 },
    { name: "an answer that broke off", last: aborted, delivered: 1 },
    {
      name: "a finding that reached the client",
      last: { findings: [email("delivered")] },
      delivered: 1,
      how: "response_finding",
    },
    {
      name: "a finding that reached the model",
      first: { findings: [email("delivered")] },
      delivered: 1,
      how: "request_finding",
    },
    { name: "a failure that opened", last: action("failed_open"), delivered: 1, how: "fail_open" },
    {
      name: "a stream refused after its beginning had left",
      last: { ...released(700), ...action("denied") },
      delivered: 1,
      how: "late_stream",
    },
    { name: "an answer not seen whole", last: unseen, delivered: 1, how: "uninspected" },
    { name: "a request not seen whole", first: media, delivered: 1, how: "uninspected" },
    {
      name: "the worst of several",
      first: media,
      last: { ...action("failed_open"), findings: [email("delivered")] },
      delivered: 1,
      how: "response_finding",
    },
    { name: "a refused answer", last: { ...released(0), ...action("denied") }, delivered: 0 },
    { name: "an error of the provider", last: action("provider_error"), delivered: 0 },
    { name: "Envoy's own answer", last: action("local_reply"), delivered: 0 },
    { name: "what is no inference", last: action("not_inference"), delivered: 0 },
  ];
  for (const { name, first, last, delivered, how } of rows) {
    const counts = `${delivered} delivered, ${how ?? "not"} unsafe`;
    it(`sees ${name} as ${counts}`, async () => {
      const { exchange, samples } = open();
      exchange(first, last);
      const expected = delivered === 1 ? ['{model="gpt-x"} 1'] : [];
      assert.deepEqual(await samples("limen_delivered_total"), expected);
      assert.deepEqual(
        await samples("limen_delivered_unsafe_total"),
        how === undefined ? [] : [`{model="gpt-x",how="${how}"} 1`],
      );
    });
  }

  it("sums up the bytes that had left before a refusal", async () => {
    const { exchange, samples } = open();
    exchange({}, { ...released(700), ...action("denied") });
    exchange({}, { ...released(50), ...action("failed_closed") });
    exchange({}, released(2000));
    assert.deepEqual(await samples("limen_released_before_verdict_bytes_total"), ["750"]);
  });
});

describe("gauges", () => {
  it("are read from their owners when a scrape comes", async () => {
    const { samples, set } = open();
    const read = async (name: string) => (await samples(name)).join();
    assert.equal(await read("limen_build_info"), '{version="1.2.3"} 1');
    assert.equal(await read("limen_policy_info"), '{digest="ab12"} 1');
    assert.equal(await read("limen_policy_age_seconds"), "60");
    assert.equal(await read("limen_policy_reload_failed"), "");
    assert.equal(await read("limen_detector_info"), '{detector="ef56"} 1');
    assert.equal(await read("limen_detector_texts_total"), "9");
    assert.equal(await read("limen_detector_texts_cached_total"), "4");
    assert.equal(await read("limen_detector_windows_total"), "8");
    assert.equal(await read("limen_detector_windows_cleared_total"), "6");
    assert.equal(await read("limen_detector_queue_windows"), "2");
    assert.equal(await read("limen_detector_threads_died_total"), "3");
    assert.equal(await read("limen_audit_writable"), "1");
    assert.equal(await read("limen_audit_log_size"), "20");
    assert.equal(await read("limen_audit_checkpoint_size"), "18");
    assert.equal(await read("limen_audit_checkpoint_age_seconds"), "0.5");
    assert.equal(await read("limen_audit_queue_records"), "2");
    assert.equal(await read("limen_audit_queue_bytes"), "1400");
    assert.equal(await read("limen_audit_refused_total"), "3");
    assert.equal(await read("limen_audit_fsync_errors_total"), "1");
    set({
      audit: { ...AUDIT, writable: false, refused: 4 },
      policy: { digest: ownLabel("cd34"), ageSeconds: 1, reloadFailed: true },
    });
    assert.equal(await read("limen_policy_info"), '{digest="cd34"} 1');
    assert.equal(await read("limen_policy_reload_failed"), "1");
    assert.equal(await read("limen_audit_writable"), "");
    assert.equal(await read("limen_audit_refused_total"), "4");
  });

  it("show an age of +Inf while no checkpoint was signed, so that the alert on it fires", async () => {
    const { samples, set } = open();
    set({ audit: { ...AUDIT, checkpoint: { size: 0, ageSeconds: Number.POSITIVE_INFINITY } } });
    assert.deepEqual(await samples("limen_audit_checkpoint_age_seconds"), ["+Inf"]);
  });
});

describe("the number of series", () => {
  it("ends at 64 names per open label; later ones count as other", async () => {
    const { exchange, samples } = open();
    for (let name = 0; name < 70; name += 1) {
      exchange({ model: { requested: ownLabel(`model-${name}`) } });
    }
    const lines = await samples("limen_delivered_total");
    assert.equal(lines.length, 65);
    assert.equal(lines.at(-2), '{model="model-63"} 1');
    assert.equal(lines.at(-1), '{model="other"} 6');
  });

  it("ends at 4,096 per metric; then open labels collapse and closed ones stay exact", async () => {
    const { exchange, samples } = open();
    const label = (kind: string, at: number): Label => ownLabel(`${kind}-${at}`);
    const failed = { verdict: { decision: "error", action: "failed_closed" } } as const;
    for (let route = 0; route < 64; route += 1) {
      for (let model = 0; model < 64; model += 1) {
        exchange({
          source: { route: label("route", route) },
          model: { requested: label("model", model) },
        });
      }
    }
    const known = { source: { route: label("route", 1) }, model: { requested: label("model", 1) } };
    exchange(known, failed);
    exchange(known, failed);
    exchange(known);
    const lines = await samples("limen_requests_total");
    assert.equal(lines.length, 4097);
    assert.equal(
      lines.at(-1),
      '{route="other",model="other",dialect="openai-chat",outcome="failed_closed",http_class="none"} 2',
    );
    const first = lines.find((line) => line.startsWith('{route="route-1",model="model-1",'));
    assert.ok(first?.endsWith(" 2"));
  });

  it("forgets the oldest of 65,536 decisions without outcome, and only that", async () => {
    const { metrics, samples } = open();
    for (let id = 0; id <= 65_536; id += 1) metrics.countDecision(decision(String(id)));
    assert.deepEqual(await samples("limen_decisions_open"), ["65536"]);
    metrics.countOutcome(outcome("0"));
    metrics.countOutcome(outcome("1"));
    assert.deepEqual(await samples("limen_delivered_total"), [
      '{model="other"} 1',
      '{model="gpt-x"} 1',
    ]);
  });
});
