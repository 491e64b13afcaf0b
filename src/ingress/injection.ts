/**
 * Instructions aimed at the model in a request, and what the policy does about them. The rules read everything first:
 * what they refuse is refused without asking the learned detector. That one is asked once about all texts, untrusted
 * and newest first, and once more about texts that continue each other.
 */
import type { RuleId } from "../core/brand.ts";
import type { Cause } from "../core/cause.ts";
import type { JudgeContext, RequestJudgement } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import type { Provenance } from "../core/segment.ts";
import type { IngressSettings, InjectionAction } from "../core/settings.ts";
import { inTurns, type Pace, pauses, type Steps } from "../core/steps.ts";
import { ALLOW, type Redaction, type Verdict } from "../core/verdict.ts";
import { annotations } from "../detect/injection/annotate.ts";
import { detect, detectByRules, type Judged } from "../detect/injection/detect.ts";
import { isSure, type Model } from "../detect/injection/fusion.ts";
import { type Passage, passagesInSteps } from "../detect/injection/passages.ts";
import { REMOVED, spansToStrip } from "../detect/injection/strip.ts";
import type { Scorer } from "../detect/scorer.ts";
import { ViewBuilder } from "../detect/view.ts";
import { meetingsOf, type Seam, seamsOf } from "./seams.ts";

/** A text of a request. */
export type Said = {
  readonly text: string;
  readonly provenance: Provenance;
  /** It cannot be edited. */
  readonly signed: boolean;
};
type Injection = IngressSettings["injection"];

/** Texts of one request of which single sentences are taken out; of any more, all that they say. */
const PRECISE = 8;
/** Who is read first while there is time. */
const TURN: Readonly<Record<Provenance, number>> = {
  tool: 0,
  document: 0,
  hidden: 0,
  user: 1,
  system: 2,
  assistant: 3,
};

