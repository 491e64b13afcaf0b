import assert from "node:assert/strict";
import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import { encodeLeaf, LIST_LIMIT, readLeaf, rfc3339 } from "../../src/audit/leaf.ts";
import { decisionId, ownLabel, ruleId } from "../../src/core/brand.ts";
import { type AuditRecord, type DecisionRecord, RULES_ALONE } from "../../src/core/record.ts";
import { decisionRecord, newId, outcomeRecord } from "./fixtures.ts";

const log = { origin: "limen.example/leaf/3", epoch: 3, build: "1.2.3" };
const at = { wseq: 41, wallUs: 1_767_225_599_000_001n };

describe("a leaf", () => {
  it("is canonical for records of every type, with the log's own fields", () => {
    const id = decisionId("01977d6a-0000-7000-8000-000000000001");
    const records: AuditRecord[] = [
      decisionRecord(id),
      outcomeRecord(id),
      { type: "genesis", build: ownLabel("1"), key: ownLabel("a+b+c") },
      {
        type: "config.activated",
        digest: ownLabel("d"),
        detector: RULES_ALONE,
        names: [ownLabel("\u00fc"), ownLabel('"')],
      },
      { type: "recovery", bytes: 12, sha256: ownLabel("00"), dangling: 3 },
      { type: "heartbeat" },
      { type: "close" },
    ];
    for (const record of records) {
      const text = encodeLeaf(record, at, log);
      const parsed = JSON.parse(text);
      assert.equal(text, canonicalize(parsed));
      const own = { v: "limen.audit/v1", wseq: 41, time: "2025-12-31T23:59:59.000001Z", ...log };
      assert.deepEqual(parsed, { ...record, ...own });
    }
  });

  it("refuses a record with a number or a string that has no single canonical form", () => {
    const record = decisionRecord(newId());
    assert.throws(() => encodeLeaf({ ...record, timing: { verdict_us: 0.5 } }, at, log), Error);
    const route = ownLabel("a\ud800");
    assert.throws(() => encodeLeaf({ ...record, source: { route } }, at, log), Error);
  });

  it("has no field for what is not known", () => {
    const { verdict, ...rest } = outcomeRecord(newId());
    const { http_status: _, ...bare } = verdict;
    const parsed = JSON.parse(encodeLeaf({ ...rest, verdict: bare }, at, log));
    assert.deepEqual(Object.keys(parsed.verdict), ["action", "decision"]);
  });

  it("writes time with microseconds, the last of a second included", () => {
    assert.equal(rfc3339(0n), "1970-01-01T00:00:00.000000Z");
    assert.equal(rfc3339(1_700_000_000_999_999n), "2023-11-14T22:13:20.999999Z");
    assert.equal(rfc3339(1_700_000_000_010_020n), "2023-11-14T22:13:20.010020Z");
  });

  for (const items of [LIST_LIMIT, LIST_LIMIT + 1]) {
    it(`${items > LIST_LIMIT ? "cuts, counts and digests" : "keeps"} a list of ${items}`, () => {
      const tools = Array.from({ length: items }, (_, i) => ({
        name: ownLabel(`tool-${i}`),
        verdict: "deny" as const,
        rule: ruleId("action.default"),
        phase: "declared" as const,
      }));
      const text = encodeLeaf({ ...decisionRecord(newId()), tools }, at, log);
      const parsed = JSON.parse(text);
      assert.equal(parsed.tools.length, LIST_LIMIT);
      const whole = hash("sha256", canonicalize(tools) ?? "", "hex");
      const cut = items > LIST_LIMIT ? { tools: { count: items, sha256: whole } } : undefined;
      assert.deepEqual(parsed.cut, cut);
    });
  }

  it("is read back by its head, and anything else is no record", () => {
    const id = newId();
    const entry = (text: string): Uint8Array => Buffer.from(text);
    const head = readLeaf(entry(encodeLeaf(outcomeRecord(id), at, log)));
    assert.equal(head?.type, "response.outcome");
    assert.equal(head?.decision, id);
    assert.equal(head?.wseq, 41);
    const { detector: _, ...older } = decisionRecord(id); // logs of versions that had one detector
    assert.equal(readLeaf(entry(encodeLeaf(older as DecisionRecord, at, log)))?.id, id);
    const others = ["", "null", "[]", '"v"', "{}", '{"v":"limen.audit/v2"}', "{", "\ufeff{}"];
    for (const text of others) assert.equal(readLeaf(entry(text)), undefined);
    assert.equal(readLeaf(Uint8Array.of(0x22, 0xff, 0x22)), undefined);
  });
});
