/**
 * One streamed response: bytes in, bytes out, frame by frame. Text leaves as soon as no open candidate is in
 * it, a tool call leaves whole after its verdict or not at all, and everything behind a held frame waits, so
 * that order never changes. A frame that needs no change leaves with the bytes it came with.
 *
 * Sans-IO: the same pieces, verdicts and bytes however the input is cut.
 */
import { type Cause, fail, ok, type Result } from "../core/cause.ts";
import { Content } from "../core/content.ts";
import type { ToolEntry } from "../core/record.ts";
import type { Edit } from "../core/segment.ts";
import type { Reason } from "../core/verdict.ts";
import type { CallPiece, Dialect, FrameView, StreamReader, TextPiece } from "../llm/dialect.ts";
import { STREAM_JSON_DEPTH } from "../llm/frame-draft.ts";
import { type SseFrame, SseFramer, withData } from "../llm/framing/sse.ts";
import { applyEdits, type JsonNode, parseJson } from "../llm/json.ts";
import { type CallJudge, judgeCall } from "./calls.ts";
import { FindingTally } from "./evidence.ts";
import { compose, redactionEdits } from "./splice.ts";
import { StreamWindow, type WindowReport } from "./stream-window.ts";

/** Most text channels (choice or block, and kind of text) and most calls of one stream. */
const MAX_PARTS = 1_024;

/** What holding a frame costs besides its bytes: its text, its positions, its pieces. */
const FRAME_COST = 1_024;

/** A text of a held frame, with its channel offsets. */
type PlacedText = {
  readonly piece: TextPiece;
  readonly start: number;
  readonly end: number;
  readonly window: StreamWindow;
};
type HeldFrame = {
  readonly frame: SseFrame;
  /** The parsed data; not kept while the frame waits, it is many times as large. */
  root: JsonNode | undefined;
  readonly failed: boolean;
  readonly texts: readonly PlacedText[];
  /** Calls that the frame has pieces of. */
  readonly calls: readonly string[];
  /** How many of its texts and calls are settled: what is settled stays so, nothing is looked at twice. */
  settledTexts: number;
  settledCalls: number;
};
type OpenCall = {
  readonly opened: Extract<CallPiece, { kind: "open" }>;
  readonly args: string[];
  /** `open`: fragments are held. `dropped`: its fragments never leave. */
  state: "open" | "judged" | "dropped";
};

/** What was seen in a stream. The stream writes it, the exchange reads it when the stream ends. */
export type LiveEvidence = WindowReport & {
  readonly tools: ToolEntry[];
  mutation: Reason | undefined;
  actionMs: number;
  media: boolean;
  model: Content | undefined;
  providerFailed: boolean;
  /** A cause that the policy let pass. */
  opened: Cause | undefined;
};

/** Bytes that may leave now, and perhaps why nothing more of the stream may. */
export type LiveStep =
  | { readonly kind: "out"; readonly bytes: readonly Uint8Array[] }
  | { readonly kind: "refuse"; readonly reason: Reason; readonly bytes: readonly Uint8Array[] };

export class LiveResponse {
  readonly #judge: CallJudge;
  readonly #framer: SseFramer;
  readonly #reader: StreamReader;
  readonly #windows = new Map<string, StreamWindow>();
  readonly #calls = new Map<string, OpenCall>();
  /** Key to the sentence in its place; written when a call is judged, read when its frames leave. */
  readonly #refused = new Map<string, string>();
  /** Frames read and not yet released, in order; those before `#next` have left. */
  #held: HeldFrame[] = [];
  #next = 0;
  #heldBytes = 0;
  /** What the process-wide budget knows of it. */
  #chargedBytes = 0;
  #terminal = false;
  #hasSpoken = false;
  readonly evidence: LiveEvidence = {
    findings: new FindingTally(),
    tools: [],
    refusal: undefined,
    mutation: undefined,
    actionMs: 0,
    media: false,
    model: undefined,
    providerFailed: false,
    opened: undefined,
  };

