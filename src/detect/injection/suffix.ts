/**
 * Suffixes that an optimiser wrote (GCG, DSN): behind or before a plain request stands a run of tokens that no person
 * types, with words glued together by signs, scripts changing inside words, brackets that nothing closes. Code, data
 * and formulas look like it word by word; they close their brackets, and stand on lines of their own. Only short
 * messages are looked at: in long ones something always looks odd.
 */
import type { Span } from "../../core/segment.ts";
import { alphabet, isAlnum, isDigit, isLetter, LOWER, UPPER } from "../ascii.ts";

const TEXT_LIMIT = 700;
const LINE_LIMIT = 3;
const WORDS = 8;
/** Words in a row that are counted together. */
const WINDOW = 12;
/** A request for people stands somewhere: so many plain words in a row. */
const PROSE = 3;
/** From here on a line is flagged: none of 10,218 benign messages of the tuning sets and pools, 36 of 57 suffixes. */
const ENOUGH = 3;

const isOpener = (unit: string): boolean => "(\"'“‘[{<*_`«¿¡#".includes(unit);
const isCloser = (unit: string): boolean => ")\"'”’]}>.,;:!?*_`»…%।。？！、，；：".includes(unit);
const isConnector = alphabet("'.,:/@_-&+%");
const isLower = alphabet(LOWER);
const isUpper = alphabet(UPPER);
const isSign = alphabet("\\](){}<>|*=#;&$");
/** Signs that stand alone between words of an optimiser's suffix, and hardly between a person's. */
const STRAYS: ReadonlySet<string> = new Set(
  "\\ { } [ ] ; | $ #! /* */ ?? ,, ;; << >> := |> != ** ++ ]( .. ##".split(" "),
);
const BRACKETS = ["()", "[]", "{}"] as const;

const SCRIPTS = [
  ["latin", 0xc0, 0x24f],
  ["greek", 0x370, 0x3ff],
  ["cyrillic", 0x400, 0x52f],
  ["armenian", 0x530, 0x58f],
  ["hebrew", 0x590, 0x5ff],
  ["arabic", 0x600, 0x77f],
  ["indic", 0x900, 0xdff],
  ["thai", 0xe00, 0xe7f],
  ["latin", 0x1e00, 0x1eff],
  ["greek", 0x1f00, 0x1fff],
  ["han", 0x3040, 0x9fff],
  ["hangul", 0xac00, 0xd7af],
] as const;
type Script = (typeof SCRIPTS)[number][0];
/** Written without spaces, or with foreign words inside: such a word may mix scripts. */
const MIXABLE: ReadonlySet<Script> = new Set(["han", "hangul", "thai"]);

function scriptOf(unit: number): Script | undefined {
  if (unit < 0x80) return isLetter(unit) ? "latin" : undefined;
  return SCRIPTS.find(([, first, last]) => unit >= first && unit <= last)?.[0];
}

function scriptsOf(text: string): ReadonlySet<Script> {
  const scripts = new Set<Script>();
  for (let at = 0; at < text.length; at += 1) {
    const script = scriptOf(text.charCodeAt(at));
    if (script !== undefined) scripts.add(script);
  }
  return scripts;
}

/** The word without the signs that may stand around any word. */
function coreOf(word: string): string {
  let start = 0;
  let end = word.length;
  while (start < end && isOpener(word.charAt(start))) start += 1;
  while (end > start && isCloser(word.charAt(end - 1))) end -= 1;
  return word.slice(start, end);
}

const every = (text: string, test: (unit: number) => boolean): boolean => {
  for (let at = 0; at < text.length; at += 1) if (!test(text.charCodeAt(at))) return false;
  return true;
};
const some = (text: string, test: (unit: number) => boolean): boolean =>
  !every(text, (unit) => !test(unit));
const isWordUnit = (unit: number): boolean => unit > 0x7f || isLetter(unit);

/** `similarlyNow`: a capital inside a word, between small letters. */
function isGlued(core: string): boolean {
  for (let at = 2; at + 1 < core.length; at += 1) {
    const unit = core.charCodeAt(at);
    const near = core.slice(at - 2, at) + core.charAt(at + 1);
    if (isUpper(unit) && every(near, isLower)) return every(core, isLetter);
  }
  return false;
}

/** 1 for a word that nobody types, 0.5 for one that hardly anybody does, 0 for all others. */
function oddnessOf(word: string): number {
  const scripts = scriptsOf(word);
  if (scripts.size > 1 && [...scripts].every((script) => !MIXABLE.has(script))) return 1;
  if (word.includes("://") || word.includes("@")) return 0;
  if (STRAYS.has(word)) return 0.5;
  const core = coreOf(word);
  if (core === "") return word.length > 1 && new Set(word).size > 1 && some(word, isSign) ? 1 : 0;
  if (every(core, (unit) => unit > 0x7f || isAlnum(unit) || isConnector(unit)))
    return isGlued(core) ? 0.5 : 0;
  if (some(core, isWordUnit)) return 1;
  return core.length > 1 && !some(core, isDigit) ? 0.5 : 0;
}

const isProse = (word: string): boolean => {
  const core = coreOf(word);
  return core !== "" && every(core, isWordUnit) && !isGlued(core);
};

function longestRun(flags: readonly boolean[]): number {
  let run = 0;
  let longest = 0;
  for (const flag of flags) {
    run = flag ? run + 1 : 0;
    longest = Math.max(longest, run);
  }
  return longest;
}

function largestSum(values: readonly number[]): number {
  let sum = 0;
  let largest = 0;
  for (const [at, value] of values.entries()) {
    sum += value - (values[at - WINDOW] ?? 0);
    largest = Math.max(largest, sum);
  }
  return largest;
}

/** `:)`, `:-(`, `<3`: brackets in them open nothing. */
const isSmiley = (word: string): boolean =>
  word.length < 4 && ":;=<".includes(word.charAt(0)) && !STRAYS.has(word);
const isBracket = (word: string): boolean => "{}[]".includes(word);

function isSuffixed(line: string): boolean {
  const words = line.split(" ").filter((word) => word !== "" && !isSmiley(word));
  if (words.length < WORDS || longestRun(words.map(isProse)) < PROSE) return false;
  const text = words.join(" ");
  const odd = largestSum(words.map(oddnessOf));
  const open = BRACKETS.reduce(
    (sum, [opening = "", closing = ""]) =>
      sum + Math.abs(text.split(opening).length - text.split(closing).length),
    0,
  );
  const scripts = scriptsOf(text).size;
  const strays = words.filter((word) => STRAYS.has(word) && !isBracket(word)).length;
  const isPlain = odd < 1 || (open === 0 && scripts < 3 && strays < 2);
  return !isPlain && odd + Math.min(2, open) + Math.max(0, scripts - 1) / 2 >= ENOUGH;
}

/** The line of a short message that holds such a suffix. */
export function suffixIn(text: string): Span | undefined {
  if (text.length > TEXT_LIMIT) return undefined;
  const lines = text.split("\n");
  if (lines.filter((line) => line.trim() !== "").length > LINE_LIMIT) return undefined;
  let start = 0;
  for (const line of lines) {
    if (isSuffixed(line)) return { start, end: start + line.length };
    start += line.length + 1;
  }
  return undefined;
}
