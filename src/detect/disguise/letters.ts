/**
 * Single letters apart: `i g n o r e`, `i_g_n_o_r_e a_l_l`, `i|g|n|o|r|e`. What stands most often between them parts
 * letters, everything else parts words. Lists of variables, scales, chords and initials are of the same form: what is
 * read must have vowels, enough different letters, and not the alphabet's order.
 */
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { isDigit } from "../ascii.ts";
import { pattern } from "../re2.ts";
import { type Decoder, PIECES } from "./decoder.ts";
import { hasForm, hasWords, parted } from "./words.ts";

/**
 * Latin, Greek and Cyrillic, as ranges: classes of Unicode's letters would cost a hundred times as much. Between them
 * stand the signs of multiplication and division.
 */
const LATIN = "A-Za-z\\x{c0}-\\x{d6}\\x{d8}-\\x{f6}";
const LETTER = `[${LATIN}\\x{f8}-\\x{52f}]`;
const NO_LETTER = `[^0-9${LATIN}\\x{f8}-\\x{1fff}]`;
const GAP = `${NO_LETTER}{1,4}`;
/** The letter at its end may be the first of a word: that is seen by what follows. */
const RUN = `(?:^|${NO_LETTER})(?:${LETTER}${GAP}){7,}${LETTER}`;
const runs = pattern(RUN);
const LEAST = 8;
/** Signs that part nothing but letters in any writing: there even one long word is read. */
const PLAIN_SIGNS: ReadonlySet<string> = new Set([" ", ".", "_", "-", "*", ". ", " - ", "- "]);

/** Letters of other alphabets part those that are read, as signs do. */
const isLetter = (unit: string): boolean =>
  unit < "\u0530" && unit.toLowerCase() !== unit.toUpperCase();
const VOWELS: ReadonlySet<string> = new Set("aeiouyаеёиоуыэюяіїєαεηιουω");
/** Of letters: how many are vowels, how many follow their neighbour in the alphabet, how many there are of them. */
const WRITTEN = { vowels: 0.2, most: 0.65, successors: 0.34, different: 8 } as const;

function looksWritten(letters: string): boolean {
  const lower = letters.toLowerCase();
  let vowels = 0;
  let successors = 0;
  for (let at = 0; at < lower.length; at += 1) {
    if (VOWELS.has(lower.charAt(at))) vowels += 1;
    if (lower.charCodeAt(at) === lower.charCodeAt(at - 1) + 1) successors += 1;
  }
  const { length } = lower;
  return (
    new Set(lower).size >= WRITTEN.different &&
    vowels >= length * WRITTEN.vowels &&
    vowels <= length * WRITTEN.most &&
    successors <= length * WRITTEN.successors
  );
}

type Run = { readonly letters: readonly string[]; readonly gaps: readonly string[] };

/** What stands between two letters is the gap before the second; the first has none. */
function runOf(piece: string): Run {
  const letters: string[] = [];
  const gaps: string[] = [];
  let gap = "";
  for (let at = 0; at < piece.length; at += 1) {
    const unit = piece.charAt(at);
    if (!isLetter(unit)) gap += unit;
    else {
      letters.push(unit);
      gaps.push(gap);
      gap = "";
    }
  }
  return { letters, gaps };
}

/** The commonest of the gaps: it parts letters. */
function signOf(gaps: readonly string[]): string {
  const counts = new Map<string, number>();
  for (const gap of gaps) counts.set(gap, (counts.get(gap) ?? 0) + 1);
  return [...counts].reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0] as const)[0];
}

function* read({ letters, gaps }: Run): Steps<string | undefined> {
  if (letters.length < LEAST) return undefined;
  const sign = signOf(gaps.slice(1));
  const joined = letters
    .map((letter, at) => (at > 0 && gaps[at] !== sign ? ` ${letter}` : letter))
    .join("");
  const words: string[] = [];
  for (const word of joined.split(" ")) {
    words.push(word.length < LEAST ? word : ((yield* parted(word)) ?? word));
  }
  const text = words.join(" ");
  if (hasWords(text)) return text;
  if (!looksWritten(letters.join(""))) return undefined;
  if (words.length === 1) return PLAIN_SIGNS.has(sign) ? text : undefined;
  return hasForm(text) && (words.length > 2 || PLAIN_SIGNS.has(sign)) ? text : undefined;
}

/** Of a longer run, parts are read one by one; what a border cuts is whole in the next. */
const LONG = 16_384;
const OVERLAP = 1_024;

function* partsOf({ start, end }: Span): Iterable<Span> {
  for (let at = start; ; at += LONG - OVERLAP) {
    yield { start: at, end: Math.min(at + LONG, end) };
    if (at + LONG >= end) return;
  }
}

export const apart: Decoder = {
  trigger: `(?:^|${NO_LETTER})(?:${LETTER}${GAP}){4}`,
  reads: "folded",
  yields: "encoded",
  *decode(subject) {
    for (const { start, end } of runs.each(subject, PIECES)) {
      const { text } = subject;
      const isCut = isLetter(text.charAt(end)) || isDigit(text.charCodeAt(end));
      const source = {
        start: isLetter(text.charAt(start)) ? start : start + 1,
        end: isCut ? end - 1 : end,
      };
      for (const part of partsOf(source)) {
        yield;
        const said = yield* read(runOf(text.slice(part.start, part.end)));
        if (said !== undefined) yield { text: said, source: part };
      }
    }
  },
};
