/** Morse code: letters apart by a space, words by a wider gap or a bar. Rules across a page and tables look like it. */
import type { Steps } from "../../core/steps.ts";
import { piecewise } from "./decoder.ts";
import { hasWords } from "./words.ts";

const CODES =
  ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..";
const LETTERS: ReadonlyMap<string, number> = new Map(
  CODES.split(" ").map((code, at) => [code, 0x61 + at]),
);
const DOTS: ReadonlySet<string> = new Set(".·•∙");
const DASHES: ReadonlySet<string> = new Set("-–—−_");

/** Signs that are read in one step. */
const STEP = 65_536;

function* read(piece: string): Steps<string | undefined> {
  // A letter and the space before it take no more units than its code and what ends that.
  const said = Buffer.alloc(piece.length + 1);
  let length = 0;
  let code = "";
  let isWordOver = false;
  for (let at = 0; at <= piece.length; at += 1) {
    if (at % STEP === 0) yield;
    const unit = piece.charAt(at);
    const sign = DOTS.has(unit) ? "." : DASHES.has(unit) ? "-" : "";
    if (sign === "") {
      // Signs that stand for no letter are left out: digits, full stops.
      const letter = LETTERS.get(code);
      if (letter !== undefined) length = said.writeUInt8(letter, length);
      isWordOver = code === "" || unit !== " ";
      code = "";
    } else {
      if (isWordOver) length = said.writeUInt8(0x20, length);
      isWordOver = false;
      code += sign;
    }
  }
  const text = said.toString("latin1", 0, length).trim();
  return hasWords(text) ? text : undefined;
}

export const morse = piecewise(
  "folded",
  "(?:[.·•∙–—−_-]{1,6}[ /|\\n]{1,3}){8,}[.·•∙–—−_-]{1,6}",
  read,
);
