/**
 * Keys with a recognisable prefix: the shape that most providers use. A key is a maximal run of its alphabet
 * behind its prefix, not preceded by a letter or digit; a run longer than the provider's longest is no key.
 */
import { ruleId } from "../../core/brand.ts";
import { type Alphabet, isAlnum } from "../ascii.ts";
import { type Detector, NONE, OPEN, type Read, scanAt } from "../detector.ts";
import { isPlaceholder } from "./placeholder.ts";

export type TokenShape = {
  readonly id: string;
  /** ASCII literals; where one begins with another, the longer one stands first. */
  readonly prefixes: readonly [string, ...string[]];
  readonly alphabet: Alphabet;
  /** Units after the prefix. */
  readonly min: number;
  readonly max: number;
  /** Check digits and inner structure; `body` has no prefix. */
  readonly genuine?: (body: string) => boolean;
};

/** Units of the alphabet that may decorate a key: `_key_`, `__key__`. */
const DECORATION = 2;

/**
 * A key begins behind something that cannot be part of it. A run of its alphabet has few beginnings for that
 * reason, so a text made of prefixes is read in linear time.
 */
function begins(text: string, start: number, inRun: Alphabet): boolean {
  let before = start - 1;
  for (let i = 0; i < DECORATION; i += 1) {
    const unit = text.charCodeAt(before);
    if (isAlnum(unit)) return false;
    if (!inRun(unit)) return true;
    before -= 1;
  }
  return !inRun(text.charCodeAt(before));
}

/** Finds the end of runs. Starts are asked in ascending order, so a run is walked once however many it holds. */
function runs(inRun: Alphabet): (text: string, start: number) => number {
  let end = 0;
  return (text, start) => {
    if (start > end) end = start;
    while (inRun(text.charCodeAt(end))) end += 1;
    return end;
  };
}

/** Reads one text; made anew for each. */
function reader(shape: TokenShape): Read {
  const runEnd = runs(shape.alphabet);
  const readBody = (text: string, start: number): number => {
    const at = runEnd(text, start);
    // One more than the longest: a full stop behind the key may be in its alphabet.
    if (at - start > shape.max + 1) return NONE;
    if (at === text.length) return OPEN;
    if (isAlnum(text.charCodeAt(at))) return NONE;
    const end = text[at - 1] === "." ? at - 1 : at;
    if (end - start < shape.min || end - start > shape.max) return NONE;
    const body = text.slice(start, end);
    return (shape.genuine?.(body) ?? true) && !isPlaceholder(body) ? end : NONE;
  };
  return (text, start) => {
    const prefix = shape.prefixes.find((known) => text.startsWith(known, start));
    if (prefix !== undefined) return readBody(text, start + prefix.length);
    return shape.prefixes.some((known) => known.startsWith(text.slice(start))) ? OPEN : NONE;
  };
}

/** Where a prefix stands, and where the text ends within one. */
function starts(text: string, from: number, { prefixes, alphabet }: TokenShape): number[] {
  const found: number[] = [];
  for (const prefix of prefixes) {
    for (let at = text.indexOf(prefix, from); at >= 0; at = text.indexOf(prefix, at + 1)) {
      if (begins(text, at, alphabet)) found.push(at);
    }
    for (let cut = Math.max(from, text.length - prefix.length + 1); cut < text.length; cut += 1) {
      if (prefix.startsWith(text.slice(cut)) && begins(text, cut, alphabet)) found.push(cut);
    }
  }
  return found.sort((a, b) => a - b);
}

const escapeRe2 = (literal: string): string => literal.replace(/[^0-9A-Za-z_]/g, "\\$&");

export const token = (shape: TokenShape): Detector => ({
  rule: ruleId(`secret.${shape.id}`),
  kind: "secret",
  trigger: shape.prefixes.map(escapeRe2).join("|"),
  prefixes: shape.prefixes,
  scan: (text, from) => scanAt(text, starts(text, from, shape), reader(shape)),
});
