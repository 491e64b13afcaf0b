/**
 * US social security numbers: area, group and serial as the Social Security Administration assigns them
 * (area not 000, 666 or 900 and above; group not 00; serial not 0000). There is no check digit, so a word that
 * says what it is must stand within 40 characters to the left.
 */
import { ruleId } from "../../core/brand.ts";
import { isAlnum, isDigit } from "../ascii.ts";
import { type Detector, NONE, OPEN, scanAt } from "../detector.ts";
import { pattern, Subject } from "../re2.ts";

const CONTEXT = 40;
const SAYS_SO = "(?i)\\bssns?\\b|social[ _-]?security|\\bsoc[.]? ?sec\\b";
const saysSo = pattern(SAYS_SO);
const SIZES = [3, 2, 4] as const;
/** Printed in advertisements once and never anybody's. */
const NEVER_ISSUED: ReadonlySet<string> = new Set(["078051120", "219099999"]);

function assigned(digits: string): boolean {
  const area = digits.slice(0, 3);
  return (
    area !== "000" &&
    area !== "666" &&
    area < "900" &&
    digits.slice(3, 5) !== "00" &&
    digits.slice(5) !== "0000" &&
    !NEVER_ISSUED.has(digits)
  );
}

/** The nine digits, with hyphens, spaces or nothing between the parts. */
function readDigits(text: string, start: number): number {
  const third = text[start + 3];
  const separator = third === "-" || third === " " ? third : "";
  let digits = "";
  let at = start;
  for (const size of SIZES) {
    if (at > start && separator !== "") {
      if (at === text.length) return OPEN;
      if (text[at] !== separator) return NONE;
      at += 1;
    }
    for (const end = at + size; at < end; at += 1) {
      if (at === text.length) return OPEN;
      if (!isDigit(text.charCodeAt(at))) return NONE;
    }
    digits += text.slice(at - size, at);
  }
  if (at === text.length) return OPEN;
  return !isAlnum(text.charCodeAt(at)) && assigned(digits) ? at : NONE;
}

function read(text: string, start: number): number {
  const end = readDigits(text, start);
  if (end === NONE) return NONE;
  return saysSo.test(new Subject(text.slice(Math.max(0, start - CONTEXT), start))) ? end : NONE;
}

function* starts(text: string, from: number): Iterable<number> {
  for (let i = from; i < text.length; i += 1) {
    const before = text.charCodeAt(i - 1);
    if (isDigit(text.charCodeAt(i)) && !isAlnum(before) && before !== 0x2d && before !== 0x2e) {
      yield i;
    }
  }
}

export const usSsn: Detector = {
  rule: ruleId("pii.us_ssn"),
  kind: "pii",
  trigger: SAYS_SO,
  scan: (text, from) => scanAt(text, starts(text, from), read),
};
