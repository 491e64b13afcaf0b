/**
 * Check digits of GitHub and npm tokens: the last six characters are the CRC-32 of those before them, in base
 * 62 with leading zeros (github.blog, "Behind GitHub's new authentication token formats").
 */
import { crc32 } from "node:zlib";
import { DIGITS, LOWER, UPPER } from "../ascii.ts";

const BASE62 = DIGITS + UPPER + LOWER;
const CHECK_LENGTH = 6;

export function checkDigits(random: string): string {
  let rest = crc32(random);
  let digits = "";
  for (let i = 0; i < CHECK_LENGTH; i += 1) {
    digits = BASE62.charAt(rest % 62) + digits;
    rest = Math.floor(rest / 62);
  }
  return digits;
}

export const hasCheckDigits = (body: string): boolean =>
  checkDigits(body.slice(0, -CHECK_LENGTH)) === body.slice(-CHECK_LENGTH);
