/**
 * Finds which of many short literals a text has, or ends within, in one walk: most texts have none, and are
 * let go at a look-up per character.
 */

type Entry = { readonly literal: string; readonly second: number; readonly owner: number };

/**
 * @param owners for each owner its literals: ASCII, two characters or more
 * @returns a search that marks the owners of all literals that begin at or after `from`; at the end of the text a
 *   beginning of a literal is enough
 */
export function literalSearch(
  owners: readonly (readonly string[])[],
): (text: string, from: number) => Uint8Array {
  const byFirst: Entry[][] = Array.from({ length: 128 }, () => []);
  for (const [owner, literals] of owners.entries()) {
    for (const literal of literals) {
      byFirst[literal.charCodeAt(0)]?.push({ literal, second: literal.charCodeAt(1), owner });
    }
  }
  return (text, from) => {
    const marked = new Uint8Array(owners.length);
    for (let at = from; at < text.length; at += 1) {
      const entries = byFirst[text.charCodeAt(at)];
      if (entries === undefined || entries.length === 0) continue;
      const second = text.charCodeAt(at + 1);
      for (const entry of entries) {
        if (entry.second !== second && at + 1 < text.length) continue;
        if (marked[entry.owner] === 0 && standsAt(text, at, entry.literal)) marked[entry.owner] = 1;
      }
    }
    return marked;
  };
}

/** The whole literal, or as much of it as there is room for. */
const standsAt = (text: string, at: number, literal: string): boolean =>
  text.startsWith(literal, at) ||
  (text.length - at < literal.length && literal.startsWith(text.slice(at)));
