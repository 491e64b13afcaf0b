/** Personal data and credentials in a request, and what the policy does about them. */
import type { TextVerdict } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import type { IngressSettings } from "../core/settings.ts";
import type { Steps } from "../core/steps.ts";
import type { Judged, Verdict } from "../core/verdict.ts";
import { wholeSweeper } from "../detect/detector.ts";
import { type EnforcedHit, enforcements, findingOf, verdictOf } from "../detect/enforce.ts";
import type { Said } from "./injection.ts";

/**
 * Places in one request that are masked one by one: each takes some 2 µs of the event loop (measured). A text that has
 * more than are left loses all from its first place to its last.
 */
const PLACES = 32_768;

/** What is judged of each text that has something, in their order. */
export function structuredJudge(
  settings: IngressSettings,
): (said: readonly Said[]) => Steps<readonly Judged<Verdict>[]> {
  const sweep = wholeSweeper(enforcements(settings));
  return function* (said) {
    const judgements: Judged<Verdict>[] = [];
    let left = PLACES;
    for (const [segment, { text, signed }] of said.entries()) {
      yield;
      const hits = yield* sweep(text);
      if (hits.length === 0) continue;
      const findings: Finding[] = [];
      for (const hit of hits) {
        findings.push(findingOf(hit));
        yield;
      }
      const verdict = signed ? unedited(hits) : verdictOf(fewer(hits, left));
      if (verdict.kind !== "mutate") judgements.push({ verdict, findings });
      else {
        const { kind, reason } = verdict;
        const redactions = verdict.redactions.map((redaction) => ({ ...redaction, segment }));
        left -= redactions.length;
        judgements.push({ verdict: { kind, reason, redactions, stripTools: [] }, findings });
      }
    }
    return judgements;
  };
}

/** What cannot be edited is refused. */
function unedited(hits: readonly EnforcedHit[]): TextVerdict {
  const verdict = verdictOf(hits);
  const [first] = hits;
  if (verdict.kind !== "mutate" || first === undefined) return verdict;
  return { kind: "deny", reason: verdict.reason, rule: first.detector.rule };
}

/** The same hits; where more of them are masked than are left, with one around all of those in their place. */
function fewer(hits: readonly EnforcedHit[], left: number): readonly EnforcedHit[] {
  const masked = hits.filter(({ action }) => action === "redact");
  const [first] = masked;
  if (first === undefined || masked.length <= left) return hits;
  const end = masked.reduce((most, { span }) => Math.max(most, span.end), 0);
  const around = { ...first, span: { start: first.span.start, end } };
  return [around, ...hits.filter(({ action }) => action !== "redact")];
}
