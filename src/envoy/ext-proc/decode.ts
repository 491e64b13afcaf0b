/**
 * The wire's loose objects become a closed union; what does not fit is the peer's fault and ends the call. The only
 * place that reads messages of ext_proc (envoy.service.ext_proc.v3).
 */
import { LimenError } from "../../core/errors.ts";
import type { Trust } from "../../core/identity.ts";
import type {
  BodyChunk,
  BodyMode,
  BodyModes,
  Headers,
  RequestHead,
  ResponseHead,
} from "../../exchange/http.ts";
import { identityOf } from "../identity.ts";
import { metadata } from "../proto.ts";
import { entryOf, fieldOf, textOf } from "../struct.ts";

export type Direction = "request" | "response";

export type EnvoyEvent =
  | { readonly kind: "request_headers"; readonly head: RequestHead }
  | { readonly kind: "response_headers"; readonly head: ResponseHead }
  | { readonly kind: "request_body"; readonly chunk: BodyChunk }
  | { readonly kind: "response_body"; readonly chunk: BodyChunk }
  | { readonly kind: "request_trailers" }
  | { readonly kind: "response_trailers" };

export type EnvoyMessage = {
  /** Undefined for messages that ask for no reply: flow control, unknown kinds without a payload. */
  readonly event: EnvoyEvent | undefined;
  /** How Envoy sends bodies on this stream; only said in its first message, from 1.34 on. */
  readonly modes: BodyModes | undefined;
  /** Nothing that is replied is read: no replies. */
  readonly observed: boolean;
};

/** Envoy's key of the attributes, whatever the filter's own name is. */
const ATTRIBUTES = "envoy.filters.http.ext_proc";
/** `response.code_details` of a response that came from the upstream; everything else is Envoy's own. */
const FROM_UPSTREAM = "via_upstream";

type Wire = Record<string, unknown>;

const broken = (what: string): LimenError =>
  new LimenError("protocol", {
    where: "ext_proc message",
    what,
    fix: "use an Envoy that speaks envoy.service.ext_proc.v3",
  });

const wire = (value: unknown, what: string): Wire => {
  if (typeof value !== "object" || value === null) throw broken(`${what} is missing`);
  return value as Wire;
};

/** @param trust what of the proxy's words about the sender is believed */
export function decode(message: unknown, trust: Trust): EnvoyMessage {
  const fields = wire(message, "the message");
  const config = fields["protocol_config"];
  const modes = config == null ? undefined : decodeModes(wire(config, "protocol_config"));
  const observed = fields["observability_mode"] === true;
  return { event: decodeEvent(fields, trust), modes, observed };
}

const MODES: ReadonlyMap<unknown, BodyMode> = new Map([
  ["BUFFERED", "buffered"],
  ["STREAMED", "streamed"],
  ["FULL_DUPLEX_STREAMED", "duplex"],
]);

/** Partly shown is not shown; GRPC shows a body that is there before its headers are answered, and no other. */
const decodeMode = (word: unknown): BodyMode => MODES.get(word) ?? "hidden";

const decodeModes = (config: Wire): BodyModes => ({
  request: decodeMode(config["request_body_mode"]),
  response: decodeMode(config["response_body_mode"]),
});

function decodeEvent(fields: Wire, trust: Trust): EnvoyEvent | undefined {
  const kind = fields["request"];
  if (typeof kind !== "string") return undefined;
  const body = wire(fields[kind], kind);
  switch (kind) {
    case "request_headers":
      return { kind, head: decodeRequestHead(body, fields, trust) };
    case "response_headers":
      return { kind, head: decodeResponseHead(body, fields) };
    case "request_body":
    case "response_body":
      return { kind, chunk: decodeChunk(body) };
    case "request_trailers":
    case "response_trailers":
      return { kind };
    default:
      throw broken("its kind is unknown");
  }
}

function decodeRequestHead(body: Wire, fields: Wire, trust: Trust): RequestHead {
  const headers = decodeHeaders(body);
  const said = { principal: principalIn(fields), headers, metadata: decodeMetadata(fields) };
  return {
    method: headers.get(":method") ?? "",
    path: headers.get(":path") ?? "",
    headers,
    route: attribute(fields, "xds.route_name") ?? "",
    identity: identityOf(said, trust),
    endOfStream: body["end_of_stream"] === true,
  };
}

function decodeResponseHead(body: Wire, fields: Wire): ResponseHead {
  const headers = decodeHeaders(body);
  const details = attribute(fields, "response.code_details");
  return {
    status: Number(headers.get(":status") ?? "0"),
    headers,
    endOfStream: body["end_of_stream"] === true,
    local: details !== undefined && details !== "" && details !== FROM_UPSTREAM,
  };
}

const decodeChunk = (body: Wire): BodyChunk => {
  const bytes = body["body"];
  return {
    bytes: bytes instanceof Uint8Array ? bytes : new Uint8Array(0),
    endOfStream: body["end_of_stream"] === true,
  };
};

function decodeHeaders(body: Wire): Headers {
  const list = wire(body["headers"], "headers")["headers"];
  const headers = new Map<string, string>();
  for (const entry of Array.isArray(list) ? list : []) {
    const { key, raw_value: raw } = wire(entry, "a header");
    if (typeof key !== "string") throw broken("a header has no name");
    // Envoy sends lower-case names; other speakers of the protocol may not.
    const name = key.toLowerCase();
    const value = raw instanceof Uint8Array ? Buffer.from(raw).toString("latin1") : "";
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return headers;
}

function decodeMetadata(fields: Wire): unknown {
  const bytes = fields["metadata_context"];
  if (!(bytes instanceof Uint8Array) || bytes.length === 0) return undefined;
  try {
    return metadata.deserialize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length));
  } catch {
    throw broken("its metadata cannot be read"); // no message, or one that is nested too deeply
  }
}

/** Where a waypoint of Istio keeps the name of the tunnel's certificate: the listener that reads requests has no TLS. */
const TUNNEL_PRINCIPAL = "filter_state['io.istio.peer_principal']";

/** The certificate of the connection itself comes first; "" when there is none. */
const principalIn = (fields: Wire): string =>
  attribute(fields, "connection.uri_san_peer_certificate") ||
  (attribute(fields, TUNNEL_PRINCIPAL) ?? "");

/** A string attribute, or undefined when Envoy did not send it. */
const attribute = (fields: Wire, name: string): string | undefined =>
  textOf(fieldOf(entryOf(fields["attributes"], ATTRIBUTES), name));
