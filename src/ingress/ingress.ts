/**
 * The request before it reaches the model: the policy's limits and models, instructions aimed at the model,
 * personal data and credentials on their way to a provider. Pure; what it cannot edit (text that the provider
 * signed) it refuses.
 */
import { type RuleId, ruleId } from "../core/brand.ts";
import type { RequestControl } from "../core/control.ts";
import { globMatch } from "../core/glob.ts";
import type { InferenceRequest } from "../core/inference.ts";
import type { IngressSettings } from "../core/settings.ts";
import { inTurns } from "../core/steps.ts";
import {
  ALLOW,
  type Judged,
  type Reason,
  type Redaction,
  strictest,
  type Verdict,
} from "../core/verdict.ts";
import type { Scorer } from "../detect/scorer.ts";
import { injectionJudge } from "./injection.ts";
import { structuredJudge } from "./structured.ts";

type Judgement = Judged<Verdict>;

const deny = (reason: Reason, rule: RuleId): Verdict => ({ kind: "deny", reason, rule });

function join(judgements: readonly Judgement[]): Judgement {
  return {
    verdict: strictest(judgements.map(({ verdict }) => verdict)),
    findings: judgements.flatMap(({ findings }) => findings),
  };
}

/**
 * Texts of one request, keys of schemas included. Each costs everybody some 10 µs of the event loop however short it
 * is (measured), and a body of a megabyte has room for 200,000; a long conversation with many tools has some 10,000.
 */
const TEXTS = 32_768;

function judgeLimits(request: InferenceRequest, settings: IngressSettings): Verdict {
  const { limits, models } = settings;
  if (request.messages > limits.messages) return deny("limit_exceeded", ruleId("ingress.messages"));
  if (request.segments.length > TEXTS) return deny("limit_exceeded", ruleId("ingress.texts"));
  if ((request.maxOutputTokens ?? 0) > limits.maxOutputTokens) {
    return deny("limit_exceeded", ruleId("ingress.max_output_tokens"));
  }
  const model = request.model.reveal();
  if (models.length > 0 && !models.some((glob) => globMatch(glob, model))) {
    return deny("model_denied", ruleId("ingress.models"));
  }
  return ALLOW;
}

/** In order and apart in each segment: what lies in another redaction goes with it, what crosses it joins it. */
function apart(redactions: readonly Redaction[]): readonly Redaction[] {
  const result: Redaction[] = [];
  const inOrder = redactions.toSorted(
    (a, b) => a.segment - b.segment || a.span.start - b.span.start || a.span.end - b.span.end,
  );
  for (const next of inOrder) {
    const last = result.at(-1);
    if (
      last === undefined ||
      next.segment !== last.segment ||
      next.span.start >= last.span.end ||
      last.span.start === last.span.end
    ) {
      result.push(next);
      continue;
    }
    const isInside = next.span.end <= last.span.end && next.span.start < next.span.end;
    result[result.length - 1] = {
      ...last,
      span: { start: last.span.start, end: Math.max(last.span.end, next.span.end) },
      replacement: isInside ? last.replacement : last.replacement + next.replacement,
    };
  }
  return result;
}

/** @param scorer the learned detector of injections; without one its rules decide alone */
export function createIngress(settings: IngressSettings, scorer?: Scorer): RequestControl {
  const judgeStructured = structuredJudge(settings);
  const judgeInjection = injectionJudge(settings.injection, scorer);
  return {
    judgeRequest: async (request, context) => {
      const limits = judgeLimits(request, settings);
      if (limits.kind === "deny") return { verdict: limits, findings: [] };
      const said = request.segments.map(({ content, provenance, signed }) => ({
        text: content.reveal(),
        provenance,
        signed,
      }));
      const personal = await inTurns(judgeStructured(said), context);
      const injection = await judgeInjection(said, context);
      const { verdict, findings } = join([injection, ...personal]);
      return {
        verdict:
          verdict.kind === "mutate"
            ? { ...verdict, redactions: apart(verdict.redactions) }
            : verdict,
        findings,
        ...(injection.cause === undefined ? {} : { cause: injection.cause }),
      };
    },
  };
}
