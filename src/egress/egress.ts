/**
 * What a model says before it reaches the caller: credentials, personal data and canaries. Stateless: the
 * exchange keeps the windows of streams and asks again, with the same answer however the text was cut.
 *
 * What it does not see: values that are neither written nor encoded as `detect/` reads them, and overlaps with
 * protected text that has no canary.
 */
import type { TextControl, TextJudgement, TextVerdict } from "../core/control.ts";
import type { EgressSettings } from "../core/settings.ts";
import type { Judged } from "../core/verdict.ts";
import { canaryDetector } from "../detect/canary.ts";
import { sweeper } from "../detect/detector.ts";
import {
  type EnforcedHit,
  type Enforcement,
  enforcements,
  findingOf,
  verdictOf,
} from "../detect/enforce.ts";
import { jsonUnescaped } from "./unescape.ts";

/** Orders: at the same place a canary is told before a credential, a credential before personal data. */
function listed({ promptLeak, ...settings }: EgressSettings): readonly Enforcement[] {
  const others = enforcements(settings);
  if (promptLeak.action === "off" || promptLeak.canaries.length === 0) return others;
  const detector = canaryDetector(promptLeak.canaries);
  return [{ detector, action: promptLeak.action, reason: "prompt_leak" }, ...others];
}

const judgedBy = (hits: readonly EnforcedHit[]): Judged<TextVerdict> => ({
  verdict: verdictOf(hits),
  findings: hits.map(findingOf),
});

/** In a call nothing is redacted: a credential refuses it, personal data is what many calls are for. */
const inArguments = (hit: EnforcedHit): EnforcedHit => {
  if (hit.action !== "redact" && hit.detector.kind !== "pii") return hit;
  return { ...hit, action: hit.detector.kind === "pii" ? "flag" : "deny" };
};

export function createEgress(settings: EgressSettings): TextControl {
  const sweep = sweeper(listed(settings));

  const unfinished = (text: string, from: number): TextJudgement => {
    const { hits, open } = sweep(text, from, "more");
    let settled = text.length;
    for (const { start } of open) settled = Math.min(settled, start);
    // Overlapping findings leave together: what reaches into the unsettled part waits for it.
    for (const { span } of hits.toReversed()) {
      if (span.start < settled && span.end > settled) settled = span.start;
    }
    let held = text.length;
    const wait = (start: number, action: Enforcement["action"]): void => {
      if (action !== "flag" && start >= settled) held = Math.min(held, start);
    };
    for (const { start, action } of open) wait(start, action);
    for (const { span, action } of hits) wait(span.start, action);
    const now = hits.filter(({ span }) => span.start < settled);
    return { ...judgedBy(now), judged: settled, held };
  };

  return {
    judgeText: (text, from, rest) =>
      rest === "more"
        ? unfinished(text, from)
        : {
            ...judgedBy(sweep(text, from, "ended").hits),
            judged: text.length,
            held: text.length,
          },
    judgeArguments: (args) => {
      const written = sweep(args, 0, "ended").hits;
      const plain = jsonUnescaped(args);
      const meant = plain === args ? [] : sweep(plain, 0, "ended").hits;
      const rules = new Set(written.map(({ detector }) => detector.rule));
      const hits = [...written, ...meant.filter(({ detector }) => !rules.has(detector.rule))];
      return judgedBy(hits.map(inArguments));
    },
  };
}
