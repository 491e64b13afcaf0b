/**
 * Whether a text that was put together out of codes or single letters says anything. What chance makes of tables,
 * hashes and code is told from writing by its form, in any alphabet that parts words; where words run together, by a
 * small list of the English words that orders are made of, which also parts them again.
 */
import type { Steps } from "../../core/steps.ts";
import { isLetter } from "../ascii.ts";

const WORDS: ReadonlySet<string> = new Set(
  `a about above access account act add address admin after again all allow along also always am an and another answer any
  anyone are as ask assistant at away back banana base be because been before begin behave below between bypass by call can
  cannot change chat check clear code command commands confidential configuration contact contents continue copy could data
  database date delete details developer did direct directly disable discard disclose disregard display do document does
  done down each earlier email every everything execute exact exactly expose false fetch file files filter find first follow
  following for forget format forward free from full get give given go guidelines had has have he hello help her here hidden
  his how i if ignore immediately in inbox include including information initial input inside instead instruct instruction
  instructions into is it its key know last leak let like limits link list load longer mail make may me mention message
  messages mode model more must my name never new next no nobody none not nothing now of on one only open or order orders
  other our out output over override password passwords pay please policies policy post previous print prior private program
  prompt prompts protocol provide public put question read real refuse remember remove repeat replace reply report request
  requests respond response restrict restrictions result return reveal role rule rules run safe safety say script search
  second secret secrets see send sensitive server set she should show so some speak start state step stop store such summary
  system take tell text than that the their them then there these they thing this those through time to token tokens told
  tool tools training transfer true translate trust type under unless unrestricted until up update upload upon us use user
  users very visit want was we were what when where which while who whole will with within without word words work would
  write wrote yes you your yours yourself`
    .replaceAll("\n", " ")
    .split(" "),
);
const LONGEST = 14;
/** Of shorter words chance makes too many. */
const TELLING = 3;

/** Different words of the list in a text that parts its words, short ones not counted; no more than `enough`. */
function known(text: string, enough: number): number {
  const found = new Set<string>();
  let start = 0;
  for (let at = 0; at <= text.length && found.size < enough; at += 1) {
    if (at < text.length && isLetter(text.charCodeAt(at))) continue;
    const length = at - start;
    if (length >= TELLING && length <= LONGEST) {
      const word = text.slice(start, at).toLowerCase();
      if (WORDS.has(word)) found.add(word);
    }
    start = at + 1;
  }
  return found.size;
}

/** Two words of the list, or more. */
export const hasWords = (text: string): boolean => known(text, 2) === 2;

/** What a word of the list costs, and letters of none: few long words are the best reading. */
const WORD = 2;
const STRAYS = 4;
const STRAY = 1;
/** Letters that are looked at in one step: each costs up to a microsecond. */
const STEP = 1_024;
/** Of the letters, so many must be in words. */
const COVERED = 0.55;

/**
 * The words of letters that run together, or undefined where they are hardly any of the list. Letters of no word stand
 * together as one.
 */
export function* parted(letters: string): Steps<string | undefined> {
  const lower = letters.toLowerCase();
  // The cheapest way to read the first `at` letters, the same ending in letters of no word, and the length of the last
  // word; 0: such letters.
  const costs = new Float64Array(lower.length + 1);
  const strays = new Float64Array(lower.length + 1).fill(STRAYS);
  const lengths = new Uint8Array(lower.length + 1);
  for (let at = 1; at <= lower.length; at += 1) {
    const stray = Math.min((costs[at - 1] ?? 0) + STRAYS, strays[at - 1] ?? 0) + STRAY;
    let best = stray;
    for (let length = Math.min(LONGEST, at); length > 0; length -= 1) {
      const cost = (costs[at - length] ?? 0) + WORD;
      if (cost >= best || !WORDS.has(lower.slice(at - length, at))) continue;
      best = cost;
      lengths[at] = length;
    }
    strays[at] = stray;
    costs[at] = best;
    if (at % STEP === 0) yield;
  }
  return joined(letters, lengths);
}

/** Read from the end: the last word is known, and what stands before it. */
function joined(letters: string, lengths: Uint8Array): string | undefined {
  const words: string[] = [];
  let covered = 0;
  for (let end = letters.length; end > 0; ) {
    const length = lengths[end] ?? 0;
    let start = end - Math.max(1, length);
    if (length === 0) while (start > 0 && lengths[start] === 0) start -= 1;
    else if (length >= TELLING) covered += length;
    words.push(letters.slice(start, end));
    end = start;
  }
  const text = words.reverse().join(" ");
  return covered >= letters.length * COVERED && hasWords(text) ? text : undefined;
}

const isLower = (unit: number): boolean => unit >= 0x61 && unit <= 0x7a;
const isUpper = (unit: number): boolean => unit >= 0x41 && unit <= 0x5a;
const FORM = {
  minimum: 10,
  /** Letters and spaces among all. */
  letters: 0.8,
  /** Units for each word, its space included: less are columns, more is no writing. */
  shortest: 3,
  longest: 14,
  /** Capitals behind small letters: one in so many. */
  humps: 20,
} as const;

/** Letters in words of a usual length, which do not change their case inside. */
export function hasForm(text: string): boolean {
  let letters = 0;
  let spaces = 0;
  let humps = 0;
  let before = 0;
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at);
    if (unit === 0x20 || unit === 0x0a) spaces += 1;
    else if (isLetter(unit) || unit >= 0xc0) letters += 1;
    if (isUpper(unit) && isLower(before)) humps += 1;
    before = unit;
  }
  const { length } = text;
  return (
    length >= FORM.minimum &&
    spaces > 0 &&
    letters + spaces >= length * FORM.letters &&
    length >= (spaces + 1) * FORM.shortest &&
    length <= (spaces + 1) * FORM.longest &&
    humps * FORM.humps <= length
  );
}

/** A text as it reads, its words parted where they run together; undefined where it says nothing. */
export function* written(text: string): Steps<string | undefined> {
  if (hasForm(text) || hasWords(text)) return text;
  yield;
  const run = text.trim();
  for (let at = 0; at < run.length; at += 1) if (!isLetter(run.charCodeAt(at))) return undefined;
  return yield* parted(run);
}
