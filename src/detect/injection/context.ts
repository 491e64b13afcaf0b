/**
 * Data inside what a user wrote: chat APIs have no place for a document, so most retrieved text arrives between marks
 * in a message. What stands between them is read as a document, the rest as the user's own words. Marks that a user
 * forgot to close run to the end. A document that closes its own mark is told from the user again only where marks
 * have names: there the last closing one counts.
 */
import type { Span } from "../../core/segment.ts";
import type { Steps } from "../../core/steps.ts";
import { pattern, Subject } from "../re2.ts";
import { united } from "./sentences.ts";

/** Less than this between marks is a word or a sentence that the user himself put there. */
const LEAST = 80;
/** Contexts told apart in one text; what follows the last of them is one more. */
const MOST = 32;
/** Marks looked at, of each kind; what follows them is one more context. */
const MARKS = 1_024;

const NAMES =
  "documents?|docs?|contexts?|data|sources?|articles?|e-?mails?|passages?|pages?|files?|contents?|(?:search_)?results?|snippets?|transcripts?|attachments?|knowledge|retrieved|webpages?|websites?|tickets?|messages?|reviews?|excerpts?";
const opening = pattern(`(?i)<(?:${NAMES})(?:[ \\t][^<>]{0,200})?>`);
/** Names of tags in one text; each costs a search from its end. */
const NAMES_LIMIT = 16;

const HEADINGS =
  "context|background|documents?|article|passage|excerpt|e-?mail|text|source|(?:search )?results|transcript|content|data|input|kontext|dokument|artikel|textauszug|contexte|documento?|texte|texto|contexto|contesto|testo|artículo|articolo|artigo|контекст|документ|текст|статья|kontekst|tekst|bağlam|belge|metin|سياق|السياق|النص|الوثيقة|מסמך|טקסט|संदर्भ|दस्तावेज़|पाठ|上下文|背景|文档|文章|文本|资料|コンテキスト|文書|本文|記事|문맥|문서|본문|ngữ cảnh|tài liệu|văn bản|konteks|dokumen|teks|บริบท|เอกสาร|ข้อความ";
const QUESTIONS =
  "questions?|q|query|task|instructions?|request|answers?|your answer|response|output|frage|aufgabe|antwort|réponse|tâche|pregunta|tarea|respuesta|domanda|risposta|pergunta|resposta|вопрос|задание|ответ|pytanie|odpowiedź|soru|cevap|السؤال|الإجابة|שאלה|תשובה|प्रश्न|उत्तर|问题|回答|任务|質問|回答|질문|답변|câu hỏi|trả lời|pertanyaan|jawaban|คำถาม|คำตอบ";
const MARKUP = "[ \\t#*_\\[]{0,8}";
const END = "[\\]*_]{0,4}[ \\t]*[:：][*_]{0,3}";
const heading = pattern(
  `(?im)^${MARKUP}(?:(?:here (?:is|are) |this is )?(?:the |my |an? |this )?(?:${HEADINGS})(?: \\d{1,3})?)${END}`,
);
const question = pattern(`(?im)^${MARKUP}(?:(?:the |my )?(?:${QUESTIONS}))${END}`);

/** A line that parts a text: the sign of a fence, of which three or more open one, or a rule across the page. */
function markOf(line: string): string | undefined {
  const mark = line.slice(0, 3);
  if (mark === "```" || mark === "~~~") return mark;
  return isRule(mark) && line === mark.charAt(0).repeat(line.length) ? mark : undefined;
}
const RULES: ReadonlySet<string> = new Set(["---", "===", "***", "___"]);
const isRule = (mark: string): boolean => RULES.has(mark);
const LINE_LIMIT = 64;

