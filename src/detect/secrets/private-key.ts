/**
 * Private keys in PEM (RFC 7468) and OpenPGP armour (RFC 9580 section 6.2), also with line ends escaped as in
 * JSON. A key that is cut off before its last line is a key as well: half of one is too much.
 */
import { ruleId } from "../../core/brand.ts";
import { ALNUM, alphabet, DIGITS, UPPER } from "../ascii.ts";
import { type Detector, NONE, OPEN, scanAt } from "../detector.ts";

const BEGIN = "-----BEGIN ";
const END = "-----END ";
const DASHES = "-----";
const LABEL_LIMIT = 40;
/** RSA with 16,384 bits takes 12,700 characters; what is longer ends here. */
const KEY_LIMIT = 16_384;
/** A run of base64 that makes a key out of a mere header in a sentence; how far it may be from the header. */
const RUN_MINIMUM = 32;
const RUN_WITHIN = 400;

const inBase64 = alphabet(`${ALNUM}+/=`);
const inLabel = alphabet(`${UPPER}${DIGITS} `);
/** Base64, white space, escaped line ends, and the punctuation of encapsulated headers ("Proc-Type: 4,..."). */
const inBody = alphabet(`${ALNUM}+/= \t\r\n\\:,.()-`);

/** `wanted` stands at `at`, or the text ends within it. */
function expect(text: string, at: number, wanted: string): number {
  if (text.startsWith(wanted, at)) return at + wanted.length;
  const cut = text.length - at < wanted.length;
  return cut && wanted.startsWith(text.slice(at)) ? OPEN : NONE;
}

/** Reads a label and its closing dashes. */
function readLabel(text: string, start: number): number {
  let at = start;
  while (inLabel(text.charCodeAt(at)) && at - start < LABEL_LIMIT) at += 1;
  return at === text.length ? OPEN : expect(text, at, DASHES);
}

function readBody(text: string, start: number): number {
  let at = start;
  let run = 0;
  let proved = false;
  while (inBody(text.charCodeAt(at))) {
    if (text[at] === "-") {
      const last = expect(text, at, END);
      if (last === OPEN) return OPEN;
      if (last !== NONE) {
        const end = readLabel(text, last);
        if (!proved) return NONE;
        return end === NONE ? last : end;
      }
      if (text.startsWith(DASHES, at)) break; // another header: this key has no last line
    }
    run = inBase64(text.charCodeAt(at)) ? run + 1 : 0;
    proved ||= run >= RUN_MINIMUM;
    at += 1;
    if (!proved && at - start > RUN_WITHIN) return NONE;
    if (at - start > KEY_LIMIT) return at;
  }
  if (at === text.length) return OPEN;
  return proved ? at : NONE;
}

function read(text: string, start: number): number {
  const label = expect(text, start, BEGIN);
  if (label < 0) return label;
  const body = readLabel(text, label);
  if (body < 0) return body;
  if (!text.slice(label, body).includes("PRIVATE KEY")) return NONE;
  return readBody(text, body);
}

/** Every dash that may open a header: a longer rule of dashes ends with the five that do. */
function* starts(text: string, from: number): Iterable<number> {
  for (let at = text.indexOf("-", from); at >= 0; at = text.indexOf("-", at + 1)) {
    if (expect(text, at, BEGIN) !== NONE) yield at;
  }
}

export const privateKey: Detector = {
  rule: ruleId("secret.private_key"),
  kind: "secret",
  trigger: "-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY",
  prefixes: [BEGIN],
  scan: (text, from) => scanAt(text, starts(text, from), read),
};
