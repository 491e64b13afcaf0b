/**
 * One direction of a stream: turns what the exchange says of headers and body into the messages that Envoy's body
 * send mode asks for. Buffered and streamed: one reply to each message. Full duplex: as many as there is to send,
 * in pieces, and the headers reply waits until the first of them is due.
 */
import { status as Code } from "@grpc/grpc-js";
import { LimenError } from "../../core/errors.ts";
import type {
  BodyChunk,
  BodyMode,
  BodyModes,
  BodyReply,
  HeaderEdits,
  HeadersReply,
} from "../../exchange/http.ts";
import { NO_EDITS } from "../../exchange/http.ts";
import { StatusError } from "../call.ts";
import type { Direction } from "./decode.ts";
import {
  type Encoded,
  encodeBody,
  encodeHeaders,
  encodePieces,
  encodeRefusal,
  encodeTrailers,
} from "./encode.ts";

/** The exchange's part of one direction. */
export type Judge<Head> = {
  readonly headers: (head: Head) => Promise<HeadersReply>;
  readonly body: (chunk: BodyChunk) => Promise<BodyReply>;
};

type Release = Exclude<BodyReply, { kind: "refuse" | "silent" }>;

const NOTHING: readonly Encoded[] = [];
const EMPTY = new Uint8Array(0);

export class Side<Head extends { readonly endOfStream: boolean }> {
  readonly #direction: Direction;
  readonly #judge: Judge<Head>;
  readonly #modes: BodyModes;
  /** As configured, until the response is asked for in pieces. */
  #mode: BodyMode;
  /** The headers reply that waits, in full duplex. */
  #waiting: HeaderEdits | undefined;
  /** `complete`: Envoy has sent all of it. `cut`: we have ended it, whatever Envoy still sends. */
  #phase: "before" | "open" | "complete" | "cut" = "before";
  #isWhole = false;

  constructor(direction: Direction, modes: BodyModes, judge: Judge<Head>) {
    this.#direction = direction;
    this.#modes = modes;
    this.#mode = modes[direction];
    this.#judge = judge;
  }

  async headers(head: Head): Promise<readonly Encoded[]> {
    if (this.#phase !== "before") throw outOfOrder("headers of a direction come twice");
    this.#phase = "open";
    const reply = await this.#judge.headers(head);
    if (reply.kind === "refuse") return this.#refuse(reply);
    this.#isWhole = reply.reading === "whole";
    if (head.endOfStream) {
      this.#phase = "complete";
      return [encodeHeaders(this.#direction, reply.edits)];
    }
    if (this.#mode === "duplex" && reply.reading !== "unread") {
      this.#waiting = reply.edits;
      return NOTHING;
    }
    // Told to keep lengths (allow_content_length_header), Envoy would frame another body by the one that came.
    const isLengthKnown = this.#mode !== "streamed" || !this.#isWhole;
    const edits = isLengthKnown ? reply.edits : withoutLength(reply.edits);
    const isFreed = this.#direction === "response" && this.#mode === "buffered" && !this.#isWhole;
    if (isFreed) this.#mode = "streamed";
    return [encodeHeaders(this.#direction, edits, isFreed ? this.#modes : undefined)];
  }

  async body({ bytes, endOfStream }: BodyChunk): Promise<readonly Encoded[]> {
    if (this.#phase === "before") throw outOfOrder("a body comes before its headers");
    // A second end of stream is possible, and gets no reply (envoyproxy/envoy#46237).
    if (this.#phase !== "open") return NOTHING;
    // A buffered body is all there is, also where trailers follow and nothing is marked as the end.
    const chunk = { bytes, endOfStream: endOfStream || this.#mode === "buffered" };
    if (chunk.endOfStream) this.#phase = "complete";
    const reply = await this.#judge.body(chunk);
    switch (reply.kind) {
      case "refuse":
        return this.#refuse(reply);
      case "silent":
        return NOTHING;
      default:
        return this.#mode === "duplex"
          ? this.#pieces(reply, chunk, endOfStream ? "last" : "more")
          : [encodeBody(this.#direction, reply)];
    }
  }

  /** Trailers end a direction whose body had no last piece. They can carry nothing of it. */
  async trailers(): Promise<readonly Encoded[]> {
    if (this.#phase === "before") throw outOfOrder("trailers come before their headers");
    if (this.#phase === "cut") return NOTHING;
    const before = this.#phase === "open" ? await this.#endByTrailers() : NOTHING;
    if (before.some(({ last }) => last)) return before;
    return [...before, encodeTrailers(this.#direction)];
  }

  async #endByTrailers(): Promise<readonly Encoded[]> {
    this.#phase = "complete";
    if (this.#mode === "streamed" && this.#isWhole) throw unsendable();
    const end = { bytes: EMPTY, endOfStream: true };
    const reply = await this.#judge.body(end);
    if (reply.kind === "refuse") return this.#refuse(reply);
    if (reply.kind === "silent") return NOTHING;
    if (this.#mode === "duplex") return this.#pieces(reply, end, "more");
    if (bytesOf(reply, end).length > 0) throw unsendable();
    return NOTHING;
  }

  /** @param end `last`: Envoy marked this piece as the last one, and so do we */
  #pieces(reply: Release, chunk: BodyChunk, end: "last" | "more"): readonly Encoded[] {
    const bytes = bytesOf(reply, chunk);
    const mark = reply.kind === "end" ? "last" : end;
    if (reply.kind === "end") this.#phase = "cut";
    const isPiece = bytes.length > 0 || mark === "last";
    // A body that ends by trailers may have no piece at all: the headers that waited for one leave all the same.
    if (!isPiece && !chunk.endOfStream) return NOTHING;
    const edits = "edits" in reply ? reply.edits : NO_EDITS;
    const pieces = isPiece ? encodePieces(this.#direction, bytes, mark) : NOTHING;
    return [...this.#headersNow(edits), ...pieces];
  }

  #headersNow(edits: HeaderEdits): readonly Encoded[] {
    const waiting = this.#waiting;
    if (waiting === undefined) return NOTHING;
    this.#waiting = undefined;
    const set = [...waiting.set, ...edits.set];
    const remove = [...waiting.remove, ...edits.remove];
    return [encodeHeaders(this.#direction, { set, remove })];
  }

  #refuse({ reply }: { readonly reply: Parameters<typeof encodeRefusal>[0] }): readonly Encoded[] {
    this.#phase = "cut";
    this.#waiting = undefined;
    return [encodeRefusal(reply)];
  }
}

const withoutLength = ({ set, remove }: HeaderEdits): HeaderEdits => ({
  set,
  remove: [...remove, "content-length"],
});

function bytesOf(reply: Release, { bytes }: BodyChunk): Uint8Array {
  switch (reply.kind) {
    case "pass":
      return bytes;
    case "withhold":
      return EMPTY;
    case "replace":
    case "end":
      return reply.body;
  }
}

const outOfOrder = (what: string): LimenError =>
  new LimenError("protocol", {
    where: "ext_proc stream",
    what,
    fix: "send the headers of both directions: request_header_mode and response_header_mode SEND",
  });

/** In streamed mode a reply to trailers has no room for the bytes that were held back. */
const unsendable = (): StatusError =>
  new StatusError(
    Code.FAILED_PRECONDITION,
    "limen: trailers behind a streamed body: use FULL_DUPLEX_STREAMED",
  );
