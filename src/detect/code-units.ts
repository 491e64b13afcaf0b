/**
 * A text's UTF-16 units as numbers, for who walks over all of them: `charCodeAt` costs 8 ns a unit where a string is
 * a part of another, as texts of a body are; these cost 0.4 ns to make and 1 ns to walk over (measured on 4 kB).
 */
export type CodeUnits = Uint16Array;

export function codeUnitsOf(text: string): CodeUnits {
  const units = new Uint16Array(text.length);
  Buffer.from(units.buffer).write(text, "utf16le");
  return units;
}
