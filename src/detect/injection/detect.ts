/** Instructions aimed at the model in one text: every passage judged by the rules and, where there is one, the model. */
import type { Cause } from "../../core/cause.ts";
import type { Finding } from "../../core/finding.ts";
import { readingsOf } from "../normalise.ts";
import { ask, findingsOf, type Model } from "./fusion.ts";
import type { Passage } from "./passages.ts";

export type Judged = { readonly passage: Passage; readonly findings: readonly Finding[] };
export type Detection = { readonly judged: readonly Judged[]; readonly cause: Cause | undefined };

/** @param passages of any number of texts, what matters most first */
export async function detect(
  passages: readonly Passage[],
  model: Model | undefined,
): Promise<Detection> {
  const { scores, cause } =
    model === undefined ? { scores: [], cause: undefined } : await ask(passages, model);
  const judged = passages.map((passage, index) => ({
    passage,
    findings: findingsOf(passage, scores[index], model?.levels),
  }));
  return { judged, cause };
}

/** The same by the rules alone: at most one finding for each passage, flagged or not. */
export const detectByRules = (passages: readonly Passage[]): readonly Judged[] =>
  passages.map((passage) => ({ passage, findings: findingsOf(passage, undefined, undefined) }));

/** Readings that are looked at. */
export const countReadings = (text: string): number => 1 + readingsOf(text).hidden.length;
