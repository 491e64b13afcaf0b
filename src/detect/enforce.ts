/**
 * Personal data and credentials under a policy: which detectors run, what is done with what they find, and the
 * one answer that follows. The same for requests and answers.
 */
import type { TextVerdict } from "../core/control.ts";
import { entityOf, type Finding } from "../core/finding.ts";
import type { Span } from "../core/segment.ts";
import type { PiiSettings, TextAction } from "../core/settings.ts";
import type { Reason } from "../core/verdict.ts";
import { CERTAIN, type Detector, type Hit } from "./detector.ts";
import { PII } from "./pii/index.ts";
import { SECRETS } from "./secrets/index.ts";

/** What a policy makes of one detector's findings; detectors that are off are not in the list. */
export type Enforcement = {
  readonly detector: Detector;
  readonly action: Exclude<TextAction, "off">;
  readonly reason: Reason;
};

export function enforcements(settings: {
  readonly pii: PiiSettings;
  readonly secrets: { readonly action: TextAction };
}): readonly Enforcement[] {
  const { pii, secrets } = settings;
  const listed: Enforcement[] = [];
  if (secrets.action !== "off") {
    const { action } = secrets;
    for (const detector of SECRETS) listed.push({ detector, action, reason: "secret_detected" });
  }
  if (pii.action !== "off") {
    const { action } = pii;
    for (const entity of new Set(pii.entities)) {
      listed.push({ detector: PII[entity], action, reason: "pii_detected" });
    }
  }
  return listed;
}

export const findingOf = ({ detector: { rule, kind }, span }: EnforcedHit): Finding => ({
  rule,
  kind,
  span,
  ...CERTAIN,
});

export type EnforcedHit = Hit<Enforcement>;

/** @param hits in the order of a `Sweep`; what is only flagged changes nothing */
export function verdictOf(hits: readonly EnforcedHit[]): TextVerdict {
  const refused = hits.find(({ action }) => action === "deny");
  if (refused !== undefined) {
    return { kind: "deny", reason: refused.reason, rule: refused.detector.rule };
  }
  const masked = hits.filter(({ action }) => action === "redact");
  const [first] = masked;
  if (first === undefined) return { kind: "allow" };
  const { reason, detector } = first;
  return { kind: "mutate", reason, rule: detector.rule, redactions: redactionsOf(masked) };
}

/** Overlapping findings become one redaction, named after the one that begins first. */
function redactionsOf(
  hits: readonly EnforcedHit[],
): readonly { readonly span: Span; readonly replacement: string }[] {
  const merged: { span: Span; replacement: string }[] = [];
  for (const { detector, span } of hits) {
    const last = merged.at(-1);
    if (last !== undefined && span.start < last.span.end) {
      last.span = { start: last.span.start, end: Math.max(last.span.end, span.end) };
    } else {
      merged.push({ span, replacement: `[${entityOf(detector.rule)}]` });
    }
  }
  return merged;
}
