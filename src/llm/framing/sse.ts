/**
 * Server-sent events (WHATWG HTML, section 9.2) cut into frames at byte level: the same frames however the
 * bytes are cut, and the frames' bytes together are the input. Lines end in LF, CRLF or CR.
 *
 * A frame leaves when its blank line is complete. With CR that is at the CR, and an LF after it opens the next
 * frame; but behind a line that ended in CRLF the LF is waited for, because clients wait for it as well and
 * would get every event one event late. Blank lines without a field before them belong to the next frame; a
 * byte order mark at the start is a frame of its own, so that no line begins with it.
 *
 * A line that is no comment and has no field of the specification is refused, though the specification skips
 * it: the official clients take a byte order mark off every line, so that `data` behind one is an event to
 * them; and a body that is no stream at all does not pass as a stream without events.
 */
import { fail, ok, type Result } from "../../core/cause.ts";
import { decodeUtf8 } from "../json.ts";

export type SseFrame = {
  /** The bytes as they came, terminator included. */
  readonly raw: Uint8Array;
  readonly event: string | undefined;
  /** `data:` lines joined with LF; undefined when the frame has none. */
  readonly data: string | undefined;
};

const LF = 0x0a;
const CR = 0x0d;
const BOM = [0xef, 0xbb, 0xbf];
const FIELDS: ReadonlySet<string> = new Set(["data", "event", "id", "retry"]);
const isLineEnd = (unit: number): boolean => unit === LF || unit === CR;

export class SseFramer {
  readonly #limitBytes: number;
  /** The unfinished frame: `#held[0, #length)`. Grows by doubling, so single bytes cost linear time. */
  #held = new Uint8Array(0);
  #length = 0;
  /** Bytes of the mark seen at the start; -1 when the stream has got beyond it. */
  #bom = 0;
  #afterCr = false;
  /** The line before ended in CRLF; the frame is complete but for the LF behind its CR. */
  #afterCrlf = false;
  #awaitsLf = false;
  /** The current line has bytes; the current frame has a line with bytes. */
  #lineBegun = false;
  #frameBegun = false;
  /** The stream has had a frame: nothing that follows is its byte order mark. */
  #begun = false;
  /** Once refused, always refused: what follows a gap has no meaning. */
  #failure: ReturnType<typeof fail> | undefined;

