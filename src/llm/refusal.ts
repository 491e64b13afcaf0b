/**
 * The words and the general form of refusals. Fixed text per reason: rules, patterns, scores and content never
 * appear. Every body says what was refused, the stable reason and the id of the decision.
 */
import { CAUSES } from "../core/cause.ts";
import type { Reason } from "../core/verdict.ts";
import type { Refusal } from "./dialect.ts";

const DETECTED = {
  injection_detected: "The request contains instructions that this boundary does not let through",
  secret_detected: "The content contains a secret",
  pii_detected: "The content contains personal data that may not pass here",
  prompt_leak: "The answer would disclose protected instructions",
  context_leak: "The answer would disclose protected context",
  exfiltration: "The answer contains a channel that would carry data out",
  action_denied: "The action is not allowed",
  approval_required: "The action needs an approval",
  model_denied: "The model is not allowed here",
} as const;

/** What was refused, in one sentence without its full stop. */
export const refusalSentence = (reason: Reason): string =>
  reason in DETECTED
    ? DETECTED[reason as keyof typeof DETECTED]
    : `The exchange was refused: ${CAUSES[reason as keyof typeof CAUSES].meaning}`;

/** HTTP status of a refusal: a cause's own, 403 for every verdict (official clients do not retry it). */
export const refusalStatus = (reason: Reason): number =>
  reason in CAUSES ? CAUSES[reason as keyof typeof CAUSES].status : 403;

/** `error.type` of OpenAI's errors; a 400, 413 or 415 is the request's own fault. */
const errorType = (status: number): string =>
  status === 403 ? "permission_error" : status >= 500 ? "server_error" : "invalid_request_error";

/**
 * A refusal in the form of OpenAI's errors (platform.openai.com, guides/error-codes): also what a client gets
 * on a path of no dialect.
 */
export const refusalBody = ({ reason, status, decisionId }: Refusal): string =>
  JSON.stringify({
    error: {
      message: `${refusalSentence(reason)} (decision ${decisionId}).`,
      type: errorType(status),
      param: null,
      code: reason,
    },
  });
