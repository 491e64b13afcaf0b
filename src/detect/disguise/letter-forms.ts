/**
 * Characters that are letters only in company: small capitals (the sounds of the phonetic alphabet where other letters
 * stand beside them), Braille (patterns and spinners), regional indicators (flags, two by two). A run of them is read as
 * letters, or left alone, as a whole.
 */
import { isLetter, LOWER, UPPER } from "../ascii.ts";

const code = (character: string): number => character.codePointAt(0) ?? 0;
const table = (from: string, to: string): Map<number, string> =>
  new Map([...from].map((character, at) => [code(character), to.charAt(at)]));

/** What runs of one kind read as. */
type Form = {
  readonly letters: ReadonlyMap<number, string>;
  /** Whether the character belongs to a run, a letter of its kind or not. */
  readonly isInRun: (point: number) => boolean;
  /** Whether the points of a run are all letters. */
  readonly isRead: (points: readonly number[]) => boolean;
};

const SMALL = table("ᴀʙᴄᴅᴇꜰғɢʜɪᴊᴋʟᴍɴᴏᴘꞯǫʀꜱᴛᴜᴠᴡʏᴢ", "abcdeffghijklmnopqqrstuvwyz");
/** Have no small capital, or one that fonts lack; capitals stand where they began a sentence. */
const BESIDE: ReadonlySet<number> = new Set([...`sxqf${UPPER}`].map(code));
const SMALL_CAPITALS: Form = {
  letters: SMALL,
  // Latin, its phonetic signs and accents, Greek, Cyrillic and what else alphabets have.
  isInRun: (point) =>
    isLetter(point) || (point >= 0xc0 && point < 0x2000) || (point >= 0xa720 && point < 0xa800),
  isRead: (points) => points.every((point) => SMALL.has(point) || BESIDE.has(point)),
};

/** Letters, the blank cell, comma and full stop; what announces a capital is silent. */
const CELLS = table("⠁⠃⠉⠙⠑⠋⠛⠓⠊⠚⠅⠇⠍⠝⠕⠏⠟⠗⠎⠞⠥⠧⠺⠭⠽⠵⠀⠂⠲", `${LOWER} ,.`);
CELLS.set(code("⠠"), "");
const BRAILLE: Form = {
  letters: CELLS,
  isInRun: (point) => point >= 0x2800 && point <= 0x28ff,
  isRead: (points) => points.length > 1 && points.every((point) => CELLS.has(point)),
};

const FIRST_REGIONAL = 0x1f1e6;
const REGIONAL = new Map([...UPPER].map((letter, at) => [FIRST_REGIONAL + at, letter]));
const regions = new Intl.DisplayNames("en", { type: "region", fallback: "none" });
const FLAGS: ReadonlySet<string> = new Set(
  [...UPPER]
    .flatMap((first) => [...UPPER].map((second) => first + second))
    .filter((pair) => regions.of(pair) !== undefined),
);
function areFlags(points: readonly number[]): boolean {
  for (let at = 0; at < points.length; at += 2) {
    const pair = points.slice(at, at + 2).map((point) => REGIONAL.get(point));
    if (!FLAGS.has(pair.join(""))) return false;
  }
  return true;
}
const REGIONAL_INDICATORS: Form = {
  letters: REGIONAL,
  isInRun: (point) => REGIONAL.has(point),
  isRead: (points) => !areFlags(points),
};

const FORM_OF: ReadonlyMap<number, Form> = new Map(
  [SMALL_CAPITALS, BRAILLE, REGIONAL_INDICATORS].flatMap((form) =>
    [...form.letters.keys()].map((point) => [point, form] as const),
  ),
);
/** Whether the character may be a letter of one of the alphabets. */
export const isFormed = (point: number): boolean => FORM_OF.has(point);

/** Characters looked at together; what is left of a longer run is a run of its own. Even: flags are pairs. */
const LONGEST = 256;

const widthOf = (point: number): number => (point > 0xffff ? 2 : 1);

/** What the character at `at` reads as in its run, undefined where it is no letter; asked in ascending order. */
export function letterForms(text: string): (at: number, point: number) => string | undefined {
  let form: Form | undefined;
  let end = 0;
  return (at, point) => {
    const own = FORM_OF.get(point);
    if (own === undefined) return undefined;
    if (at < end) return form?.letters.get(point);
    const points: number[] = [];
    const first = Math.max(end, at - LONGEST / 2);
    let start = at;
    // Only small capitals have letters of other kinds before them, of one unit each.
    while (start > first && own.isInRun(text.charCodeAt(start - 1))) start -= 1;
    for (end = start; end < text.length && points.length < LONGEST; ) {
      const next = text.codePointAt(end) ?? 0;
      if (!own.isInRun(next)) break;
      points.push(next);
      end += widthOf(next);
    }
    form = own.isRead(points) ? own : undefined;
    return form?.letters.get(point);
  };
}
