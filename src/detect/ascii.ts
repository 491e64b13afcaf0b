/** Sets of ASCII characters, as the readers of detectors test them: one array look-up per unit of text. */

/** True for the members; false for everything else, the end of the text (NaN) included. */
export type Alphabet = (unit: number) => boolean;

/** @param members literal characters; `a-z`, `A-Z` and `0-9` are spelled out by the caller's constants below */
export function alphabet(members: string): Alphabet {
  const table = new Uint8Array(128);
  for (const member of members) table[member.charCodeAt(0)] = 1;
  return (unit) => table[unit] === 1;
}

export const DIGITS = "0123456789";
export const LOWER = "abcdefghijklmnopqrstuvwxyz";
export const UPPER = LOWER.toUpperCase();
export const ALNUM = DIGITS + UPPER + LOWER;

export const isDigit = alphabet(DIGITS);
export const isLetter = alphabet(UPPER + LOWER);
export const isAlnum = alphabet(ALNUM);
