/**
 * One call's texts on their way through the threads: what to ask next, in the order of the texts, and what
 * the answers come to. Pure: no thread, no clock. Its scores can be had at any time; a text that was not
 * read to its end by then is incomplete. Windows that are known are not asked for, and what is answered is known
 * from then on: a text that takes longer than there is time goes on where it was when it comes again.
 */
import type { Span } from "../../core/segment.ts";
import { HEADS, type Head, type HeadScore, type ScoreJob, type TextScore } from "../scorer.ts";
import { ownerOf, type ScoreCache } from "./cache.ts";
import type { WindowScore } from "./encoder.ts";
import type { Answer, Question, TextRead } from "./protocol.ts";
import { type Grid, windowsOf } from "./windows.ts";

/** UTF-16 units that are read of a text. A megabyte of letters is some 2,000 windows: tens of seconds. */
export const TEXT_LIMIT = 1_048_576;

const NOTHING: HeadScore = { score: 0, span: { start: 0, end: 0 } };

type Text = {
  readonly job: ScoreJob;
  readonly scores: Record<Head, HeadScore>;
  read: TextRead | undefined;
  /** Ranges of pieces. */
  windows: readonly Span[];
  /** Indices of those that were not known when the text was cut into them. */
  open: readonly number[];
  /** Of the open ones. */
  asked: number;
  answered: number;
};

type Scores = WindowScore["scores"];

export type ReadingOptions = {
  readonly grid: Grid;
  readonly scope: string;
  readonly windows: ScoreCache<Scores>;
};

/** A question, and what to do with its answer. */
export type Errand = { readonly question: Question; readonly take: (answer: Answer) => void };

export class Reading {
  readonly #texts: readonly Text[];
  readonly #options: ReadingOptions;
  /** Texts whose windows are not all asked for, in their order: no more than there are threads. */
  #begun: Text[] = [];
  #next = 0;
  #finished = 0;
  /** Windows that are not asked for; of texts that are not cut into windows yet, about how many there are. */
  #left = 0;

  constructor(jobs: readonly ScoreJob[], options: ReadingOptions) {
    this.#options = options;
    for (const job of jobs) this.#left += windowsAbout(job);
    this.#texts = jobs.map((job) => ({
      job,
      scores: { direct: NOTHING, embedded: NOTHING, jailbreak: NOTHING },
      read: undefined,
      windows: [],
      open: [],
      asked: 0,
      answered: 0,
    }));
  }

  /** Nothing is left to ask or to wait for. */
  get isDone(): boolean {
    return this.#finished === this.#texts.length;
  }

  /** Zero: `next` has nothing to ask now. */
  get left(): number {
    return this.#left;
  }

  /** What to ask next; undefined: nothing, or nothing before the next answer. */
  next(): Errand | undefined {
    const text = this.#begun.find(({ open, asked }) => asked < open.length);
    if (text !== undefined) return this.#askWindow(text);
    const unread = this.#texts[this.#next];
    if (unread === undefined) return undefined;
    this.#next += 1;
    this.#left -= windowsAbout(unread.job);
    this.#begun.push(unread);
    const { text: whole, place } = unread.job;
    const owner = ownerOf(this.#options.scope, place);
    const question: Question = { kind: "read", text: whole.slice(0, TEXT_LIMIT), owner };
    return { question, take: (answer) => this.#takeText(unread, answer) };
  }

  scores(): readonly TextScore[] {
    return this.#texts.map(({ job, scores, read, open, answered }) => ({
      ...scores,
      complete: read?.complete === true && answered === open.length && fits(job),
    }));
  }

  #askWindow(text: Text): Errand {
    const index = text.open[text.asked] ?? 0;
    const { start, end } = text.windows[index] ?? NOTHING.span;
    text.asked += 1;
    this.#left -= 1;
    if (text.asked === text.open.length) this.#begun = this.#begun.filter((one) => one !== text);
    const pieces = text.read?.pieces.slice(start, end) ?? new Uint16Array();
    const question: Question = { kind: "score", pieces, place: text.job.place };
    return { question, take: (answer) => this.#takeWindow(text, index, answer) };
  }

  #takeText(text: Text, answer: Answer): void {
    if (answer.kind !== "read") return; // failed: the call ends
    text.read = answer;
    text.windows = windowsOf(answer.pieces.length, this.#options.grid);
    text.open = [...text.windows.keys()].filter((index) => {
      const known = this.#options.windows.get(answer.keys[index] ?? "");
      if (known !== undefined) raise(text.scores, known, edgesOf(answer, index));
      return known === undefined;
    });
    this.#left += text.open.length;
    if (text.open.length > 0) return;
    this.#begun = this.#begun.filter((one) => one !== text);
    this.#finished += 1;
  }

  #takeWindow(text: Text, index: number, answer: Answer): void {
    const { read } = text;
    if (read === undefined || answer.kind !== "scored") return; // failed: the call ends
    this.#options.windows.set(read.keys[index] ?? "", answer.scores);
    raise(text.scores, answer.scores, edgesOf(read, index));
    text.answered += 1;
    if (text.answered === text.open.length) this.#finished += 1;
  }
}

/** Where in the text a window stands. */
function edgesOf({ edges }: TextRead, index: number): Span {
  const [start = 0, end = 0] = edges.subarray(2 * index, 2 * index + 2);
  return { start, end };
}

/** A window of most scripts is some 400 units. */
const UNITS_PER_WINDOW = 400;
const windowsAbout = ({ text }: ScoreJob): number =>
  1 + Math.floor(Math.min(text.length, TEXT_LIMIT) / UNITS_PER_WINDOW);

export const fits = ({ text }: ScoreJob): boolean => text.length <= TEXT_LIMIT;

/** The maximum; of equal windows the first one, whichever was answered first. */
function raise(scores: Text["scores"], found: Scores, span: Span): void {
  for (const head of HEADS) {
    const old = scores[head];
    const score = found[head];
    const isFirst = score === old.score && (old === NOTHING || span.start < old.span.start);
    if (score > old.score || isFirst) scores[head] = { score, span };
  }
}
