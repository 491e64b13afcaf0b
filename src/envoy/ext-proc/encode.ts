/**
 * Replies of the exchange in the words of ext_proc. The only place that writes its messages: header values go into
 * `raw_value` (Envoy reads no other), a mode override names both body modes (an unset one means no inspection), a
 * refusal always has a status (without one Envoy answers 200).
 */
import type { BodyReply, HeaderEdits, HeadersReply, LocalReply } from "../../exchange/http.ts";
import type { Direction } from "./decode.ts";

type Message = Readonly<Record<string, unknown>>;

/** A reply on the wire; `last`: nothing may be written after it. */
export type Encoded = { readonly message: Message; readonly last: boolean };

export function encodeHeadersReply(direction: Direction, reply: HeadersReply): Encoded {
  if (reply.kind === "refuse") return encodeRefusal(reply.reply);
  const response = { header_mutation: encodeEdits(reply.edits) };
  const override =
    reply.responseBody === undefined ? {} : { mode_override: modeOverride(reply.responseBody) };
  return { message: { [`${direction}_headers`]: { response }, ...override }, last: false };
}

/** @returns undefined for a message that gets no reply */
export function encodeBodyReply(direction: Direction, reply: BodyReply): Encoded | undefined {
  switch (reply.kind) {
    case "silent":
      return undefined;
    case "refuse":
      return encodeRefusal(reply.reply);
    case "pass": {
      const response = { header_mutation: encodeEdits(reply.edits) };
      return { message: { [`${direction}_body`]: { response } }, last: false };
    }
    case "replace": {
      // An empty `body` is a replacement that Envoy reads as "unchanged" in some releases: say clear instead.
      const mutation = reply.body.length === 0 ? { clear_body: true } : { body: reply.body };
      const response = { header_mutation: encodeEdits(reply.edits), body_mutation: mutation };
      return { message: { [`${direction}_body`]: { response } }, last: false };
    }
  }
}

export const encodeTrailersReply = (direction: Direction): Encoded => ({
  message: { [`${direction}_trailers`]: {} },
  last: false,
});

function encodeRefusal({ status, headers, body, details }: LocalReply): Encoded {
  const response = {
    status: { code: status },
    headers: encodeEdits({ set: headers, remove: [] }),
    body: Buffer.from(body),
    details,
  };
  return { message: { immediate_response: response }, last: true };
}

/** Both body modes, always, and the others spelled out: Envoy compares them with its allowed_override_modes. */
const modeOverride = (response: "buffered" | "streamed"): Message => ({
  request_header_mode: "SEND",
  response_header_mode: "SEND",
  request_body_mode: "BUFFERED",
  response_body_mode: response === "streamed" ? "STREAMED" : "BUFFERED",
  request_trailer_mode: "SKIP",
  response_trailer_mode: "SKIP",
});

const encodeEdits = ({ set, remove }: HeaderEdits): Message => ({
  set_headers: set.map(([key, value]) => ({
    header: { key, raw_value: Buffer.from(value, "latin1") },
    append: { value: false },
    append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
  })),
  remove_headers: remove,
});
