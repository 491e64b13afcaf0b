/** HTTP as the exchange sees it: what Envoy tells of a message, and what it is told to do with it. */

import type { Identity } from "../core/identity.ts";

/** Lower-case names; a name that occurs twice is joined with ", " (RFC 9110 section 5.3). */
export type Headers = ReadonlyMap<string, string>;

/**
 * What the proxy shows of a body, and when the headers in front of it leave (ext_proc's body send modes).
 * `hidden`: nothing of it, or not all. `buffered`: all of it at once, the headers wait. `streamed`: pieces, the
 * headers leave first. `duplex`: pieces, the headers wait for as long as Limen wants.
 */
export type BodyMode = "hidden" | "buffered" | "streamed" | "duplex";
export type BodyModes = { readonly request: BodyMode; readonly response: BodyMode };

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

/** A piece of a body; `endOfStream`: with it the body is complete. */
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

/** How a body is judged: all of it at once, as it comes, or not at all. */
type Reading = "whole" | "live" | "unread";

export type HeadersReply =
  | { readonly kind: "pass"; readonly edits: HeaderEdits; readonly reading: Reading }
  | { readonly kind: "refuse"; readonly reply: LocalReply };

/** What leaves in the place of a piece. Edits are of the headers, where they wait for the body. */
export type BodyReply =
  | { readonly kind: "pass"; readonly edits: HeaderEdits }
  | { readonly kind: "replace"; readonly body: Uint8Array; readonly edits: HeaderEdits }
  /** Nothing, for now or for good. */
  | { readonly kind: "withhold" }
  /** These are the last bytes of the body, whatever still comes. */
  | { readonly kind: "end"; readonly body: Uint8Array }
  | { readonly kind: "refuse"; readonly reply: LocalReply }
  /** The direction has ended before: there is nothing to say about it. */
  | { readonly kind: "silent" };

export const PASS = { kind: "pass", edits: NO_EDITS } as const satisfies BodyReply;
export const WITHHOLD = { kind: "withhold" } as const satisfies BodyReply;
