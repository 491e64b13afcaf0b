/**
 * A check's loose object becomes what the gate judges; what does not fit is the peer's fault and ends the call. The
 * only place that reads messages of ext_authz (envoy.service.auth.v3).
 */
import { LimenError } from "../../core/errors.ts";
import type { Trust } from "../../core/identity.ts";
import type { GateRequest, ShownBody } from "../../exchange/gate.ts";
import type { Headers } from "../../exchange/http.ts";
import { identityOf } from "../identity.ts";
import { entryOf } from "../struct.ts";

/**
 * Says that the body was buffered, and whether all of it is in the check. Envoy writes it over what a client sent;
 * where it reads no body it writes none, and takes the client's away.
 */
const PARTIAL = "x-envoy-auth-partial-body";
/** Of `context_extensions`: a check does not carry the route's name itself. */
const ROUTE = "route";

type Wire = Record<string, unknown>;

const broken = (what: string): LimenError =>
  new LimenError("protocol", {
    where: "ext_authz message",
    what,
    fix: "use an Envoy that speaks envoy.service.auth.v3",
  });

const wire = (value: unknown, what: string): Wire => {
  if (typeof value !== "object" || value === null) throw broken(`${what} is missing`);
  return value as Wire;
};
const text = (value: unknown): string => (typeof value === "string" ? value : "");

export function decodeCheck(message: unknown, trust: Trust): GateRequest {
  const attributes = wire(wire(message, "the message")["attributes"], "attributes");
  const http = wire(wire(attributes["request"], "attributes.request")["http"], "request.http");
  const headers = decodeHeaders(http);
  const principal = text(entryOf(attributes["source"], "principal"));
  const said = { principal, headers, metadata: attributes["metadata_context"] };
  return {
    head: {
      method: text(http["method"]),
      path: text(http["path"]),
      headers,
      route: text(entryOf(attributes["context_extensions"], ROUTE)),
      identity: identityOf(said, trust),
      endOfStream: false, // whether a body follows is what `body` says
    },
    body: decodeBody(http, headers),
  };
}

/**
 * A body counts as shown when Envoy vouches that these are its bytes. As `body`, a string, they are not: Envoy has
 * replaced what is no UTF-8, and sends upstream what was there before.
 */
function decodeBody(http: Wire, headers: Headers): ShownBody {
  const partial = headers.get(PARTIAL);
  if (partial === "true") return { kind: "partial" };
  if (partial !== "false" || text(http["body"]) !== "") return { kind: "hidden" };
  const raw = http["raw_body"];
  const bytes = raw instanceof Uint8Array ? raw : new Uint8Array(0);
  // With allow_partial_message Envoy asks as soon as its buffer is full, and says "false" when it is full to the byte.
  const isCut = Number(headers.get("content-length") ?? bytes.length) !== bytes.length;
  return isCut ? { kind: "partial" } : { kind: "whole", bytes };
}

/** With encode_raw_headers the list is filled, without it the map: never both. */
function decodeHeaders(http: Wire): Headers {
  const map = http["header_map"];
  const list = map == null ? undefined : wire(map, "header_map")["headers"];
  const headers = new Map<string, string>();
  for (const entry of Array.isArray(list) ? list : []) {
    const { key, value, raw_value: raw } = wire(entry, "a header");
    const bytes = raw instanceof Uint8Array ? Buffer.from(raw).toString("latin1") : text(value);
    add(headers, key, bytes);
  }
  if (headers.size > 0) return headers;
  for (const [key, value] of Object.entries(wire(http["headers"] ?? {}, "headers"))) {
    add(headers, key, text(value));
  }
  return headers;
}

function add(headers: Map<string, string>, key: unknown, value: string): void {
  if (typeof key !== "string") throw broken("a header has no name");
  // Envoy sends lower-case names; other speakers of the protocol may not.
  const name = key.toLowerCase();
  const before = headers.get(name);
  headers.set(name, before === undefined ? value : `${before}, ${value}`);
}
