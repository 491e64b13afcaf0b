/**
 * Globs of policies: `*` is any run of characters, `?` is one; everything else is itself. Linear in
 * pattern x text, with no backtracking beyond the last star (the text may be hostile).
 */
export function globMatch(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (
      p < pattern.length &&
      (pattern[p] === "?" || (pattern[p] === text[t] && pattern[p] !== "*"))
    ) {
      p += 1;
      t += 1;
    } else if (pattern[p] === "*") {
      star = p;
      resume = t;
      p += 1;
    } else if (star >= 0) {
      p = star + 1;
      resume += 1;
      t = resume;
    } else {
      return false;
    }
  }
  while (pattern[p] === "*") p += 1;
  return p === pattern.length;
}
