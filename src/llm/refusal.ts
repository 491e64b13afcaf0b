/** The words of refusals. Fixed text per reason: rules, patterns, scores and content never appear. */
import { CAUSES } from "../core/cause.ts";
import type { Reason } from "../core/verdict.ts";

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