  /** @param limitBytes largest frame, terminator included */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /**
   * The frames that `chunk` completes. Those before a refused one still come, and the cause with the next call:
   * what is delivered before a refusal does not depend on the cut either.
   */
  push(chunk: Uint8Array): Result<readonly SseFrame[]> {
    const frames: SseFrame[] = [];
    let from = 0;
    for (let at = 0; this.#failure === undefined; at += 1) {
      if (this.#isWithinLine) at = lineEnd(chunk, at);
      if (at >= chunk.length) break;
      const cut = this.#cutAt(chunk[at] ?? 0);
      if (cut === "none") continue;
      const next = cut === "after" ? at + 1 : at;
      this.#add(frames, this.#take(chunk.subarray(from, next)));
      from = next;
    }
    if (this.#failure === undefined) this.#hold(chunk.subarray(from));
    return frames.length > 0 ? ok(frames) : (this.#failure ?? ok(frames));
  }

  /** Bytes of the unfinished frame. */
  get heldBytes(): number {
    return this.#length;
  }

  /** The unterminated last frame: some clients read it, so it is content. */
  end(): Result<readonly SseFrame[]> {
    const frames: SseFrame[] = [];
    if (this.#failure === undefined && this.#length > 0) {
      this.#add(frames, this.#take(new Uint8Array(0)));
    }
    return this.#failure ?? ok(frames);
  }

  /** Nothing but the end of the line changes the state. */
  get #isWithinLine(): boolean {
    return this.#lineBegun && this.#bom < 0;
  }

  /** One byte of the state machine: whether a frame ends before it or after it. */
  #cutAt(byte: number): "none" | "before" | "after" {
    if (this.#endsBom(byte)) return "after";
    const awaited = this.#awaitsLf;
    this.#awaitsLf = false;
    const continuesCr = this.#afterCr && byte === LF;
    this.#afterCr = byte === CR;
    if (awaited && continuesCr) return "after";
    const cut = awaited ? "before" : "none";
    if (continuesCr) {
      this.#afterCrlf = true;
    } else if (!isLineEnd(byte)) {
      this.#lineBegun = true;
      this.#frameBegun = true;
    } else {
      const ends = !this.#lineBegun && this.#frameBegun;
      this.#awaitsLf = ends && byte === CR && this.#afterCrlf;
      this.#afterCrlf = false;
      this.#lineBegun = false;
      if (ends) this.#frameBegun = false;
      if (ends && !this.#awaitsLf) return "after";
    }
    return cut;
  }

  /** True at the last byte of a byte order mark at the start. */
  #endsBom(byte: number): boolean {
    if (this.#bom < 0) return false;
    this.#bom = byte === BOM[this.#bom] ? this.#bom + 1 : -1;
    if (this.#bom < BOM.length) return false;
    this.#bom = -1;
    this.#lineBegun = false;
    this.#frameBegun = false;
    return true;
  }

  /** The held bytes and `tail`, as a copy of their own. */
  #take(tail: Uint8Array): Uint8Array {
    if (this.#length === 0) return tail;
    this.#hold(tail);
    const raw = this.#held.slice(0, this.#length);
    this.#length = 0;
    return raw;
  }

  #hold(bytes: Uint8Array): void {
    const length = this.#length + bytes.length;
    if (length > this.#limitBytes) {
      this.#failure = fail("hold_exceeded");
      return;
    }
    if (length > this.#held.length) {
      const grown = new Uint8Array(Math.min(Math.max(length * 2, 256), this.#limitBytes));
      grown.set(this.#held.subarray(0, this.#length));
      this.#held = grown;
    }
    this.#held.set(bytes, this.#length);
    this.#length = length;
  }

  #add(frames: SseFrame[], raw: Uint8Array): void {
    if (raw.length > this.#limitBytes) this.#failure = fail("hold_exceeded");
    if (this.#failure !== undefined) return;
    const text = decodeUtf8(raw);
    const isMark = !this.#begun && text.ok && text.value === "\ufeff";
    this.#begun = true;
    const fields = text.ok ? fieldsOf(isMark ? "" : text.value) : text;
    if (fields.ok) frames.push({ raw, ...fields.value });
    else this.#failure = fields;
  }
}

function lineEnd(bytes: Uint8Array, from: number): number {
  let at = from;
  while (at < bytes.length && bytes[at] !== LF && bytes[at] !== CR) at += 1;
  return at;
}

/** A line without its end, and the end. */
type Line = { readonly text: string; readonly end: string };

function linesOf(text: string): readonly Line[] {
  const lines: Line[] = [];
  for (let at = 0; at < text.length; ) {
    let stop = at;
    while (stop < text.length && !isLineEnd(text.charCodeAt(stop))) stop += 1;
    const next = text.startsWith("\r\n", stop) ? stop + 2 : Math.min(stop + 1, text.length);
    lines.push({ text: text.slice(at, stop), end: text.slice(stop, next) });
    at = next;
  }
  return lines;
}

/** The field of a line; undefined for blank lines and comments. One space after the colon is not value. */
function fieldOf(line: string): { readonly name: string; readonly value: string } | undefined {
  const colon = line.indexOf(":");
  if (line === "" || colon === 0) return undefined;
  if (colon < 0) return { name: line, value: "" };
  const from = line[colon + 1] === " " ? colon + 2 : colon + 1;
  return { name: line.slice(0, colon), value: line.slice(from) };
}

function fieldsOf(text: string): Result<Pick<SseFrame, "event" | "data">> {
  const data: string[] = [];
  let event: string | undefined;
  for (const line of linesOf(text)) {
    const field = fieldOf(line.text);
    if (field === undefined) continue;
    if (!FIELDS.has(field.name)) return fail("unknown_shape");
    if (field.name === "data") data.push(field.value);
    else if (field.name === "event") event = field.value === "" ? undefined : field.value;
  }
  return ok({ event, data: data.length === 0 ? undefined : data.join("\n") });
}

/** The frame's bytes with `data` replaced; its other lines, and the form of its data lines, stay. */
export function withData(frame: SseFrame, data: string): Uint8Array {
  const pieces: string[] = [];
  let written = false;
  for (const line of linesOf(new TextDecoder("utf-8", { ignoreBOM: true }).decode(frame.raw))) {
    if (fieldOf(line.text)?.name !== "data") {
      pieces.push(line.text, line.end);
    } else if (!written) {
      written = true;
      const prefix = line.text.startsWith("data: ") ? "data: " : "data:";
      // An unterminated last line has no end of its own, but needs one between several data lines.
      const end = line.end === "" ? "\n" : line.end;
      // One space after the colon is lost in reading: a value that begins with one needs it.
      const lines = data.split("\n").map((text) => (text[0] === " " ? "data: " : prefix) + text);
      pieces.push(lines.join(end), line.end);
    }
  }
  return new TextEncoder().encode(pieces.join(""));
}

/** Whether bytes end with a line end: a whole frame does, an unterminated last one does not. */
export const endsFrame = (bytes: Uint8Array | undefined): boolean => {
  const last = bytes?.at(-1);
  return last === 0x0a || last === 0x0d;
};
