/**
 * International bank account numbers (ISO 13616): country, two check digits, account number of the country's
 * length; ISO 7064 MOD 97-10 over the whole. Written in one piece or in groups of four.
 */
import { ruleId } from "../../core/brand.ts";
import { isAlnum, isDigit, isLetter } from "../ascii.ts";
import { type Detector, NONE, OPEN, scanAt } from "../detector.ts";

/** Country and total length, from the registry that SWIFT keeps for ISO 13616. */
const LENGTHS: ReadonlyMap<string, number> = new Map(
  (
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 " +
    "EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 " +
    "KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 " +
    "PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 " +
    "UA29 VA22 VG24 XK20 YE30"
  )
    .split(" ")
    .map((row) => [row.slice(0, 2), Number(row.slice(2))] as const),
);
const COUNTRIES = [...LENGTHS.keys()];

/** Digits stay, letters become 10 to 35, the first four characters go to the end. */
function checks(iban: string): boolean {
  let rest = 0;
  for (const character of iban.slice(4) + iban.slice(0, 4)) {
    const value = Number.parseInt(character, 36);
    rest = (rest * (value > 9 ? 100 : 10) + value) % 97;
  }
  return rest === 1;
}

function read(text: string, start: number): number {
  const country = text.slice(start, start + 2).toUpperCase();
  const length = LENGTHS.get(country);
  if (length === undefined) {
    const cut = start + country.length === text.length;
    return cut && COUNTRIES.some((known) => known.startsWith(country)) ? OPEN : NONE;
  }
  const fifth = text[start + 4];
  const separator = fifth === " " || fifth === "\u00a0" || fifth === "-" ? fifth : undefined;
  let iban = country;
  let at = start + 2;
  while (iban.length < length) {
    if (at === text.length) return OPEN;
    if (separator !== undefined && iban.length % 4 === 0) {
      if (text[at] !== separator) return NONE;
      at += 1;
      if (at === text.length) return OPEN;
    }
    const unit = text.charCodeAt(at);
    if (iban.length < 4 ? !isDigit(unit) : !isAlnum(unit)) return NONE;
    iban += text.charAt(at);
    at += 1;
  }
  if (at === text.length) return OPEN;
  return !isAlnum(text.charCodeAt(at)) && checks(iban.toUpperCase()) ? at : NONE;
}

function* starts(text: string, from: number): Iterable<number> {
  for (let i = from; i < text.length; i += 1) {
    if (isLetter(text.charCodeAt(i)) && !isAlnum(text.charCodeAt(i - 1))) yield i;
  }
}

export const iban: Detector = {
  rule: ruleId("pii.iban"),
  kind: "pii",
  trigger: "(?i)[a-z]{2}[0-9]{2}[- \\x{a0}]?[a-z0-9]{4}",
  scan: (text, from) => scanAt(text, starts(text, from), read),
};
