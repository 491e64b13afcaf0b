/** Requests whose judging waits for a detector: how the wait ends, and what may happen meanwhile. */
import assert from "node:assert/strict";
import type { Cause } from "../../src/core/cause.ts";
import type { RequestControl } from "../../src/core/control.ts";
import type { PolicySet } from "../../src/core/policy.ts";
import { ALLOW } from "../../src/core/verdict.ts";
import { policyWith, runSession } from "../envoy/ext-proc/session.ts";

const request = {
  path: "/v1/chat/completions",
  body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hello" }] }),
};

/** The policies with `ingress` in the place of theirs. */
const judgedBy = (policies: PolicySet, ingress: RequestControl): PolicySet => ({
  ...policies,
  select(facts) {
    const policy = policies.select(facts);
    return policy && { ...policy, controls: { ...policy.controls, ingress } };
  },
});
const unjudged = (cause: Cause): RequestControl => ({
  judgeRequest: async () => ({ verdict: ALLOW, findings: [], cause }),
});

describe("a request that could not be judged in full", () => {
  for (const cause of ["detector_timeout", "detector_unavailable"] as const) {
    it(`is refused with 503 ${cause} and may come back`, async () => {
      const seen = await runSession({
        policies: judgedBy(policyWith("{}"), unjudged(cause)),
        request,
      });
      assert.equal(seen.upstream, undefined);
      assert.equal(seen.client.status, 503);
      assert.equal(seen.client.headers["retry-after"], "1");
      assert.equal(JSON.parse(seen.client.body).error.code, cause);
      assert.equal(seen.decisions[0]?.verdict.action, "failed_closed");
      assert.deepEqual(seen.decisions[0]?.detector, { injection: "rules" });
      assert.deepEqual(seen.decisions[0]?.coverage.request, { state: "partial", cause });
    });
  }
});
