/**
 * The request before it reaches the model: the policy's limits and models, instructions aimed at the model,
 * personal data and credentials on their way to a provider. Pure; what it cannot edit (text that the provider
 * signed) it refuses.
 */
import { type RuleId, ruleId } from "../core/brand.ts";
import type { RequestControl } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import { globMatch } from "../core/glob.ts";
import type { InferenceRequest } from "../core/inference.ts";
import type { Provenance, Segment } from "../core/segment.ts";
import type { IngressSettings, InjectionAction } from "../core/settings.ts";
import { ALLOW, type Judged, type Reason, strictest, type Verdict } from "../core/verdict.ts";
import { sweeper } from "../detect/detector.ts";
import { enforcements, findingOf, verdictOf } from "../detect/enforce.ts";
import { detectInjection } from "../detect/injection.ts";
import { seamsOf } from "./seams.ts";

type Judgement = Judged<Verdict>;
const CLEAN: Judgement = { verdict: ALLOW, findings: [] };

const deny = (reason: Reason, rule: RuleId): Verdict => ({ kind: "deny", reason, rule });

function join(judgements: readonly Judgement[]): Judgement {
  return {
    verdict: strictest(judgements.map(({ verdict }) => verdict)),
    findings: judgements.flatMap(({ findings }) => findings),
  };
}

function judgeLimits(request: InferenceRequest, settings: IngressSettings): Verdict {
  const { limits, models } = settings;
  if (request.messages > limits.messages) return deny("limit_exceeded", ruleId("ingress.messages"));
  if ((request.maxOutputTokens ?? 0) > limits.maxOutputTokens) {
    return deny("limit_exceeded", ruleId("ingress.max_output_tokens"));
  }
  const model = request.model.reveal();
  if (models.length > 0 && !models.some((glob) => globMatch(glob, model))) {
    return deny("model_denied", ruleId("ingress.models"));
  }
  return ALLOW;
}

/** What happens to an instruction found in a text of this provenance. */
function injectionAction(
  provenance: Provenance,
  finding: Finding,
  injection: IngressSettings["injection"],
): InjectionAction {
  if (finding.kind === "injection.hidden") return injection.hidden;
  switch (provenance) {
    case "tool":
      return injection.tool;
    case "document":
      return injection.document;
    case "system":
      // Operators' own system prompts read like orders to a model: they are reported, never refused.
      return injection.document === "off" ? "off" : "flag";
    case "hidden":
      return injection.hidden;
    case "user":
    case "assistant":
      return injection.user;
  }
}

function judgeInjection(
  text: string,
  provenance: Provenance,
  injection: IngressSettings["injection"],
): Judgement {
  const judged = detectInjection(text, provenance)
    .map((finding) => ({ finding, action: injectionAction(provenance, finding, injection) }))
    .filter(({ action }) => action !== "off");
  // What is neither off nor only flagged is refused: nothing takes a text out yet, or marks it.
  const refused = judged.find(
    ({ finding, action }) => action !== "flag" && finding.score >= finding.threshold,
  );
  return {
    verdict: refused === undefined ? ALLOW : deny("injection_detected", refused.finding.rule),
    findings: judged.map(({ finding }) => finding),
  };
}

/** Judges personal data and credentials in one segment. */
function structured(
  settings: IngressSettings,
): (text: string, index: number, signed: boolean) => Judgement {
  const sweep = sweeper(enforcements(settings));
  return (text, index, signed) => {
    const { hits } = sweep(text, 0, "ended");
    if (hits.length === 0) return CLEAN;
    const findings = hits.map(findingOf);
    const verdict = verdictOf(hits);
    if (verdict.kind !== "mutate") return { verdict, findings };
    const [first] = findings;
    if (signed && first !== undefined)
      return { verdict: deny(verdict.reason, first.rule), findings };
    const redactions = verdict.redactions.map((redaction) => ({ ...redaction, segment: index }));
    return { verdict: { ...verdict, redactions, stripTools: [] }, findings };
  };
}

/** A text that is clean piece by piece may still say something as a whole. */
function judgeSeams(segments: readonly Segment[], settings: IngressSettings): Judgement {
  return join(
    seamsOf(segments).map(({ text, provenance }) => {
      const judged = judgeInjection(text, provenance, settings.injection);
      // What stands whole in one segment has been reported there; here only a refusal is news.
      return judged.verdict.kind === "deny" ? judged : CLEAN;
    }),
  );
}

export function createIngress(settings: IngressSettings): RequestControl {
  const judgeStructured = structured(settings);
  return {
    judgeRequest: async (request) => {
      const limits = judgeLimits(request, settings);
      if (limits.kind === "deny") return { verdict: limits, findings: [] };
      const judged = join(
        request.segments.flatMap(({ content, provenance, signed }, index) => {
          const text = content.reveal();
          return [
            judgeInjection(text, provenance, settings.injection),
            judgeStructured(text, index, signed),
          ];
        }),
      );
      if (judged.verdict.kind === "deny") return judged;
      return join([judged, judgeSeams(request.segments, settings)]);
    },
  };
}
