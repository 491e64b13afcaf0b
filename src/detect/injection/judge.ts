/**
 * What the rules say of one reading of a text, by where it comes from: the strongest hit of each family, joined with
 * what other families say close by.
 */
import { ruleId } from "../../core/brand.ts";
import type { Finding, FindingKind } from "../../core/finding.ts";
import type { Provenance, Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { pattern, patternSet, Subject } from "../re2.ts";
import type { View } from "../view.ts";
import { FOREIGN_RULES } from "./languages.ts";
import { type Family, RULES, type Rule, type Scope } from "./rules.ts";
import { suffixIn } from "./suffix.ts";

/** Per place of a text: which rules speak, from which score on it is flagged, what it is called. */
type Slot = {
  readonly scopes: readonly Scope[];
  readonly threshold: number;
  readonly kind: FindingKind;
};
const DATA: Slot = {
  scopes: ["direct", "embedded", "turns"],
  threshold: 6_000,
  kind: "injection.embedded",
};
export const SLOTS: Readonly<Record<Provenance, Slot>> = {
  user: { scopes: ["direct", "turns"], threshold: 6_500, kind: "injection.direct" },
  assistant: { scopes: ["turns"], threshold: 7_000, kind: "injection.direct" },
  tool: DATA,
  document: DATA,
  // Any caller may write a system message, and retrieved text is put there.
  system: DATA,
  hidden: { ...DATA, threshold: 4_000, kind: "injection.hidden" },
};

/** What families say in the same or in neighbouring stretches of this many units, they say of one thing. */
const STRETCH = 400;
/** What out-of-sight characters inside a text add to what its rules say. */
const DISGUISE = 3_000;
/** A quoted phrase in a text about attacks is worth this part of the same phrase said to the model. */
const QUOTED = 0.4;
const CONTEXT = 200;
const NEGATION = 40;

const caseless = (source: string): string => `(?i)${source}`;
const compiled = [...RULES, ...FOREIGN_RULES].map((rule) => ({
  rule,
  pattern: pattern(caseless(rule.pattern)),
}));
const prefilter = patternSet(RULES.map((rule) => caseless(rule.pattern)));
const foreignPrefilter = patternSet(FOREIGN_RULES.map(({ trigger }) => caseless(trigger)));
/** Two sets: in one, the many scripts of the second would slow the first down sevenfold. */
const candidates = (subject: Subject): readonly number[] => [
  ...prefilter.matching(subject),
  ...foreignPrefilter.matching(subject).map((index) => RULES.length + index),
];
const discussion = pattern(
  "(?i)prompt[- ]injection|jailbreak|attack|malicious|adversar|vulnerab|exploit|owasp|red[- ]team|guardrail|for example|such as|e\\.g\\.|phrases?\\b|called|detect|filter|block|flag",
);

const negation = pattern(
  "(?i)\\b(?:not|never|n't|cannot|refuse(?:s|d)?(?: any request)?(?: to)?|avoid|asks? (?:you )?to|tells you to)\\s+(?:\\w+\\s+){0,2}$",
);

type Hit = {
  readonly rule: Pick<Rule, "id" | "family">;
  readonly span: Span;
  readonly weight: number;
};

/** Only people send requests that an optimiser prepared; in data, odd tokens are the rule. */
const SUFFIX = { rule: { id: "suffix", family: "suffix" }, weight: 8_000 } as const;

/** `"..."`, `'...'`, backticks and typographic quotes or a bracket directly before the match. */
const isQuoted = (text: string, start: number): boolean =>
  start > 0 && "\"'`“”‘«„>(".includes(text.charAt(start - 1));

function weightOf(rule: Rule, span: Span, text: string): number {
  const before = text.slice(Math.max(0, span.start - NEGATION), span.start);
  // "Never reveal your prompt" is how prompts are protected.
  if (rule.family === "extraction" && negation.test(new Subject(before))) return 0;
  if (!isQuoted(text, span.start)) return rule.weight;
  const around = text.slice(Math.max(0, span.start - CONTEXT), span.end + CONTEXT);
  return discussion.test(new Subject(around)) ? Math.round(rule.weight * QUOTED) : rule.weight;
}

/** Families whose rules look for the beginning of a sentence: what ends the one before is no part of what they found. */
const ORDERS: ReadonlySet<Family> = new Set(["override", "extraction"]);
const SIGNS: ReadonlySet<string> = new Set(" \t\r\n.!?:;,…\"'«»“”„‘’>*#()[]-。！？：；，、「");
function trimmed(text: string, { start, end }: Span): Span {
  let begin = start;
  while (begin < end && SIGNS.has(text.charAt(begin))) begin += 1;
  return begin === end ? { start, end } : { start: begin, end };
}

type Strongest = Map<Family, Hit>;

/** The strongest hit of each family, stretch by stretch: linear however many hits a hostile text has. */
function* stretchesOf(text: string, provenance: Provenance): Steps<Map<number, Strongest>> {
  const { scopes } = SLOTS[provenance];
  const found = new Map<number, Strongest>();
  const subject = new Subject(text);
  yield;
  for (const index of candidates(subject)) {
    const candidate = compiled[index];
    if (candidate === undefined || !scopes.includes(candidate.rule.scope)) continue;
    const { rule } = candidate;
    for (const match of candidate.pattern.each(subject, Number.POSITIVE_INFINITY)) {
      const span = ORDERS.has(rule.family) ? trimmed(text, match) : match;
      add(found, { rule, span, weight: weightOf(rule, span, text) });
      yield;
    }
    yield;
  }
  const suffix = provenance === "user" ? suffixIn(text) : undefined;
  if (suffix !== undefined) add(found, { ...SUFFIX, span: suffix });
  return found;
}

function add(found: Map<number, Strongest>, hit: Hit): void {
  if (hit.weight === 0) return;
  const index = Math.floor(hit.span.start / STRETCH);
  const families = found.get(index) ?? new Map<Family, Hit>();
  found.set(index, families);
  const known = families.get(hit.rule.family);
  if (known === undefined || hit.weight > known.weight) families.set(hit.rule.family, hit);
}

/** Independent witnesses: 1 - (1 - a)(1 - b)..., with the strongest of each family. */
function together(a: Strongest, b: Strongest | undefined, disguise: number): number {
  let doubt = 1 - disguise / 10_000;
  for (const family of new Set([...a.keys(), ...(b?.keys() ?? [])])) {
    const weight = Math.max(a.get(family)?.weight ?? 0, b?.get(family)?.weight ?? 0);
    doubt *= 1 - weight / 10_000;
  }
  return Math.round((1 - doubt) * 10_000);
}

/** The best-supported stretch of one reading, told by its strongest hit; nothing when no rule speaks. */
export function* judgeReading(view: View, provenance: Provenance): Steps<Finding | undefined> {
  const slot = SLOTS[provenance];
  const found = yield* stretchesOf(view.text, provenance);
  const disguise = view.invisible > 0 ? DISGUISE : 0;
  let score = 0;
  let best: Hit | undefined;
  for (const [index, families] of found) {
    yield;
    const here = together(families, found.get(index + 1), disguise);
    if (here <= score) continue;
    score = here;
    best = [...families.values()].reduce((a, b) => (b.weight > a.weight ? b : a));
  }
  if (best === undefined) return undefined;
  const rule = ruleId(`injection.${best.rule.id}`);
  const span = view.toSource(best.span);
  return { rule, kind: slot.kind, span, score, threshold: slot.threshold };
}
