/**
 * Payment card numbers (ISO/IEC 7812): 14 to 19 digits, unbroken or in the groups that are printed on cards,
 * with an issuer's prefix at that issuer's length and a Luhn check digit.
 */
import { ruleId } from "../../core/brand.ts";
import { isAlnum, isDigit } from "../ascii.ts";
import { type Detector, NONE, OPEN, scanAt } from "../detector.ts";

/** Issuer prefixes (first and last of a range, same number of digits) and the lengths they use. */
const ISSUERS = [
  { name: "visa", from: "4", to: "4", lengths: [16, 19] },
  { name: "mastercard", from: "51", to: "55", lengths: [16] },
  { name: "mastercard", from: "2221", to: "2720", lengths: [16] },
  { name: "amex", from: "34", to: "34", lengths: [15] },
  { name: "amex", from: "37", to: "37", lengths: [15] },
  { name: "discover", from: "6011", to: "6011", lengths: [16, 19] },
  { name: "discover", from: "644", to: "659", lengths: [16, 19] },
  { name: "diners", from: "300", to: "305", lengths: [14] },
  { name: "diners", from: "36", to: "36", lengths: [14] },
  { name: "diners", from: "38", to: "39", lengths: [14, 16] },
  { name: "jcb", from: "3528", to: "3589", lengths: [16] },
  { name: "unionpay", from: "62", to: "62", lengths: [16, 17, 18, 19] },
  { name: "maestro", from: "5018", to: "5018", lengths: [16] },
  { name: "maestro", from: "6304", to: "6304", lengths: [16, 18, 19] },
  { name: "maestro", from: "6759", to: "6763", lengths: [16, 18, 19] },
] as const;

const GROUPINGS = [
  [4, 4, 4, 4],
  [4, 6, 5],
  [4, 6, 4],
] as const;

/** Space, no-break spaces, hyphen, no-break hyphen, dash, dot: one of them, the same between all groups. */
const SEPARATORS = " \u00a0\u202f-\u2011\u2013.";

function issued(digits: string): boolean {
  return ISSUERS.some(({ from, to, lengths }) => {
    const prefix = digits.slice(0, from.length);
    return prefix >= from && prefix <= to && lengths.some((length) => length === digits.length);
  });
}

function luhn(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 48;
    const doubled = i % 2 === 1 ? digit * 2 : digit;
    sum += doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}

const verdict = (digits: string, end: number): number =>
  issued(digits) && luhn(digits) ? end : NONE;

function readUnbroken(text: string, start: number): number {
  let end = start;
  while (isDigit(text.charCodeAt(end))) {
    end += 1;
    if (end - start > 19) return NONE;
  }
  if (end === text.length) return OPEN;
  return isAlnum(text.charCodeAt(end)) ? NONE : verdict(text.slice(start, end), end);
}

function readGroups(text: string, start: number, sizes: readonly number[]): number {
  const separator = text.charAt(start + 4);
  let digits = "";
  let at = start;
  for (const size of sizes) {
    if (at > start) {
      if (at === text.length) return OPEN;
      if (text.charAt(at) !== separator || !SEPARATORS.includes(separator)) return NONE;
      at += 1;
    }
    for (const end = at + size; at < end; at += 1) {
      if (at === text.length) return OPEN;
      if (!isDigit(text.charCodeAt(at))) return NONE;
    }
    digits += text.slice(at - size, at);
  }
  if (at === text.length) return OPEN;
  // One more dashed group: an identifier of another kind.
  if (isAlnum(text.charCodeAt(at)) || (separator === "-" && text[at] === "-")) return NONE;
  return verdict(digits, at);
}

function read(text: string, start: number): number {
  let answer = readUnbroken(text, start);
  for (const sizes of GROUPINGS) {
    if (answer !== NONE) return answer;
    answer = readGroups(text, start, sizes);
  }
  return answer;
}

/** A digit from 2 to 6 that begins a group: not inside a word, a decimal fraction or a dashed identifier. */
function* starts(text: string, from: number): Iterable<number> {
  for (let i = from; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    if (unit < 0x32 || unit > 0x36) continue;
    const before = text.charCodeAt(i - 1);
    if (isAlnum(before)) continue;
    const joined = before === 0x2d || before === 0x2e || before === 0x2c; // - . ,
    if (joined && isDigit(text.charCodeAt(i - 2))) continue;
    yield i;
  }
}

export const creditCard: Detector = {
  rule: ruleId("pii.credit_card"),
  kind: "pii",
  trigger: "[2-6][0-9]{3}[^0-9A-Za-z]?[0-9]{4}",
  scan: (text, from) => scanAt(text, starts(text, from), read),
};
