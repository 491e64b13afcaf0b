import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ownLabel } from "../../src/core/brand.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { LABELS, type LabelName, METRICS, type MetricName } from "../../src/telemetry/names.ts";

const names = Object.keys(METRICS) as MetricName[];
const guide = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");

/** Rows of the table between a marker and its end, without the head; cells trimmed. */
function table(marker: string): string[][] {
  const [, after = ""] = guide.split(`<!-- ${marker} -->`);
  const [body = ""] = after.split(`<!-- /${marker} -->`);
  return body
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .slice(2)
    .map((line) => line.split("|").slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
}

describe("metric names", () => {
  it("carry the prefix, base units and _total on counters alone", () => {
    assert.ok(names.length > 20);
    for (const name of names) {
      assert.match(name, /^limen_[a-z_]+$/);
      assert.equal(name.endsWith("_total"), METRICS[name].type === "counter", name);
      assert.doesNotMatch(name, /_(ms|us|millis|kb|mb)(_|$)/);
      assert.match(METRICS[name].help, /^[A-Z1].*\.$/);
    }
  });

  it("are exactly what a scrape shows, with type and help, beside the process's own", async () => {
    const text = await createMetrics({
      version: ownLabel("1"),
      audit: () => assert.fail("not asked for in this test"),
      policy: () => assert.fail("not asked for in this test"),
      detector: () => assert.fail("not asked for in this test"),
      tls: () => assert.fail("not asked for in this test"),
      exchangesOpen: () => 0,
    })
      .text()
      .catch(() => "");
    assert.equal(text, ""); // a source that fails fails the scrape, it does not show zeroes
    const shown = await createMetrics({
      version: ownLabel("1"),
      audit: () => ({
        writable: true,
        logSize: 0,
        checkpoint: { size: 0, ageSeconds: 0 },
        queue: { records: 0, bytes: 0 },
        refused: 0,
        fsyncErrors: 0,
      }),
      policy: () => ({ digest: ownLabel("ab"), ageSeconds: 0, reloadFailed: false }),
      detector: () => ({
        digest: ownLabel("rules"),
        texts: 0,
        cached: 0,
        windows: 0,
        cleared: 0,
        queued: 0,
        died: 0,
      }),
      tls: () => ({ expirySeconds: 0, reloadFailed: false }),
      exchangesOpen: () => 0,
    }).text();
    const found = [...shown.matchAll(/^# HELP (\S+) (.*)\n# TYPE \S+ (\S+)$/gm)]
      .map(([, name = "", help, type]) => ({ name, help, type }))
      .filter(({ name }) => name.startsWith("limen_"));
    const expected = names.map((name) => ({
      name,
      help: METRICS[name].help,
      type: METRICS[name].type,
    }));
    const order = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1);
    assert.deepEqual(found.sort(order), expected.sort(order));
    assert.match(shown, /^process_cpu_seconds_total /m);
    assert.match(shown, /^nodejs_eventloop_lag_seconds /m);
  });

  it("use every label that is defined and no other", () => {
    const used = new Set<string>(names.flatMap((name) => METRICS[name].labels));
    assert.deepEqual([...used].sort(), Object.keys(LABELS).sort());
  });

  it("stand in docs/metrics.md with type, labels and help", () => {
    const expected = names.map((name) => {
      const { type, labels, help } = METRICS[name];
      return [`\`${name}\``, type, labels.map((label) => `\`${label}\``).join(", "), help];
    });
    assert.deepEqual(table("metrics"), expected);
  });

  it("have their labels in docs/metrics.md with meaning and attribute", () => {
    const expected = (Object.keys(LABELS) as LabelName[]).map((label) => [
      `\`${label}\``,
      LABELS[label].meaning,
      `\`${LABELS[label].attribute}\``,
    ]);
    assert.deepEqual(table("labels"), expected);
  });
});
