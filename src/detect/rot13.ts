import { isLetter } from "./ascii.ts";

/** ASCII letters moved by half the alphabet; its own inverse. */
export function rot13(text: string): string {
  const units = Buffer.from(text, "utf16le");
  for (let at = 0; at < units.length; at += 2) {
    const unit = units.readUInt16LE(at);
    if (isLetter(unit)) units.writeUInt16LE((unit & 31) <= 13 ? unit + 13 : unit - 13, at);
  }
  return units.toString("utf16le");
}
