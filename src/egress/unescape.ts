/**
 * JSON text with its string escapes resolved (RFC 8259 section 7), whether or not it is valid JSON: the
 * arguments of a call are read as their tool will read them. Not a parser: quotes and structure stay.
 */
const SHORT: Readonly<Record<string, string>> = { b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };
const HEX4 = 4;

export function jsonUnescaped(text: string): string {
  let at = text.indexOf("\\");
  if (at < 0) return text;
  const pieces: string[] = [];
  let copied = 0;
  for (; at >= 0 && at + 1 < text.length; at = text.indexOf("\\", copied)) {
    const escaped = text.charAt(at + 1);
    const digits = escaped === "u" ? text.slice(at + 2, at + 2 + HEX4) : "";
    const code = digits.length === HEX4 ? Number(`0x${digits}`) : Number.NaN;
    pieces.push(text.slice(copied, at));
    pieces.push(Number.isNaN(code) ? (SHORT[escaped] ?? escaped) : String.fromCharCode(code));
    copied = at + 2 + (Number.isNaN(code) ? 0 : HEX4);
  }
  pieces.push(text.slice(copied));
  return pieces.join("");
}
