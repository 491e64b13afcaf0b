/** Records as an exchange writes them; a test changes what it is about. */
import { decisionId, ownLabel, ruleId } from "../../src/core/brand.ts";
import type { DecisionRecord, OutcomeRecord } from "../../src/core/record.ts";

const REFUSED = 403;

/** A clean chat of 4,000 bytes. */
export const decision = (id: string, changes: Partial<DecisionRecord> = {}): DecisionRecord => ({
  type: "request.decision",
  id: decisionId(id),
  dialect: "openai-chat",
  source: { route: ownLabel("llm-chat") },
  model: { requested: ownLabel("gpt-x") },
  policy: { digest: ownLabel("ab12"), names: [ownLabel("support")] },
  detector: { injection: ownLabel("ef56") },
  input: { bytes: 4000, segments: 3 },
  controls: [],
  findings: [],
  tools: [],
  verdict: { decision: "allow", action: "allowed" },
  coverage: { request: { state: "full" } },
  timing: { verdict_us: 900 },
  ...changes,
});

/** Its answer of 2,000 bytes, all of it inspected and delivered. */
export const outcome = (id: string, changes: Partial<OutcomeRecord> = {}): OutcomeRecord => ({
  type: "response.outcome",
  id: decisionId(`${id}-outcome`),
  refs: { decision: decisionId(id) },
  dialect: "openai-chat",
  model: { served: ownLabel("gpt-x") },
  controls: [],
  findings: [],
  tools: [],
  verdict: { decision: "allow", action: "allowed", http_status: 200 },
  output: { bytes: 2000, released_bytes: 2000, streamed: false, aborted: false },
  coverage: { response: { state: "full" } },
  timing: { total_us: 400_000, audit_wait_us: 600 },
  ...changes,
});

/** The outcome of a request that was refused before the model saw it. */
export const refused = (id: string): OutcomeRecord =>
  outcome(id, {
    verdict: {
      decision: "deny",
      action: "denied",
      reason: "injection_detected",
      http_status: REFUSED,
    },
    output: { bytes: 0, released_bytes: 0, streamed: false, aborted: false },
    coverage: { response: { state: "none", cause: "no_response" } },
  });

/** A finding of an e-mail address. */
export const email = (disposition: "blocked" | "masked" | "delivered", count = 1) => ({
  rule: ruleId("pii.email"),
  kind: "pii" as const,
  count,
  disposition,
});