  constructor(dialect: Dialect, judge: CallJudge) {
    this.#judge = judge;
    const { toolHoldBytes, limits } = judge.policy.settings.egress;
    this.#framer = new SseFramer(Math.max(toolHoldBytes, limits.bodyBytes));
    this.#reader = dialect.openStream();
  }

  /** The dialect's last event has been read: everything held leaves with this step, nothing follows. */
  get terminal(): boolean {
    return this.#terminal;
  }

  /** A text or a call has left, more than roles, ids and pings. */
  get hasSpoken(): boolean {
    return this.#hasSpoken;
  }

  /** Frame by frame, so that what leaves before a refusal is the same however the input is cut. */
  push(bytes: Uint8Array, endOfStream: boolean): LiveStep {
    const out: Uint8Array[] = [];
    const refuse = (reason: Reason): LiveStep => ({ kind: "refuse", reason, bytes: out });
    const frames = this.#framer.push(bytes);
    const rest = endOfStream && frames.ok ? this.#framer.end() : ok([]);
    for (const frame of [...(frames.ok ? frames.value : []), ...(rest.ok ? rest.value : [])]) {
      // Behind the last event there is nothing for a client: comments pass, data does not.
      if (this.#terminal && frame.data !== undefined) continue;
      const taken = this.#take(frame);
      if (!taken.ok) return refuse(taken.cause);
      this.#release(out);
      if (this.evidence.refusal !== undefined) return refuse(this.evidence.refusal);
      this.#charge();
      if (this.#isWithinBounds()) continue;
      if (!this.#isOpen("hold_exceeded")) return refuse("hold_exceeded");
      this.#letGo();
      this.#release(out);
    }
    if (!frames.ok && !this.#terminal) return refuse(frames.cause);
    if (!rest.ok && !this.#terminal) return refuse(rest.cause);
    this.#charge();
    if (endOfStream) {
      const ended = this.#finish();
      if (!ended.ok) return refuse(ended.cause);
      this.#release(out);
      if (this.evidence.refusal !== undefined) return refuse(this.evidence.refusal);
    }
    return { kind: "out", bytes: out };
  }

  /** Tells the process-wide budget what is held now, the unfinished frame included. */
  #charge(): void {
    const bytes = this.#heldBytes + this.#framer.heldBytes;
    this.#judge.hold.change(bytes - this.#chargedBytes);
    this.#chargedBytes = bytes;
  }

  #isWithinBounds(): boolean {
    const { hold, policy } = this.#judge;
    if (this.#heldBytes > policy.settings.egress.toolHoldBytes) return false;
    return this.#heldBytes === 0 || !hold.isExceeded;
  }

  /** The stream is over, whatever it still holds. */
  close(): void {
    this.#held = [];
    this.#heldBytes = 0;
    this.#judge.hold.change(-this.#chargedBytes);
    this.#chargedBytes = 0;
  }

  /** Nothing more is expected: a call that the upstream did not complete never gets a verdict of its own. */
  #finish(): Result<undefined> {
    const complete = [...this.#calls.values()].every(({ state }) => state !== "open");
    if (!complete && !this.#isOpen("malformed_arguments")) return fail("malformed_arguments");
    this.#letGo();
    return ok(undefined);
  }

  /** What is held leaves as it stands; of a call that is not complete, if its tool may be called at all. */
  #letGo(): void {
    for (const window of this.#windows.values()) window.flush();
    for (const call of this.#calls.values()) {
      if (call.state === "open") this.#judgeCall(call, "cut");
    }
  }

  /** True when the policy lets `cause` pass; it is remembered for the record. */
  #isOpen(cause: Cause): boolean {
    const open = this.#judge.policy.settings.failure[cause] === "allow";
    if (open) this.evidence.opened ??= cause;
    return open;
  }

  #take(frame: SseFrame): Result<undefined> {
    const read = this.#reader.read(frame);
    if (!read.ok && !this.#isOpen(read.cause)) return read;
    const view = read.ok ? read.value : opaque(frame);
    this.evidence.model ??= view.model;
    this.evidence.media ||= view.media;
    this.#terminal ||= view.terminal;
    const texts = this.#takeTexts(view);
    if (!texts.ok) return texts;
    for (const piece of view.calls) {
      const taken = this.#takeCall(piece);
      if (!taken.ok) return taken;
    }
    for (const channel of view.closes) this.#windows.get(channel)?.flush();
    if (view.failed) this.#providerFailed();
    this.#held.push({
      frame,
      root: view.root,
      failed: view.failed,
      texts: texts.value,
      calls: view.calls.map(({ key }) => key),
      settledTexts: 0,
      settledCalls: 0,
    });
    this.#heldBytes += frame.raw.length + FRAME_COST;
    return view.terminal ? this.#finish() : ok(undefined);
  }

  #takeTexts(view: FrameView): Result<readonly PlacedText[]> {
    const texts: PlacedText[] = [];
    for (const piece of view.texts) {
      const window = this.#windowOf(piece);
      if (window === undefined) return fail("hold_exceeded");
      const start = window.length;
      window.push(piece.literal.value);
      if (piece.whole) window.flush();
      const held = this.#boundWindow(window);
      if (!held.ok) return held;
      texts.push({ piece, start, end: window.length, window });
    }
    return ok(texts);
  }

  /** A whole text has a window to itself; every other channel keeps its own for as long as the stream lasts. */
  #windowOf({ channel, whole }: TextPiece): StreamWindow | undefined {
    const known = whole ? undefined : this.#windows.get(channel);
    if (known !== undefined) return known;
    const window = new StreamWindow(this.#judge.policy.controls.egress, this.evidence);
    if (whole) return window;
    if (this.#windows.size >= MAX_PARTS) return undefined;
    this.#windows.set(channel, window);
    return window;
  }

  #boundWindow(window: StreamWindow): Result<undefined> {
    const { holdBytes } = this.#judge.policy.settings.egress;
    if (window.length - window.released <= holdBytes) return ok(undefined);
    window.look();
    if (window.length - window.released <= holdBytes) return ok(undefined);
    if (!this.#isOpen("hold_exceeded")) return fail("hold_exceeded");
    window.flush();
    return ok(undefined);
  }

  #takeCall(piece: CallPiece): Result<undefined> {
    if (piece.kind === "open") {
      if (this.#calls.size >= MAX_PARTS) return fail("hold_exceeded");
      this.#calls.set(piece.key, { opened: piece, args: [], state: "open" });
      return ok(undefined);
    }
    const call = this.#calls.get(piece.key);
    if (call === undefined) return fail("unknown_shape");
    // Let go before: its verdict stands, and its fragments follow it.
    if (call.state !== "open") return ok(undefined);
    if (piece.kind === "args") call.args.push(piece.text);
    else this.#judgeCall(call, "complete");
    return ok(undefined);
  }

  #judgeCall(call: OpenCall, form: "complete" | "cut"): void {
    const { key, name, execution, argsForm } = call.opened;
    const args = new Content(call.args.join(""));
    const judged = judgeCall({ name, execution, argsForm, args, key }, this.#judge, form);
    call.state = "judged";
    call.args.length = 0;
    this.evidence.tools.push(judged.entry);
    this.evidence.actionMs += judged.ms;
    this.evidence.findings.add(judged.findings);
    this.evidence.refusal ??= judged.refusal;
    if (judged.sentence !== undefined) this.#refused.set(key, judged.sentence);
  }

  /** The provider ends the stream with an error of its own: it leaves, half a call does not. */
  #providerFailed(): void {
    this.evidence.providerFailed = true;
    for (const window of this.#windows.values()) window.flush();
    for (const call of this.#calls.values()) if (call.state === "open") call.state = "dropped";
  }

  #release(out: Uint8Array[]): void {
    for (let held = this.#held[this.#next]; held !== undefined; held = this.#held[this.#next]) {
      if (this.evidence.refusal !== undefined || !this.#isSettled(held)) break;
      this.#write(held, out);
      this.#heldBytes -= held.frame.raw.length + FRAME_COST;
      this.#next += 1;
    }
    const waiting = this.#held.at(-1);
    if (waiting !== undefined && this.#next < this.#held.length) waiting.root = undefined;
    // Cut the queue when half of it has left: no shift per frame, no growth with the stream.
    if (this.#next * 2 > this.#held.length) {
      this.#held = this.#held.slice(this.#next);
      this.#next = 0;
    }
  }

  #isSettled(held: HeldFrame): boolean {
    const { texts, calls } = held;
    for (let text = texts[held.settledTexts]; text !== undefined; text = texts[held.settledTexts]) {
      if (text.window.released < text.end) return false;
      held.settledTexts += 1;
    }
    for (let key = calls[held.settledCalls]; key !== undefined; key = calls[held.settledCalls]) {
      if (this.#calls.get(key)?.state === "open") return false;
      held.settledCalls += 1;
    }
    return true;
  }

  #write({ frame, root, failed, texts, calls }: HeldFrame, out: Uint8Array[]): void {
    const dropped = calls.filter((key) => this.#calls.get(key)?.state === "dropped");
    if (dropped.length > 0 && !failed) return;
    // An error that shares its frame with a piece of a call leaves without it.
    for (const key of dropped) this.#refused.set(key, "");
    const edits: Edit[] = [];
    for (const text of texts) {
      const own = this.#textEdits(text, frame.data ?? "");
      // One by one: there are as many as a model writes.
      for (const edit of own) edits.push(edit);
      if (own.length > 0) for (const edit of text.piece.companions) edits.push(edit);
    }
    if (this.evidence.refusal !== undefined) return;
    this.#hasSpoken ||= calls.length > 0 || texts.some(({ start, end }) => end > start);
    const writing = this.#reader.write(root ?? parsed(frame), this.#refused);
    if (writing.kind === "drop") return;
    const all = compose([...edits, ...writing.edits]);
    out.push(all.length === 0 ? frame.raw : withData(frame, applyEdits(frame.data ?? "", all)));
    if (writing.after !== "") out.push(Buffer.from(writing.after));
  }

  /** A redaction over several pieces: its replacement stands in the first, the others lose their share. */
  #textEdits({ piece, start, end, window }: PlacedText, data: string): readonly Edit[] {
    const redactions = window.redactionsIn(start, end);
    if (redactions.length === 0) return [];
    const shares = redactions.map(({ span, replacement, reason }) => {
      // A signed text is kept or refused whole: its client would send the edited one back and be turned away.
      if (piece.signed) this.evidence.refusal ??= reason;
      this.evidence.mutation ??= reason;
      const from = Math.max(span.start, start);
      return {
        span: { start: from - start, end: Math.min(span.end, end) - start },
        replacement: from === span.start ? replacement : "",
      };
    });
    return redactionEdits(data, piece.literal, shares);
  }
}

/** The data of a frame that has waited, once more; undefined for what is no JSON, as at the first reading. */
function parsed({ data }: SseFrame): JsonNode | undefined {
  const root = data === undefined ? undefined : parseJson(data, { depth: STREAM_JSON_DEPTH });
  return root?.ok === true ? root.value : undefined;
}

/** A frame that its dialect could not read and the policy lets pass unread. */
const opaque = (frame: SseFrame): FrameView => ({
  frame,
  root: undefined,
  texts: [],
  calls: [],
  closes: [],
  terminal: false,
  failed: false,
  model: undefined,
  media: false,
});
