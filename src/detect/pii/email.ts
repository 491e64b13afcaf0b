/**
 * E-mail addresses as they stand in text: a dot-atom of up to 64 characters, `@`, a host name with a top-level
 * domain of letters (RFC 5321 4.5.3.1 for the lengths). Quoted local parts and address literals are left out.
 */
import { ruleId } from "../../core/brand.ts";
import { ALNUM, alphabet, isAlnum, isLetter } from "../ascii.ts";
import { type Detector, NONE, OPEN, scanAt } from "../detector.ts";

const LOCAL_LIMIT = 64;
const DOMAIN_LIMIT = 253;
const AT = 0x40;
const inWord = alphabet(`${ALNUM}_`);
const inLocal = alphabet(`${ALNUM}_.%+-`);
const inDomain = alphabet(`${ALNUM}.-`);

/** End of the longest host name that begins at `start`: labels, then a top-level domain. */
function hostEnd(text: string, start: number, runEnd: number): number {
  let end = NONE;
  let at = start;
  for (let labels = 1; at < runEnd && isAlnum(text.charCodeAt(at)); labels += 1) {
    const labelStart = at;
    while (isLetter(text.charCodeAt(at))) at += 1;
    // A sentence may go on after the domain with a dash: "a@b.org-thanks" ends at "org".
    const topLevel = at - labelStart >= 2 && !isAlnum(text.charCodeAt(at));
    if (labels >= 2 && topLevel) end = at;
    while (at < runEnd && text[at] !== ".") at += 1;
    if (at - labelStart > 63) break;
    at += 1;
  }
  return end;
}

function read(text: string, start: number): number {
  let at = start;
  while (inLocal(text.charCodeAt(at))) {
    at += 1;
    if (at - start > LOCAL_LIMIT) return NONE;
  }
  if (at === text.length) return OPEN;
  if (text.charCodeAt(at) !== AT || !inWord(text.charCodeAt(at - 1))) return NONE;
  const domain = at + 1;
  at = domain;
  while (inDomain(text.charCodeAt(at))) {
    at += 1;
    if (at - domain > DOMAIN_LIMIT) return NONE;
  }
  return at === text.length ? OPEN : hostEnd(text, domain, at);
}

/** Where a local part may begin: a word character after anything else. */
const begins = (text: string, at: number): boolean =>
  inWord(text.charCodeAt(at)) && !inWord(text.charCodeAt(at - 1));

/**
 * The longest local part before each `@`, and before the end of the text where one may follow. Shorter ones
 * before the same `@` lie inside it and share its host name.
 */
function* starts(text: string, from: number): Iterable<number> {
  let next = from;
  for (let sign = text.indexOf("@", from); ; sign = text.indexOf("@", sign + 1)) {
    const stop = sign < 0 ? text.length : sign;
    const earliest = Math.max(next, stop - LOCAL_LIMIT);
    let first = stop;
    for (let i = stop - 1; i >= earliest && inLocal(text.charCodeAt(i)); i -= 1) {
      if (begins(text, i)) first = i;
    }
    if (first < stop) yield first;
    if (sign < 0) return;
    next = sign + 1;
  }
}

export const email: Detector = {
  rule: ruleId("pii.email"),
  kind: "pii",
  trigger: "@[0-9A-Za-z]",
  scan: (text, from) => scanAt(text, starts(text, from), read),
};
