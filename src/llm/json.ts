/** Placeholder signatures: implemented by the llm room. */
import { fail, type Result } from "../core/cause.ts";
import type { Edit, Span } from "../core/segment.ts";

export type JsonString = Span & { readonly kind: "string"; readonly value: string };
export type JsonObject = Span & {
  readonly kind: "object";
  readonly members: ReadonlyMap<string, JsonNode>;
};
export type JsonArray = Span & { readonly kind: "array"; readonly items: readonly JsonNode[] };
export type JsonNode =
  | JsonString
  | JsonObject
  | JsonArray
  | (Span & { readonly kind: "number" })
  | (Span & { readonly kind: "literal"; readonly value: boolean | null });

export function parseJson(_text: string, _limits: { readonly depth: number }): Result<JsonNode> {
  return fail("malformed_json");
}
/** `span` of the decoded value as a span of the source text. */
export function sourceSpan(_text: string, literal: JsonString, _span: Span): Span {
  return literal;
}
export function applyEdits(text: string, _edits: readonly Edit[]): string {
  return text;
}
