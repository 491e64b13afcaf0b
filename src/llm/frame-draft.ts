/** What a dialect collects while it reads one frame of a stream. */
import { Content } from "../core/content.ts";
import type { Edit } from "../core/segment.ts";
import type { CallPiece, FrameView, TextPiece } from "./dialect.ts";
import type { SseFrame } from "./framing/sse.ts";
import type { JsonNode, JsonString } from "./json.ts";
import { type NoText, readText } from "./text.ts";

/** Frames of an API nest far less; what a tool returned may nest a little more. */
export const STREAM_JSON_DEPTH = 64;

export class FrameDraft {
  readonly #frame: SseFrame;
  readonly #root: JsonNode;
  readonly #texts: TextPiece[] = [];
  readonly calls: CallPiece[] = [];
  readonly closes: string[] = [];
  /** Edits that go with an edit of any text read from here on. */
  companions: readonly Edit[] = [];
  terminal = false;
  failed = false;
  media = false;
  model: string | undefined;

  constructor(frame: SseFrame, root: JsonNode) {
    this.#frame = frame;
    this.#root = root;
  }

  /** The next piece of a channel. Empty pieces say nothing. */
  text(channel: string, literal: JsonString, trust: "plain" | "signed" = "plain"): void {
    this.#piece(channel, literal, { signed: trust === "signed", whole: false });
  }

  /** Texts that come whole in this frame: each a channel of its own. */
  whole(node: JsonNode | undefined, noText: NoText, nextChannel: () => string): void {
    readText(node, (literal, trust) => this.wholeText(literal, trust, nextChannel()), noText);
  }

  /** One such text. */
  wholeText(literal: JsonString, trust: "plain" | "signed", channel: string): void {
    this.#piece(channel, literal, { signed: trust === "signed", whole: true });
  }

  #piece(
    channel: string,
    literal: JsonString,
    kind: { readonly signed: boolean; readonly whole: boolean },
  ): void {
    if (literal.value === "") return;
    this.#texts.push({ channel, literal, ...kind, companions: this.companions });
  }

  view(): FrameView {
    return {
      frame: this.#frame,
      root: this.#root,
      texts: this.#texts,
      calls: this.calls,
      closes: this.closes,
      terminal: this.terminal,
      failed: this.failed,
      model: this.model === undefined ? undefined : new Content(this.model),
      media: this.media,
    };
  }
}

/** A frame without JSON: a comment, a keep-alive, an end mark. */
export const silentFrame = (frame: SseFrame, end: "terminal" | "open" = "open"): FrameView => ({
  frame,
  root: undefined,
  texts: [],
  calls: [],
  closes: [],
  terminal: end === "terminal",
  failed: false,
  model: undefined,
  media: false,
});
