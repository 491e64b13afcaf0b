/**
 * Tool names as rules see them. A name counts by its exact bytes; what merely looks like a name that a rule
 * spells is refused, because a person who wrote or reads the policy cannot tell the two apart.
 */
import { globMatch } from "../core/glob.ts";
import type { Execution } from "../core/inference.ts";
import type { ActionRule } from "../core/settings.ts";

/** The longest that the APIs accept is 128. Globs run over names, and names are traffic. */
export const MAX_NAME_UNITS = 128;

/** How dialects name what the provider runs by itself: `openai:web_search`, `anthropic:mcp`. */
const PROVIDERS = ["openai:", "anthropic:"] as const;

export const executionOf = (name: string): Execution =>
  PROVIDERS.some((prefix) => name.startsWith(prefix)) ? "provider" : "client";

const isLiteral = (pattern: string): boolean => !/[*?]/.test(pattern);

/** Printable ASCII without the space: all that the APIs let a name hold. */
function isPlain(name: string): boolean {
  for (let i = 0; i < name.length; i += 1) {
    const unit = name.charCodeAt(i);
    if (unit <= 0x20 || unit >= 0x7f) return false;
  }
  return true;
}

const LOOKS: readonly (readonly [string, string])[] = [
  ["0", "o"],
  ["O", "o"],
  ["1", "l"],
  ["I", "l"],
  ["|", "l"],
  ["rn", "m"],
  ["vv", "w"],
];

/**
 * The forms in which plain names are compared by eye: letter case, and the ASCII shapes that fonts draw alike
 * (Unicode TR 39 for this alphabet). Case first would lose the capital I that looks like an l.
 */
const forms = (name: string): readonly string[] => [
  name.toLowerCase(),
  LOOKS.reduce((seen, [from, to]) => seen.replaceAll(from, to), name).toLowerCase(),
];

/** Whether a name may be mistaken for one that the rules spell, without being one. */
export type Lookalike = (name: string) => boolean;

/**
 * Letters beyond ASCII have too many doubles for any table, so a name that has one is either spelled by a
 * rule or refused: no wildcard and no default stands for it.
 */
export function lookalikes(rules: readonly ActionRule[]): Lookalike {
  const patterns = rules.flatMap((rule) => rule.tools);
  const spelled = new Set(patterns.filter(isLiteral));
  const seen = new Set([...spelled].flatMap(forms));
  const guarded = rules
    .filter((rule) => rule.decision !== "allow")
    .flatMap((rule) => rule.tools.filter((pattern) => !isLiteral(pattern)))
    .map((pattern) => ({ pattern, forms: forms(pattern) }));
  return (name) => {
    if (spelled.has(name)) return false;
    if (!isPlain(name)) return true;
    const own = forms(name);
    if (own.some((form) => seen.has(form))) return true;
    // What a strict glob matches only by eye; what it matches by bytes is that rule's business.
    return guarded.some(
      (glob) =>
        own.some((form, i) => globMatch(glob.forms[i] ?? form, form)) &&
        !globMatch(glob.pattern, name),
    );
  };
}
