/**
 * Whether one glob certainly matches all that another matches. Never true by mistake; false for a few
 * spellings of the same set (`*?` and `?*`), which nobody writes.
 */
export function covers(outer: string, inner: string): boolean {
  let o = 0;
  let i = 0;
  let star = -1;
  let resume = 0;
  while (i < inner.length) {
    const wide = inner[i] === "*"; // any run of characters: only a star is as wide
    if (
      outer[o] !== "*" &&
      o < outer.length &&
      !wide &&
      (outer[o] === "?" || outer[o] === inner[i])
    ) {
      o += 1;
      i += 1;
    } else if (outer[o] === "*") {
      star = o;
      resume = i;
      o += 1;
    } else if (star >= 0) {
      o = star + 1;
      resume += 1;
      i = resume;
    } else {
      return false;
    }
  }
  while (outer[o] === "*") o += 1;
  return o === outer.length;
}

export const coveredBy = (inner: string, outers: readonly string[]): boolean =>
  outers.some((outer) => covers(outer, inner));
