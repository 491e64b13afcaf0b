/** Personal data and credentials in a request, and what the policy does about them. */
import type { TextVerdict } from "../core/control.ts";
import type { Span } from "../core/segment.ts";
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

type Place = { readonly span: Span; readonly replacement: string };

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
      const findings = hits.map(findingOf);
      yield;
      const verdict = signed ? unedited(hits) : verdictOf(hits);
      if (verdict.kind !== "mutate") judgements.push({ verdict, findings });
      else {
        const places = atMost(left, verdict.redactions);
        left -= places.length;
        const redactions = places.map((place) => ({ ...place, segment }));
        const { kind, reason } = verdict;
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

/** As many places as are left, or one around all of them. */
function atMost(left: number, places: readonly Place[]): readonly Place[] {
  const [first] = places;
  const last = places.at(-1);
  if (first === undefined || last === undefined || places.length <= left) return places;
  return [{ ...first, span: { start: first.span.start, end: last.span.end } }];
}
