/**
 * Where a text can be cut so that what is left still reads: ends of sentences in any script, of lines, of JSON strings
 * and of tags. No language is known here; a full stop inside an abbreviation makes a short sentence, nothing worse.
 */
import type { Span } from "../../core/segment.ts";

/** End a sentence when a space, a quote, a bracket or the end follows. */
const STOPS: ReadonlySet<string> = new Set(".!?…");
const BEHIND: ReadonlySet<string> = new Set(" \t\n\r\"'’”»)]}\\<");
/** End a sentence wherever they stand. */
const FULL_STOPS: ReadonlySet<string> = new Set("。！？．｡؟۔।॥");
/** Stand between two sentences and belong to none. */
const BORDERS: ReadonlySet<string> = new Set("\n\r\u2028\u2029<>");
/** Beside one of these a quote is the border of a JSON string. */
const JSON_SIGNS: ReadonlySet<string> = new Set(":,{}[]");
/** How far a sentence may reach beyond what is asked for: text without stops is one sentence to its end. */
const REACH = 512;

/** Units up to `at`, this one included, that part two sentences; 0 behind a stop, undefined where nothing ends. */
function borderAt(text: string, at: number): number | undefined {
  const unit = text.charAt(at);
  const next = text.charAt(at + 1);
  if (FULL_STOPS.has(unit)) return 0;
  if (STOPS.has(unit)) return next === "" || BEHIND.has(next) ? 0 : undefined;
  if (BORDERS.has(unit)) return 1;
  if (unit === '"') return isJsonBorder(text, at) ? 1 : undefined;
  // An escaped line break, as in JSON inside a text; the opening of a comment in markup.
  if (unit === "n" && text.charAt(at - 1) === "\\") return 2;
  return unit === "-" && at > 1 && text.startsWith("!--", at - 2) ? 3 : undefined;
}

/** A sign of JSON stands on either side, a space between them or not. */
function isJsonBorder(text: string, at: number): boolean {
  const near = [at - 1, at + 1, at - 2, at + 2].map((place) => text.charAt(place));
  const [before = "", after = "", beforeSpace = "", afterSpace = ""] = near;
  return (
    JSON_SIGNS.has(before === " " ? beforeSpace : before) ||
    JSON_SIGNS.has(after === " " ? afterSpace : after)
  );
}

/** The sentences of `text` that touch `within`, in order, without the white space around them. */
export function sentencesOf(text: string, within: Span): readonly Span[] {
  const spans: Span[] = [];
  let { start } = within;
  const least = Math.max(0, start - REACH);
  const most = Math.min(text.length, within.end + REACH);
  while (start > least && borderAt(text, start - 1) === undefined) start -= 1;
  for (let at = start; at < most && start < within.end; at += 1) {
    const border = borderAt(text, at);
    if (border === undefined) continue;
    push(spans, text, { start, end: at + 1 - border });
    start = at + 1;
  }
  if (start < within.end) push(spans, text, { start, end: most });
  return spans;
}

function push(spans: Span[], text: string, { start, end }: Span): void {
  const sentence = text.slice(start, end);
  const begin = start + sentence.length - sentence.trimStart().length;
  const trimmed = sentence.trim();
  // A sign alone is the border between two sentences.
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

/** In order; those that touch are one. */
export function united(spans: readonly Span[]): readonly Span[] {
  const result: Span[] = [];
  for (const span of spans.toSorted((a, b) => a.start - b.start)) {
    const last = result.at(-1);
    if (last === undefined || span.start > last.end) result.push(span);
    else if (span.end > last.end) result[result.length - 1] = { start: last.start, end: span.end };
  }
  return result;
}
