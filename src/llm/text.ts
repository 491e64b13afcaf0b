/**
 * Where text stands in a JSON tree: every string, unless the dialect knows it to be none. So a field that a
 * dialect has never heard of is read as text, not passed over.
 */
import { Content } from "../core/content.ts";
import type { Provenance, Segment } from "../core/segment.ts";
import type { JsonNode, JsonObject, JsonString } from "./json.ts";
import { keysOf } from "./json-tree.ts";

/** Takes a text. A key is signed: two edited ones could become the same key. */
export type Emit = (literal: JsonString, trust: "plain" | "signed") => void;
/** True for a string member that is no text: an id, a constant of the API, encoded binary. */
export type NoText = (object: JsonObject, name: string) => boolean;

export const named =
  (...names: readonly string[]): NoText =>
  (_, name) =>
    names.includes(name);

/** The strings (empty ones say nothing) below an object of the API, whose keys are the API's words. */
export function readText(node: JsonNode | undefined, emit: Emit, noText: NoText): void {
  if (node === undefined) return;
  if (node.kind === "string") {
    if (node.value !== "") emit(node, "plain");
  } else if (node.kind === "array") for (const item of node.items) readText(item, emit, noText);
  else if (node.kind === "object") {
    for (const [name, member] of node.members) {
      if (member.kind !== "string" || !noText(node, name)) readText(member, emit, noText);
    }
  }
}

/** The strings below a value that its author shaped freely (schemas, arguments, unknown fields), keys included. */
export function readFreely(node: JsonNode, emit: Emit): void {
  if (node.kind === "string") {
    if (node.value !== "" && !SCHEMA_WORDS.has(node.value)) emit(node, "plain");
  } else if (node.kind === "array") {
    for (const item of node.items) readFreely(item, emit);
  } else if (node.kind === "object") {
    const keys = keysOf(node);
    let at = 0;
    for (const [name, member] of node.members) {
      const key = keys[at];
      at += 1;
      if (key !== undefined && !SCHEMA_WORDS.has(name)) emit(key, "signed");
      readFreely(member, emit);
    }
  }
}

/**
 * Words of JSON Schema (2020-12) and of tool definitions. As whole strings they say nothing; without this list
 * every schema would cost several scans per property.
 */
const SCHEMA_WORDS: ReadonlySet<string> = new Set(
  `type object string number integer boolean array null properties required items enum const default
  description title format pattern additionalProperties anyOf oneOf allOf not $ref $defs $schema examples
  minimum maximum minLength maxLength minItems maxItems function name parameters strict input_schema
  json_schema schema`.split(/\s+/),
);

export const segment = (
  literal: JsonString,
  provenance: Provenance,
  trust: "plain" | "signed" = "plain",
): Segment => ({
  content: new Content(literal.value),
  provenance,
  source: { start: literal.start, end: literal.end },
  signed: trust === "signed",
});
