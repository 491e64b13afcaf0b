/** Judgements become edits of a body's text: redactions of decoded text as edits of the literals that spell it. */
import type { Edit, Segment, Span } from "../core/segment.ts";
import type { Steps } from "../core/steps.ts";
import type { Redaction } from "../core/verdict.ts";
import { encodeFragment, type JsonString, sourceSpans } from "../llm/json.ts";

/** The JSON literal behind a segment. */
export const literalOf = (segment: Segment): JsonString => ({
  kind: "string",
  start: segment.source.start,
  end: segment.source.end,
  value: segment.content.reveal(),
});

/** Redactions of one decoded string as edits of the text that its literal stands in; one pass over the literal. */
export function redactionEdits(
  text: string,
  literal: JsonString,
  redactions: readonly { readonly span: Span; readonly replacement: string }[],
): readonly Edit[] {
  const spans = sourceSpans(
    text,
    literal,
    redactions.map(({ span }) => span),
  );
  return spans.map((span, i) => ({
    ...span,
    text: encodeFragment(redactions[i]?.replacement ?? ""),
  }));
}

/** Redactions in several segments of one body. */
export function* segmentEdits(
  text: string,
  segments: readonly Segment[],
  redactions: readonly Redaction[],
): Steps<readonly Edit[]> {
  const edits: (readonly Edit[])[] = [];
  for (const [index, own] of Map.groupBy(redactions, ({ segment }) => segment)) {
    yield;
    const segment = segments[index];
    const inOrder = own.toSorted((a, b) => a.span.start - b.span.start);
    if (segment !== undefined) edits.push(redactionEdits(text, literalOf(segment), inOrder));
  }
  return edits.flat();
}

/**
 * Edits of several authors in order, without those that lie inside a larger one: a redaction in a tool
 * description that is taken out whole has nothing left to redact. Edits that cross each other are merged into
 * one that replaces the union, so that no part of either survives.
 */
export function compose(edits: readonly Edit[]): readonly Edit[] {
  const sorted = [...edits].sort(
    (a, b) => a.start - b.start || insertFirst(a) - insertFirst(b) || b.end - a.end,
  );
  const result: Edit[] = [];
  for (const edit of sorted) {
    const last = result.at(-1);
    if (last === undefined || edit.start >= last.end) result.push(edit);
    else if (edit.end > last.end) {
      result[result.length - 1] = { start: last.start, end: edit.end, text: last.text + edit.text };
    }
  }
  return result;
}

const insertFirst = (edit: Edit): number => (edit.start === edit.end ? 0 : 1);
