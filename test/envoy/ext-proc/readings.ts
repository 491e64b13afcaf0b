/** One message of Envoy, read by the decoder that Limen uses and by a second one: they must agree. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { decode, type EnvoyEvent } from "../../../src/envoy/ext-proc/decode.ts";
import { encodeBody, encodeHeaders } from "../../../src/envoy/ext-proc/encode.ts";
import { externalProcessor } from "../../../src/envoy/proto.ts";
import { NO_EDITS, PASS } from "../../../src/exchange/http.ts";
import { NO_TRUST } from "../trust.ts";
import { type Decoded, readRequest } from "./second-decoder.ts";

export const VECTORS = fileURLToPath(new URL("../../vectors/ext-proc.json", import.meta.url));

const { Process } = externalProcessor;
assert.ok(Process);
const service = Process;

/** Bytes of one reply. */
export const serialize = (reply: object): Buffer => service.responseSerialize(reply);

/** Bytes of one message of Envoy. */
export const requestBytes = (message: object): Buffer => service.requestSerialize(message);
export const read = (bytes: Buffer) => decode(service.requestDeserialize(bytes), NO_TRUST);

type Head = { headers: Map<string, string>; endOfStream: boolean };

/** What the second decoder says, in the words of the first. */
function headOf(body: Decoded): Head {
  const list = (body["headers"] as Decoded)["headers"] as { key: string; raw_value: string }[];
  return {
    headers: new Map(list.map(({ key, raw_value }) => [key, raw_value ?? ""])),
    endOfStream: body["end_of_stream"] === true,
  };
}

/** @returns what Limen reads, after the second decoder has agreed to all of it */
export function bothReadings(bytes: Buffer): EnvoyEvent {
  const { event, modes } = read(bytes);
  assert.ok(event !== undefined);
  const second = readRequest(bytes);
  const body = second[event.kind] as Decoded;
  assert.ok(body !== undefined, `the second decoder sees no ${event.kind}`);
  if (event.kind === "request_headers" || event.kind === "response_headers") {
    const { headers, endOfStream } = headOf(body);
    assert.deepEqual(event.head.headers, headers);
    assert.equal(event.head.endOfStream, endOfStream);
    assert.ok(headers.size > 3);
  }
  if (event.kind === "request_body" || event.kind === "response_body") {
    assert.equal(Buffer.from(event.chunk.bytes).toString("latin1"), body["body"] ?? "");
    assert.equal(event.chunk.endOfStream, body["end_of_stream"] === true);
  }
  const config = second["protocol_config"] as Decoded | undefined;
  if (config === undefined) assert.equal(modes, undefined);
  else assert.deepEqual(config, { request_body_mode: 2, response_body_mode: 2 });
  return event;
}

/** The reply that changes nothing; an event stream flows. */
export function agreeTo(bytes: Buffer): object {
  const { event } = read(bytes);
  assert.ok(event !== undefined);
  const direction = event.kind.startsWith("request") ? "request" : "response";
  if (event.kind.endsWith("_body")) return encodeBody(direction, PASS).message;
  const streamed =
    event.kind === "response_headers" &&
    event.head.headers.get("content-type")?.startsWith("text/event-stream") === true;
  const stream = streamed ? ({ request: "buffered" } as const) : undefined;
  return encodeHeaders(direction, NO_EDITS, stream).message;
}
