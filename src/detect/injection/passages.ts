/**
 * What is judged of a text, one by one: the text itself, data that a user put between marks, several short ones of them
 * together, and what is hidden in it. Together they hold all of the text; the rules read a user's text whole as well,
 * so that no mark he sets takes anything from them.
 */
import type { Finding } from "../../core/finding.ts";
import type { Provenance, Span } from "../../core/segment.ts";
import { atOnce, type Steps } from "../../core/steps.ts";
import { readingsInSteps } from "../normalise.ts";
import type { Place } from "../scorer.ts";
import { identity, standsFor, through, type View, ViewBuilder } from "../view.ts";
import { contextsOf } from "./context.ts";
import { judgeReading } from "./judge.ts";

export type Passage = {
  readonly provenance: Provenance;
  /** What the learned detector reads. */
  readonly view: View;
  /** What the rules say, of at least as much; spans are the text's. */
  readonly said: Finding | undefined;
};

/** Where the learned detector knows a text to stand; past answers of a model are for the rules alone. */
export const PLACE_OF: Readonly<Record<Provenance, Place | undefined>> = {
  system: "document",
  user: "user",
  assistant: undefined,
  tool: "tool",
  document: "document",
  hidden: "hidden",
};

/** Hidden readings that are passages of their own; the rest together is one more. */
const HIDDEN = 16;

/** All passages of a text; the first is the text as it stands. */
export const passagesOf = (text: string, provenance: Provenance): readonly Passage[] =>
  atOnce(passagesInSteps(text, provenance, "read"));

/** @param marks `ignored`: what a user puts between marks is his own word */
export function* passagesInSteps(
  text: string,
  provenance: Provenance,
  marks: "read" | "ignored",
): Steps<readonly Passage[]> {
  const { plain, hidden } = yield* readingsInSteps(text);
  const contexts = provenance === "user" && marks === "read" ? yield* contextsOf(plain.text) : [];
  const said = yield* judgeReading(plain, provenance);
  const passages = [{ provenance, view: through(plain, without(plain.text, contexts)), said }];
  for (const span of contexts) {
    passages.push(yield* passage(through(plain, part(plain.text, span)), "document"));
  }
  for (const one of yield* together(plain, contexts)) passages.push(one);
  for (const view of hiddenIn(text, hidden)) passages.push(yield* passage(view, "hidden"));
  return passages;
}

function* passage(view: View, provenance: Provenance): Steps<Passage> {
  return { provenance, view, said: yield* judgeReading(view, provenance) };
}

function hiddenIn(text: string, hidden: readonly View[]): readonly View[] {
  const single = hidden.slice(0, HIDDEN);
  const rest = hidden.slice(HIDDEN);
  if (rest.length === 0) return single;
  const joined = rest.map((view) => view.text).join("\n");
  return [...single, standsFor(joined, { start: 0, end: text.length })];
}

/** What a user says of data: they are named, so that the marks around them do not look like a broken frame. */
const DATA_HERE = "[document]";

function without(text: string, spans: readonly Span[]): View {
  if (spans.length === 0) return identity(text);
  const view = new ViewBuilder(text);
  for (const { start, end } of spans) view.replace(start, end, DATA_HERE);
  return view.build();
}

/** Data in several short parts are read together as well, the newest of them: an order in pieces is in none. */
const PARTS = 8;
const SHORT = 256;

function* together(plain: View, contexts: readonly Span[]): Steps<readonly Passage[]> {
  const parts = contexts.filter(({ start, end }) => end - start <= SHORT).slice(-PARTS);
  const [first, last] = [parts[0], parts.at(-1)];
  if (first === undefined || last === undefined || first === last) return [];
  const { start } = first;
  const whole = part(plain.text, { start, end: last.end });
  const view = new ViewBuilder(whole.text);
  for (const [at, one] of parts.entries()) {
    const next = parts[at + 1];
    if (next !== undefined) view.replace(one.end - start, next.start - start, "\n");
  }
  return [yield* passage(through(plain, through(whole, view.build())), "document")];
}

/** A piece of a text as a view of all of it. */
const part = (text: string, { start, end }: Span): View => ({
  text: text.slice(start, end),
  invisible: 0,
  toSource: (span) => ({ start: start + span.start, end: start + span.end }),
});
