/**
 * Replies of the exchange in the words of ext_proc. The only place that writes its messages: header values go into
 * `raw_value` (Envoy reads no other), a mode override names both body modes (an unset one means no inspection), a
 * refusal always has a status (without one Envoy answers 200).
 */
import type { BodyMode, BodyReply, HeaderEdits, LocalReply } from "../../exchange/http.ts";
import { NO_EDITS } from "../../exchange/http.ts";
import type { Direction } from "./decode.ts";

type Message = Readonly<Record<string, unknown>>;

/** A reply on the wire, with what it carries of a body. `last`: nothing may be written after it. */
export type Encoded = {
  readonly message: Message;
  readonly bytes: number;
  readonly last: boolean;
};

/** Largest piece of a body in full duplex: the protocol says 64 KiB for the whole message. */
const MAX_PIECE_BYTES = 62_000;

/** @param stream that the response's body is to come in pieces from here on, and how the request's comes */
export function encodeHeaders(
  direction: Direction,
  edits: HeaderEdits,
  stream?: { readonly request: BodyMode },
): Encoded {
  const response = { header_mutation: encodeEdits(edits) };
  const mode = stream === undefined ? {} : { mode_override: streamedResponse(stream.request) };
  return { message: { [`${direction}_headers`]: { response }, ...mode }, bytes: 0, last: false };
}

/** The one reply to a body message in the buffered and streamed modes. */
export function encodeBody(
  direction: Direction,
  reply: Exclude<BodyReply, { kind: "refuse" | "silent" }>,
): Encoded {
  const edits = "edits" in reply ? reply.edits : NO_EDITS;
  const response = { header_mutation: encodeEdits(edits), ...bodyMutation(reply) };
  const bytes = "body" in reply ? reply.body.length : 0;
  return { message: { [`${direction}_body`]: { response } }, bytes, last: false };
}

function bodyMutation(reply: Exclude<BodyReply, { kind: "refuse" | "silent" }>): Message {
  if (reply.kind === "pass") return {};
  // An empty `body` is a replacement that Envoy reads as "unchanged" in some releases: say clear instead.
  const isEmpty = reply.kind === "withhold" || reply.body.length === 0;
  return { body_mutation: isEmpty ? { clear_body: true } : { body: reply.body } };
}

/** Bytes of a body in full duplex, where nothing but what we send leaves; at least one message. */
export function encodePieces(
  direction: Direction,
  bytes: Uint8Array,
  end: "last" | "more",
): readonly Encoded[] {
  const pieces: Encoded[] = [];
  let at = 0;
  do {
    const body = bytes.subarray(at, at + MAX_PIECE_BYTES);
    at += MAX_PIECE_BYTES;
    const streamed_response = { body, end_of_stream: end === "last" && at >= bytes.length };
    const response = { body_mutation: { streamed_response } };
    const message = { [`${direction}_body`]: { response } };
    pieces.push({ message, bytes: body.length, last: false });
  } while (at < bytes.length);
  return pieces;
}

export const encodeTrailers = (direction: Direction): Encoded => ({
  message: { [`${direction}_trailers`]: {} },
  bytes: 0,
  last: false,
});

export function encodeRefusal({ status, headers, body, details }: LocalReply): Encoded {
  const response = {
    status: { code: status },
    headers: encodeEdits({ set: headers, remove: [] }),
    body: Buffer.from(body),
    details,
  };
  return { message: { immediate_response: response }, bytes: body.length, last: true };
}

const MODES = {
  hidden: "NONE",
  buffered: "BUFFERED",
  streamed: "STREAMED",
  duplex: "FULL_DUPLEX_STREAMED",
} as const satisfies Record<BodyMode, string>;

/**
 * Both body modes, always: the override counts for the request too, and an unset one is NONE. The other modes are left
 * out, which means as configured.
 */
const streamedResponse = (request: BodyMode): Message => ({
  request_body_mode: MODES[request],
  response_body_mode: "STREAMED",
});

const encodeEdits = ({ set, remove }: HeaderEdits): Message => ({
  set_headers: set.map(([key, value]) => ({
    header: { key, raw_value: Buffer.from(value, "latin1") },
    append: { value: false },
    append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
  })),
  remove_headers: remove,
});
