/**
 * The interface that every LLM API implements, and the only thing the exchange knows of an API. A dialect
 * reads bodies and stream frames into the shapes of `core/inference.ts` and says which edits of the
 * original text express a decision; it never re-serialises a body and never decides anything.
 */
import type { DecisionId } from "../core/brand.ts";
import type { Result } from "../core/cause.ts";
import type { Content } from "../core/content.ts";
import type {
  DialectId,
  Execution,
  InferenceRequest,
  InferenceResponse,
} from "../core/inference.ts";
import type { Edit } from "../core/segment.ts";
import type { Reason } from "../core/verdict.ts";
import type { SseFrame } from "./framing/sse.ts";
import type { JsonNode, JsonString } from "./json.ts";

/** A refusal as a client reads it: a stable reason and an id, nothing about rules, patterns or scores. */
export type Refusal = {
  readonly reason: Reason;
  readonly status: number;
  readonly decisionId: DecisionId;
};

/** Refused calls of one response: `ToolCall.key` to the sentence that stands in the call's place. */
export type Refused = ReadonlyMap<string, string>;

/** A text delta of one frame. */
export type TextPiece = {
  /** One egress window each: choice or block, and kind of text. */
  readonly channel: string;
  /** The literal in the frame's `data`. */
  readonly literal: JsonString;
  readonly signed: boolean;
  /** The text begins and ends in this frame (a citation, a search result): its channel never has another. */
  readonly whole: boolean;
  /** Edits that go with any edit of this text, e.g. log probabilities that spell it become null. */
  readonly companions: readonly Edit[];
};

export type CallPiece =
  | {
      readonly kind: "open";
      readonly key: string;
      readonly name: Content;
      readonly execution: Execution;
      readonly argsForm: "json" | "text";
    }
  | { readonly kind: "args"; readonly key: string; readonly text: string }
  /** No more fragments of this call: it can be judged. */
  | { readonly kind: "close"; readonly key: string };

/** What one frame of a stream holds. */
export type FrameView = {
  readonly frame: SseFrame;
  /** The frame's `data` as JSON; undefined for comments, keep-alives and `[DONE]`. */
  readonly root: JsonNode | undefined;
  readonly texts: readonly TextPiece[];
  readonly calls: readonly CallPiece[];
  /**
   * Channels that normally get no more text after this frame (block stop, finish reason, the first content after
   * reasoning): what is held of them is judged as it stands, so that later frames do not wait for nothing.
   */
  readonly closes: readonly string[];
  /** The dialect's last event: nothing that matters follows, everything held leaves with it. */
  readonly terminal: boolean;
  /** The provider reports an error in the stream. */
  readonly failed: boolean;
  readonly model: Content | undefined;
  readonly media: boolean;
};

/** How a frame leaves: with edits of its `data` (none: its bytes as they came), or not at all; `after` follows it. */
export type FrameWriting =
  | { readonly kind: "keep"; readonly edits: readonly Edit[]; readonly after: string }
  | { readonly kind: "drop" };

/** Reads one streamed response. */
export interface StreamReader {
  read(frame: SseFrame): Result<FrameView>;
  /**
   * Called once for every frame, in order, when it is about to leave: takes the refused calls out of it,
   * puts their sentence in their place and keeps indexes and the stop reason consistent.
   * @param root the frame's `FrameView.root`
   */
  write(root: JsonNode | undefined, refused: Refused): FrameWriting;
}

export interface Dialect {
  readonly id: DialectId;
  /** Whether method and path (without query) are this API's; the shape of the body confirms it. */
  claims(method: string, path: string): boolean;
  readRequest(root: JsonNode): Result<InferenceRequest>;
  readResponse(root: JsonNode): Result<InferenceResponse>;
  /** Edits that take tool definitions (`ToolDefinition.index`) out of a request. */
  withoutTools(text: string, root: JsonNode, indexes: ReadonlySet<number>): readonly Edit[];
  /** Edits that take refused calls out of a buffered response: the same result as in a stream. */
  withoutCalls(text: string, root: JsonNode, refused: Refused): readonly Edit[];
  /** Edits that go with edits of the string literals that start there (log probabilities); each of them once. */
  companions(root: JsonNode, literalStarts: ReadonlySet<number>): readonly Edit[];
  openStream(): StreamReader;
  /** The JSON body of a refusal before the first byte, as the official client libraries read it. */
  refusalBody(refusal: Refusal): string;
  /** The event(s) that end a stream whose headers are already out. */
  refusalEvent(refusal: Refusal): string;
}
