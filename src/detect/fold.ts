/**
 * Reads look-alike characters as the plain ones and leaves out those that nobody sees: compatibility forms
 * (Unicode NFKC, character by character), Latin look-alikes of Cyrillic and Greek inside Latin words, zero-width
 * and direction controls, tags, variation selectors, and combining marks on ASCII letters; alphabets of other forms.
 */
import { atOnce, type Steps } from "../core/steps.ts";
import { isLetter, LOWER, UPPER } from "./ascii.ts";
import { codeUnitsOf } from "./code-units.ts";
import { isFormed, letterForms } from "./disguise/letter-forms.ts";
import { identity, type View, ViewBuilder } from "./view.ts";

/** Ranges that are left out, first and last. */
const INVISIBLE = [
  [0xad, 0xad], // soft hyphen
  [0x34f, 0x34f], // combining grapheme joiner
  [0x180b, 0x180f], // Mongolian selectors
  [0x200b, 0x200f], // zero width, direction marks
  [0x202a, 0x202e], // direction embeddings and overrides
  [0x2060, 0x206f], // word joiner, invisible operators, isolates
  [0xfe00, 0xfe0f], // variation selectors
  [0xfeff, 0xfeff], // byte order mark
  [0xe0000, 0xe0fff], // tags, supplementary variation selectors
] as const;

/** Planes where compatibility forms stand: the basic one, and mathematical and enclosed alphabets. */
const COMPATIBLE = [
  [0xa0, 0xd7ff],
  [0xf900, 0xfffd],
  [0x1d400, 0x1d7ff],
  [0x1f100, 0x1f1ff],
] as const;

/** Alphabets in a frame of which no letter is left by NFKC, or more than the letter. */
const FRAMED = [
  [0x249c, LOWER], // in parentheses
  [0x1f110, UPPER],
  [0x1f150, UPPER], // white on black: in circles, in squares
  [0x1f170, UPPER],
] as const;

/** Unicode Technical Standard 39 has thousands; these are the ones that pass for Latin letters in running text. */
const CONFUSABLE: ReadonlyMap<string, string> = new Map(
  [
    "аa",
    "еe",
    "оo",
    "рp",
    "сc",
    "уy",
    "хx",
    "іi",
    "јj",
    "ѕs",
    "һh",
    "ԁd",
    "ԛq",
    "ԝw",
    "кk",
    "ӏl",
    "АA",
    "ВB",
    "ЕE",
    "КK",
    "МM",
    "НH",
    "ОO",
    "РP",
    "СC",
    "ТT",
    "УY",
    "ХX",
    "ІI",
    "ЈJ",
    "ЅS",
    "αa",
    "οo",
    "νv",
    "ρp",
    "τt",
    "υu",
    "χx",
    "ιi",
    "κk",
    "γy",
    "ηn",
    "ΑA",
    "ΒB",
    "ΕE",
    "ΖZ",
    "ΗH",
    "ΙI",
    "ΚK",
    "ΜM",
    "ΝN",
    "ΟO",
    "ΡP",
    "ΤT",
    "ΥY",
    "ΧX",
  ].map((pair) => [pair.charAt(0), pair.charAt(1)] as const),
);

/** What each character reads as; characters that read as themselves are absent. */
const READS_AS: ReadonlyMap<number, string> = readings();

function readings(): Map<number, string> {
  const table = new Map<number, string>();
  for (const [first, last] of COMPATIBLE) {
    for (let point = first; point <= last; point += 1) {
      const character = String.fromCodePoint(point);
      const folded = character.normalize("NFKC");
      // Ligatures of whole phrases would let a short text grow eighteenfold.
      if (folded !== character && folded.length <= 4) table.set(point, folded);
    }
  }
  for (const [first, letters] of FRAMED) {
    for (const [at, letter] of [...letters].entries()) table.set(first + at, letter);
  }
  for (const [first, last] of INVISIBLE) {
    for (let point = first; point <= last; point += 1) table.set(point, "");
  }
  return table;
}

const isCombining = (point: number): boolean => point >= 0x300 && point <= 0x36f;
/** Greek and Cyrillic. */
const isRelated = (point: number): boolean => point >= 0x370 && point <= 0x52f;

/** By code unit: 1 where a character may read as another, which few do in any script; halves of pairs all may. */
const LOOKED_UP = new Uint8Array(0x10000).map((_, unit) => {
  const isPair = unit >= 0xd800 && unit <= 0xdfff;
  const isKnown = READS_AS.has(unit) || isFormed(unit);
  return isPair || isKnown || isCombining(unit) || isRelated(unit) ? 1 : 0;
});

/** Whether the word around a Greek or Cyrillic letter has Latin letters too; asked in ascending order. */
function mixedWords(text: string): (at: number) => boolean {
  let end = 0;
  let mixed = false;
  return (at) => {
    if (at < end) return mixed;
    let start = at;
    while (isLetter(text.charCodeAt(start - 1))) start -= 1;
    mixed = start < at;
    for (end = at; ; end += 1) {
      const unit = text.charCodeAt(end);
      if (isLetter(unit)) mixed = true;
      else if (!isRelated(unit)) return mixed;
    }
  };
}

/** Units read in one step. */
const STEP = 16_384;

export const fold = (text: string): View => atOnce(foldInSteps(text));

export function* foldInSteps(text: string): Steps<View> {
  // ASCII, which most texts are, reads as itself.
  if (Buffer.byteLength(text) === text.length) return identity(text);
  const units = codeUnitsOf(text);
  const view = new ViewBuilder(text);
  const isMixed = mixedWords(text);
  const letterOf = letterForms(text);
  let stop = STEP;
  for (let at = 0; at < text.length; at += 1) {
    if (at >= stop) {
      stop = at + STEP;
      yield;
    }
    if (LOOKED_UP[units[at] ?? 0] === 0) continue;
    const point = text.codePointAt(at) ?? 0;
    const end = at + (point > 0xffff ? 2 : 1);
    const reading = READS_AS.get(point) ?? letterOf(at, point);
    if (reading !== undefined) view.replace(at, end, reading);
    else if (isCombining(point) && isLetter(text.charCodeAt(at - 1))) view.replace(at, end, "");
    else if (isRelated(point) && isMixed(at)) {
      const latin = CONFUSABLE.get(text.charAt(at));
      if (latin !== undefined) view.replace(at, end, latin);
    }
    at = end - 1;
  }
  return view.build();
}