/** What happens to an instruction found in a passage of this provenance. */
function actionFor(provenance: Provenance, injection: Injection): InjectionAction {
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

const isFlagged = ({ score, threshold }: Finding): boolean => score >= threshold;
const denied = (rule: RuleId): Verdict => ({ kind: "deny", reason: "injection_detected", rule });

/** A text's passages, without those that the policy does not ask about. */
type Reading = {
  readonly said: Said;
  readonly index: number;
  readonly judged: readonly Judged[];
};

type Means = {
  readonly injection: Injection;
  readonly model: Model | undefined;
  readonly pace: Pace;
};

function* asked({ text, provenance }: Seam, injection: Injection): Steps<readonly Passage[]> {
  // Where documents are not asked about, marks would take a user's words out of sight.
  const marks = injection.document === "off" ? "ignored" : "read";
  const passages = yield* passagesInSteps(text, provenance, marks);
  return passages.filter((one) => actionFor(one.provenance, injection) !== "off");
}

/** What the rules say of each text. */
function* readByRules(said: readonly Said[], injection: Injection): Steps<readonly Reading[]> {
  const readings: Reading[] = [];
  for (const [index, one] of said.entries()) {
    const judged = detectByRules(yield* asked(one, injection));
    readings.push({ said: one, index, judged });
  }
  return readings;
}

/** The first flagged finding that one of these actions answers. */
const flaggedBy = (
  judged: readonly Judged[],
  injection: Injection,
  ...actions: readonly InjectionAction[]
): Finding | undefined =>
  judged
    .filter(({ passage }) => actions.includes(actionFor(passage.provenance, injection)))
    .flatMap(({ findings }) => findings)
    .find(isFlagged);

/** What the rules have decided already; all of it where nobody else is asked. */
const settled = (judged: readonly Judged[], model: Model | undefined): readonly Judged[] =>
  model === undefined ? judged : judged.filter(({ passage }) => isSure(passage));

/** The learned detector's word on what the rules have read. */
async function judgeAgain(
  readings: readonly Reading[],
  model: Model,
  pace: Pace,
): Promise<{ readonly readings: readonly Reading[]; readonly cause: Cause | undefined }> {
  const pause = pauses(pace);
  const order = readings
    .flatMap(({ judged, index }) => judged.map(({ passage }) => ({ passage, index })))
    .toSorted(
      (a, b) => TURN[a.passage.provenance] - TURN[b.passage.provenance] || b.index - a.index,
    );
  await pause();
  const { judged, cause } = await detect(
    order.map(({ passage }) => passage),
    model,
  );
  await pause();
  const byText = Map.groupBy(judged, (_, at) => order[at]?.index);
  return {
    readings: readings.map((reading) => ({ ...reading, judged: byText.get(reading.index) ?? [] })),
    cause,
  };
}

/**
 * A text as it goes on, for what it comes to beside its neighbours: an order cut in two can stand beside another that
 * is taken out. Nothing of one that is framed, or that is flagged and passes: that is known.
 */
function left(
  { said, judged }: Reading,
  redactions: readonly Redaction[],
  injection: Injection,
): readonly Seam[] {
  const { text, provenance } = said;
  const own = judged.filter(({ passage }) => passage.provenance === provenance);
  if (flaggedBy(own, injection, "flag") !== undefined) return [];
  if (redactions.some(({ span }) => span.start === span.end)) return [];
  const view = new ViewBuilder(text);
  for (const { span, replacement } of redactions) view.replace(span.start, span.end, replacement);
  return [{ provenance, text: view.build().text }];
}

/**
 * What is flagged in neighbours together and in none of them alone. It has no place in one text: it is refused.
 * @param verdict what happens to each of them alone
 */
async function judgeSeams(
  readings: readonly Reading[],
  verdict: Verdict,
  { injection, model, pace }: Means,
): Promise<{ readonly refused: Finding | undefined; readonly cause: Cause | undefined }> {
  const edits = Map.groupBy(
    verdict.kind === "mutate" ? verdict.redactions : [],
    ({ segment }) => segment,
  );
  const pieces: Seam[] = [];
  const pause = pauses(pace);
  for (const reading of readings) {
    await pause();
    for (const piece of left(reading, edits.get(reading.index) ?? [], injection))
      pieces.push(piece);
  }
  const passages = function* (seams: readonly Seam[]): Steps<readonly Passage[]> {
    const found: (readonly Passage[])[] = [];
    for (const seam of seams) found.push(yield* asked(seam, injection));
    return found.flat();
  };
  const byRules = detectByRules(await inTurns(passages(seamsOf(pieces)), pace));
  const refused = flaggedBy(settled(byRules, model), injection, "annotate", "strip", "deny");
  if (refused !== undefined || model === undefined) return { refused, cause: undefined };
  const { judged, cause } = await detect(await inTurns(passages(meetingsOf(pieces)), pace), model);
  return { refused: flaggedBy(judged, injection, "annotate", "strip", "deny"), cause };
}

/** What the policy changes in a text: what is flagged is taken out or framed. */
async function redactionsOf(
  { said, index, judged }: Reading,
  { injection, model, pace }: Means,
  effort: "sentences" | "all",
): Promise<readonly Redaction[]> {
  const { text, provenance } = said;
  const whole = { start: 0, end: text.length };
  if (flaggedBy(judged, injection, "strip") !== undefined) {
    const goes = (passage: Passage): boolean =>
      ["annotate", "strip"].includes(actionFor(passage.provenance, injection));
    const read = (rest: Seam): Promise<readonly Passage[]> => inTurns(asked(rest, injection), pace);
    const spans =
      effort === "all"
        ? [whole]
        : await spansToStrip({ text, provenance }, judged, { model, read, goes });
    return spans.map((span) => ({ segment: index, span, replacement: REMOVED }));
  }
  const marked = judged.filter((one) => flaggedBy([one], injection, "annotate") !== undefined);
  // Data in a user's text is framed by itself; what is hidden or has no bounds, with the whole text.
  const contexts = marked.filter(({ passage }) => passage.provenance === "document");
  const frames =
    provenance === "user" && contexts.length === marked.length
      ? contexts.map(({ passage: { view } }) => view.toSource({ start: 0, end: view.text.length }))
      : [whole];
  return frames.flatMap((frame) =>
    annotations(text, frame).map((insertion) => ({ segment: index, ...insertion })),
  );
}

/** What happens to what is flagged and not refused. */
async function enforce(readings: readonly Reading[], means: Means): Promise<Verdict> {
  const redactions: Redaction[] = [];
  const pause = pauses(means.pace);
  let edited = 0;
  for (const reading of readings) {
    await pause();
    const cause = flaggedBy(reading.judged, means.injection, "annotate", "strip");
    if (cause === undefined) continue;
    if (reading.said.signed) return denied(cause.rule);
    edited += 1;
    const effort = edited > PRECISE ? "all" : "sentences";
    for (const redaction of await redactionsOf(reading, means, effort)) redactions.push(redaction);
  }
  return redactions.length === 0
    ? ALLOW
    : { kind: "mutate", reason: "injection_detected", redactions, stripTools: [] };
}

const all = (readings: readonly Reading[]): readonly Judged[] =>
  readings.flatMap(({ judged }) => judged);
const findingsIn = (readings: readonly Reading[]): readonly Finding[] =>
  all(readings).flatMap(({ findings }) => findings);

/** @param scorer the learned detector; without one the rules decide alone */
export function injectionJudge(
  injection: Injection,
  scorer: Scorer | undefined,
): (said: readonly Said[], context: JudgeContext) => Promise<RequestJudgement> {
  return async (said, context) => {
    const levels = scorer?.thresholds[injection.sensitivity];
    const model = scorer && levels && { scorer, levels, options: context };
    const means: Means = { injection, model, pace: context };
    const pause = pauses(context);
    const byRules = await inTurns(readByRules(said, injection), context);
    await pause();
    const early = flaggedBy(settled(all(byRules), model), injection, "deny");
    if (early !== undefined) return { verdict: denied(early.rule), findings: findingsIn(byRules) };
    const { readings, cause } =
      model === undefined
        ? { readings: byRules, cause: undefined }
        : await judgeAgain(byRules, model, context);
    await pause();
    const findings = findingsIn(readings);
    const refused = flaggedBy(all(readings), injection, "deny");
    if (refused !== undefined) return judgement(denied(refused.rule), findings, cause);
    const verdict = await enforce(readings, means);
    if (verdict.kind === "deny") return judgement(verdict, findings, cause);
    const seams = await judgeSeams(readings, verdict, means);
    if (seams.refused !== undefined) {
      return judgement(denied(seams.refused.rule), [...findings, seams.refused], cause);
    }
    return judgement(verdict, findings, cause ?? seams.cause);
  };
}

const judgement = (
  verdict: Verdict,
  findings: readonly Finding[],
  cause: Cause | undefined,
): RequestJudgement => ({ verdict, findings, ...(cause === undefined ? {} : { cause }) });
