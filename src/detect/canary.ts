/**
 * Canary tokens: random strings that the operator puts into a system prompt, so that their appearance in an
 * output proves a leak. Found as they are, in any case, with separators between the characters, backwards, in
 * base64 (at each of the three alignments), hexadecimal and rot13.
 */
import { ruleId } from "../core/brand.ts";
import { type Detector, NONE, OPEN, scanAt } from "./detector.ts";
import { rot13 } from "./rot13.ts";

/** Shorter pieces of base64 occur by chance. */
const BASE64_MINIMUM = 6;
/** Separators in a row that do not end a spaced token. */
const GAP_LIMIT = 2;
const SEPARATORS: ReadonlySet<string> = new Set([
  ..." \t\r\n-_.,:;|/*`'\"\u00a0\u200b\u200c\u200d\u2060\ufeff",
]);

/** One written form. In `folded` ones letters match in either case. */
type Form = { readonly units: string; readonly case: "exact" | "folded" };

/** The characters of base64 that depend on the token alone when `shift` bytes stand before it. */
function base64At(token: string, shift: number): string {
  const bytes = Buffer.concat([Buffer.alloc(shift), Buffer.from(token)]);
  const first = Math.ceil((shift * 4) / 3);
  return bytes.toString("base64").slice(first, Math.floor((bytes.length * 4) / 3));
}

const urlSafe = (base64: string): string => base64.replaceAll("+", "-").replaceAll("/", "_");

function formsOf(token: string): readonly Form[] {
  const base64 = [0, 1, 2]
    .map((shift) => base64At(token, shift))
    .filter((units) => units.length >= BASE64_MINIMUM);
  return [
    ...[token, [...token].reverse().join(""), rot13(token), Buffer.from(token).toString("hex")].map(
      (units): Form => ({ units: units.toLowerCase(), case: "folded" }),
    ),
    ...[...new Set([...base64, ...base64.map(urlSafe)])].map(
      (units): Form => ({ units, case: "exact" }),
    ),
  ];
}

/** Matches a form at `start`, over up to `GAP_LIMIT` separators between two of its units. */
function readForm(text: string, start: number, form: Form): number {
  let at = start;
  for (let i = 0; i < form.units.length; i += 1) {
    const wanted = form.units[i];
    for (let gap = 0; ; gap += 1) {
      if (at === text.length) return OPEN;
      const seen = text.charAt(at);
      at += 1;
      if (seen === wanted || (form.case === "folded" && seen.toLowerCase() === wanted)) break;
      if (i === 0 || gap === GAP_LIMIT || !SEPARATORS.has(seen)) return NONE;
    }
  }
  return at;
}

/** One detector for all canaries: which one leaked is the operator's knowledge, not the record's. */
export function canaryDetector(canaries: readonly string[]): Detector {
  const byFirst = new Map<string, Form[]>();
  for (const form of canaries.flatMap(formsOf)) {
    const first = form.units.charAt(0);
    const keys = form.case === "folded" ? new Set([first, first.toUpperCase()]) : [first];
    for (const key of keys) byFirst.set(key, [...(byFirst.get(key) ?? []), form]);
  }
  const starts = function* (text: string, from: number): Iterable<number> {
    for (let i = from; i < text.length; i += 1) if (byFirst.has(text.charAt(i))) yield i;
  };
  const read = (text: string, start: number): number => {
    const ends = (byFirst.get(text.charAt(start)) ?? []).map((form) => readForm(text, start, form));
    return ends.includes(OPEN) ? OPEN : Math.max(NONE, ...ends);
  };
  return {
    rule: ruleId("leak.canary"),
    kind: "leak.canary",
    trigger: "", // matches everywhere: nothing short tells a spaced or encoded token
    scan: (text, from) => scanAt(text, starts(text, from), read),
  };
}
