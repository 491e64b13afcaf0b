/** A refusal before the first byte, as the client of an API reads it. */
import type { DecisionId } from "../core/brand.ts";
import type { Reason } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { refusalBody, refusalStatus } from "../llm/refusal.ts";
import type { LocalReply } from "./http.ts";
import { said } from "./said.ts";

/** When a 503 asks to come back, in seconds. */
const RETRY_AFTER = "1";

export function refuse(
  reason: Reason,
  decisionId: DecisionId,
  dialect: Dialect | undefined,
): LocalReply {
  const status = refusalStatus(reason);
  const refusal = { reason, status, decisionId };
  return {
    status,
    body: dialect?.refusalBody(refusal) ?? refusalBody(refusal),
    headers: [
      ["content-type", "application/json"],
      ...said(reason === "approval_required" ? "ask" : "deny", decisionId),
      ...(status === 503 ? ([["retry-after", RETRY_AFTER]] as const) : []),
    ],
    details: `limen_${reason}`,
  };
}