/** Between a parting line and the next like it; a fence that is not closed runs to the end, a rule parts nothing. */
function* fenced(text: string): Iterable<Span> {
  let open: { readonly mark: string; readonly start: number } | undefined;
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf("\n", at);
    const end = newline < 0 ? text.length : newline;
    const line = text.slice(at, Math.min(end, at + LINE_LIMIT)).trim();
    const mark = markOf(line);
    if (open !== undefined && mark === open.mark && (isRule(mark) || line.length === 3)) {
      yield { start: open.start, end: at };
      open = undefined;
    } else if (mark !== undefined && (open === undefined || isRule(open.mark))) {
      open = { mark, start: end + 1 };
    }
    at = end + 1;
  }
  if (open !== undefined && !isRule(open.mark)) yield { start: open.start, end: text.length };
}

/** Runs of lines that are quoted as in mail. */
function* quoted(text: string): Iterable<Span> {
  let start = -1;
  for (let at = 0; at < text.length; ) {
    const newline = text.indexOf("\n", at);
    const next = newline < 0 ? text.length : newline + 1;
    const isQuoted = text.charCodeAt(at) === 0x3e;
    if (isQuoted && start < 0) start = at;
    if (!isQuoted && start >= 0) {
      yield { start, end: at };
      start = -1;
    }
    at = next;
  }
  if (start >= 0) yield { start, end: text.length };
}

/** Between two literals: the second closes what the first opened. */
function* between(text: string, mark: string): Iterable<Span> {
  for (let at = text.indexOf(mark); at >= 0; ) {
    const start = at + mark.length;
    const close = text.indexOf(mark, start);
    const end = close < 0 ? text.length : close;
    yield { start, end };
    at = close < 0 ? -1 : text.indexOf(mark, close + mark.length);
  }
}

/** From an opening tag to the last closing one of its name: a document cannot close the tag it stands in. */
function tagged(subject: Subject): readonly Span[] {
  const { text } = subject;
  const ended = new Set<string>();
  const found: Span[] = [];
  for (const { start, end } of opening.spans(subject, MARKS)) {
    const name = nameOf(text.slice(start + 1, Math.min(end - 1, start + 32)));
    if (ended.has(name) || ended.size === NAMES_LIMIT) continue;
    ended.add(name);
    // A tag of one's own invention that is never closed is no mark.
    const close = text.lastIndexOf(`</${name}>`);
    if (close >= end) found.push({ start: end, end: close });
  }
  return found;
}

const nameOf = (tag: string): string => tag.replaceAll("\t", " ").split(" ", 1)[0] ?? "";

/**
 * From a context's heading to the heading of a question. Without the latter it must be that the request stands above;
 * a message that is nothing but a headed text may be all the user's.
 */
function headed(subject: Subject): readonly Span[] {
  const { text } = subject;
  const ends = question.spans(subject, MARKS);
  const found: Span[] = [];
  let covered = 0;
  for (const { start, end } of heading.spans(subject, MARKS)) {
    if (start < covered) continue;
    const next = ends.find((one) => one.start >= end);
    if (next === undefined && text.slice(0, start).trim() === "") continue;
    covered = next?.start ?? text.length;
    found.push({ start: end, end: covered });
  }
  return found;
}

const LOOKS: readonly ((subject: Subject) => Iterable<Span>)[] = [
  ({ text }) => fenced(text),
  ({ text }) => quoted(text),
  ({ text }) => between(text, '"""'),
  ({ text }) => between(text, "'''"),
  tagged,
  headed,
];

/** In order, apart from each other; every character of the text is in one of them or the user's own. */
export function* contextsOf(text: string): Steps<readonly Span[]> {
  if (text.length < LEAST) return [];
  const subject = new Subject(text);
  const found: Span[] = [];
  for (const look of LOOKS) {
    yield;
    let count = 0;
    for (const { start, end } of look(subject)) {
      count += 1;
      found.push({ start, end: count === MARKS ? text.length : end });
      if (count === MARKS) break;
    }
  }
  yield;
  const all = united(found).filter(({ start, end }) => end - start >= LEAST);
  const rest = all[MOST - 1];
  if (rest === undefined) return all;
  return [...all.slice(0, MOST - 1), { start: rest.start, end: text.length }];
}
