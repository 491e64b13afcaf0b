/**
 * The secret half of an AWS access key: 40 characters of base64 without prefix or check digits
 * (docs.aws.amazon.com/IAM, "Manage access keys"). Nothing but its name tells it, so it is a key only where one
 * is assigned: `aws_secret_access_key = ...`, `"SecretAccessKey": "..."`.
 */

import { ruleId } from "../../core/brand.ts";
import { CONTEXT_UNITS } from "../../core/control.ts";
import { ALNUM, alphabet, DIGITS, LOWER, UPPER } from "../ascii.ts";
import { type Detector, NONE, OPEN, scanAt } from "../detector.ts";
import { pattern, Subject } from "../re2.ts";
import { isPlaceholder } from "./placeholder.ts";

const LENGTH = 40;
const inKey = alphabet(`${ALNUM}/+`);
const ASSIGNED =
  '(?i)secret[_ -]?(?:access[_ -]?)?key(?:["\'`]|\\\\")?[ \\t]{0,3}(?:=>|:=|[:=]|is)[ \\t]{0,3}(?:["\'`]|\\\\")?';
const assigned = pattern(ASSIGNED);

function read(text: string, start: number): number {
  let at = start;
  while (inKey(text.charCodeAt(at))) {
    at += 1;
    if (at - start > LENGTH) return NONE;
  }
  if (at === text.length) return OPEN;
  const body = text.slice(start, at);
  if (body.length !== LENGTH || isPlaceholder(body)) return NONE;
  const units = [...body].map((character) => character.charCodeAt(0));
  return [UPPER, LOWER, DIGITS].every((kind) => units.some(alphabet(kind))) ? at : NONE;
}

/** Behind each assignment. */
function starts(text: string, from: number): number[] {
  const base = Math.max(0, from - CONTEXT_UNITS);
  const near = text.slice(base);
  // Nearly every text ends here, at a tenth of the pattern's cost. Without the s, which folds to another letter too.
  if (!near.toLowerCase().includes("ecret")) return [];
  return assigned
    .spans(new Subject(near), Number.POSITIVE_INFINITY)
    .map(({ end }) => end + base)
    .filter((start) => start >= from);
}

export const awsSecretKey: Detector = {
  rule: ruleId("secret.aws_secret_key"),
  kind: "secret",
  trigger: ASSIGNED,
  scan: (text, from) => scanAt(text, starts(text, from), read),
};
