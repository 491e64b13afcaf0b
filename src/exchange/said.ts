/** What an answer says of its decision, in headers of our own. */
import type { DecisionId } from "../core/brand.ts";
import type { Verdict } from "../core/verdict.ts";

/**
 * `pending`: the headers leave before the answer has been judged; what becomes of it stands in its record, and in the
 * stream itself when it is refused.
 */
export type Word = Verdict["kind"] | "pending";
type Header = readonly [name: string, value: string];

export const decided = (word: Word): Header => ["x-limen-decision", word];

/** Overwrites what a provider sent by these names. */
export const said = (word: Word, id: DecisionId): readonly [Header, Header] => [
  decided(word),
  ["x-limen-decision-id", id],
];
