/**
 * What a model says before it reaches the caller: credentials, personal data and canaries. Stateless: the
 * exchange keeps the windows of streams and asks again, with the same answer however the text was cut.
 *
 * What it does not see: values that are neither written nor encoded as `detect/` reads them, and overlaps with
 * protected text that has no canary.
 */
import type { TextControl, TextVerdict } from "../core/control.ts";
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

const judged = (hits: readonly EnforcedHit[]): Judged<TextVerdict> => ({
  verdict: verdictOf(hits),
  findings: hits.map(findingOf),
});

type Assessment = {
  readonly hits: readonly EnforcedHit[];
  readonly judged: number;
  readonly held: number;
};

/** In a call nothing is redacted: a credential refuses it, personal data is what many calls are for. */
const inArguments = (hit: EnforcedHit): EnforcedHit => {
  if (hit.action !== "redact" && hit.detector.kind !== "pii") return hit;
  return { ...hit, action: hit.detector.kind === "pii" ? "flag" : "deny" };
};

export function createEgress(settings: EgressSettings): TextControl {
  const sweep = sweeper(listed(settings));

  const assess = (text: string, from: number): Assessment => {
    const { hits, open } = sweep(text, from, "more");
    let settled = Math.min(text.length, ...open.map(({ start }) => start));
    // Overlapping findings leave together: what reaches into the unsettled part waits for it.
    for (const { span } of hits.toReversed()) {
      if (span.start < settled && span.end > settled) settled = span.start;
    }
    const waiting = [
      ...open.filter(({ action }) => action !== "flag").map(({ start }) => start),
      ...hits.filter(({ action }) => action !== "flag").map(({ span }) => span.start),
    ].filter((start) => start >= settled);
    return {
      hits: hits.filter(({ span }) => span.start < settled),
      judged: settled,
      held: Math.min(text.length, ...waiting),
    };
  };

  return {
    judgeText: (text, from, ended) =>
      judged(ended ? sweep(text, from, "ended").hits : assess(text, from).hits),
    openFrom: (text, from) => {
      const { judged, held } = assess(text, from);
      return { judged, held };
    },
    judgeArguments: (args) => {
      const written = sweep(args, 0, "ended").hits;
      const plain = jsonUnescaped(args);
      const meant = plain === args ? [] : sweep(plain, 0, "ended").hits;
      const rules = new Set(written.map(({ detector }) => detector.rule));
      const hits = [...written, ...meant.filter(({ detector }) => !rules.has(detector.rule))];
      return judged(hits.map(inArguments));
    },
  };
}
