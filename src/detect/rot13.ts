import { isLetter } from "./ascii.ts";

/** ASCII letters moved by half the alphabet; its own inverse. */
export function rot13(text: string): string {
  let turned = "";
  for (let i = 0; i < text.length; i += 1) {
    const unit = text.charCodeAt(i);
    const moved = (unit & 31) <= 13 ? unit + 13 : unit - 13;
    turned += isLetter(unit) ? String.fromCharCode(moved) : text.charAt(i);
  }
  return turned;
}
