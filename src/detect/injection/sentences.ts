/**
 * Where a text can be cut so that what is left still reads: ends of sentences in any script, of lines, of JSON strings
 * and of tags. No language is known here; a full stop inside an abbreviation makes a short sentence, nothing worse.
 */
import type { Span } from "../../core/segment.ts";

/** End a sentence when a space, a quote, a bracket or the end follows. */
const STOPS: ReadonlySet<string> = new Set(".!?…");
/** End a sentence wherever they stand. */
const FULL_STOPS: ReadonlySet<string> = new Set("。！？．｡؟۔।॥\n\r\u2028\u2029<>");
const BEHIND: ReadonlySet<string> = new Set(" \t\n\r\"'’”»)]}\\");
/** Beside one of these a quote is the border of a JSON string. */
const JSON_SIGNS: ReadonlySet<string> = new Set(":,{}[]");

function endsHere(text: string, at: number): boolean {
  const unit = text.charAt(at);
  if (FULL_STOPS.has(unit)) return true;
  const next = text.charAt(at + 1);
  if (STOPS.has(unit)) return next === "" || BEHIND.has(next);
  if (unit === '"') return JSON_SIGNS.has(next) || JSON_SIGNS.has(text.charAt(at - 1));
  // An escaped line break, as in JSON inside a text.
  return unit === "n" && text.charAt(at - 1) === "\\";
}

/** How far a sentence may reach beyond what is asked for: text without stops is one sentence to its end. */
const REACH = 512;

/** The sentences of `text` that touch `within`, in order, without the white space around them. */
export function sentencesOf(text: string, within: Span): readonly Span[] {
  const spans: Span[] = [];
  let start = within.start;
  const least = Math.max(0, start - REACH);
  const most = Math.min(text.length, within.end + REACH);
  while (start > least && !endsHere(text, start - 1)) start -= 1;
  for (let at = start; at < most; at += 1) {
    if (!endsHere(text, at)) continue;
    push(spans, text, { start, end: at + 1 });
    start = at + 1;
    if (start >= within.end) return spans;
  }
  push(spans, text, { start, end: most });
  return spans;
}

function push(spans: Span[], text: string, { start, end }: Span): void {
  const sentence = text.slice(start, end);
  const begin = start + sentence.length - sentence.trimStart().length;
  const trimmed = sentence.trim();
  // What holds no letter is the border between two sentences.
  if (trimmed.length > 1) spans.push({ start: begin, end: begin + trimmed.length });
}

/** Neighbours put together until at most `most` are left, of like length where that can be. */
export function grouped(sentences: readonly Span[], most: number): readonly Span[] {
  const size = Math.ceil(sentences.length / most);
  const groups: Span[] = [];
  for (let at = 0; at < sentences.length; at += size) {
    const first = sentences[at];
    const last = sentences[Math.min(at + size, sentences.length) - 1];
    if (first !== undefined && last !== undefined)
      groups.push({ start: first.start, end: last.end });
  }
  return groups;
}
