import type { Content } from "./content.ts";

/** Half-open range in UTF-16 units. */
export type Span = { readonly start: number; readonly end: number };

/** Where a text comes from, as far as trust goes. `hidden` is a decoded or invisible view of another text. */
export const PROVENANCES = ["system", "user", "assistant", "tool", "document", "hidden"] as const;
export type Provenance = (typeof PROVENANCES)[number];

/** A piece of text of a request or response, with its provenance and its place in the body. */
export type Segment = {
  readonly content: Content;
  readonly provenance: Provenance;
  /** The JSON string literal in the body's text, quotes included. */
  readonly source: Span;
  /**
   * Signed by the provider (reasoning with a signature), or the key of an object, which another edited key could
   * equal: it cannot be edited, only kept or refused whole.
   */
  readonly signed: boolean;
};

/** Replaces `[start, end)` of a source text by `text`, which is already encoded for its place. */
export type Edit = Span & { readonly text: string };
