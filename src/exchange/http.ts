/** HTTP as the exchange sees it: what Envoy tells of a message, and what it is told to do with it. */

import type { Identity } from "../core/identity.ts";

/** Lower-case names; a name that occurs twice is joined with ", " (RFC 9110 section 5.3). */
export type Headers = ReadonlyMap<string, string>;

export type RequestHead = {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: Headers;
  /** Envoy's route name, "" when it does not say. */
  readonly route: string;
  /** Who sent it, as far as the proxy vouches for it. */
  readonly identity: Identity;
  /** True: no body follows. */
  readonly endOfStream: boolean;
};

export type ResponseHead = {
  readonly status: number;
  readonly headers: Headers;
  readonly endOfStream: boolean;
  /** Envoy made this response itself (its own 413, 429, 503): it is not the model's. */
  readonly local: boolean;
};

export type BodyChunk = { readonly bytes: Uint8Array; readonly endOfStream: boolean };

export type HeaderEdits = {
  readonly set: readonly (readonly [string, string])[];
  readonly remove: readonly string[];
};

export const NO_EDITS: HeaderEdits = { set: [], remove: [] };

/** Envoy refuses a body whose length is not the announced one. */
export const lengthOf = (body: Uint8Array): HeaderEdits => ({
  set: [["content-length", String(body.length)]],
  remove: [],
});

/** A complete answer to the client instead of the model's. */
export type LocalReply = {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  /** For the proxy's access log: a code of ours, never content. */
  readonly details: string;
};

/** How the response body is to come from here on; what Envoy starts with is `buffered`. */
type BodyMode = "buffered" | "streamed";

export type HeadersReply =
  | { readonly kind: "pass"; readonly edits: HeaderEdits; readonly responseBody?: BodyMode }
  | { readonly kind: "refuse"; readonly reply: LocalReply };

export type BodyReply =
  | { readonly kind: "pass"; readonly edits: HeaderEdits }
  /** An empty body takes the chunk away. */
  | { readonly kind: "replace"; readonly body: Uint8Array; readonly edits: HeaderEdits }
  | { readonly kind: "refuse"; readonly reply: LocalReply }
  /** A message that must not be answered: the direction has ended before. */
  | { readonly kind: "silent" };

export const PASS: BodyReply = { kind: "pass", edits: NO_EDITS };
export const CLEAR: BodyReply = { kind: "replace", body: new Uint8Array(0), edits: NO_EDITS };
