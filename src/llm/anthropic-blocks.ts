/**
 * Content blocks of Anthropic's Messages API (docs.anthropic.com, api/messages): where each type has its text,
 * whose text it is, and what is media. The same blocks stand in requests, answers and streams.
 *
 * An unknown block type is an unknown shape, `tool_addition` included: it would add a tool in mid-conversation
 * that no definition declares.
 */
import { Content } from "../core/content.ts";
import type { ToolCall } from "../core/inference.ts";
import type { Provenance } from "../core/segment.ts";
import type { JsonNode, JsonObject, JsonString } from "./json.ts";
import { asItems, asObject, get, isNull, membersOf, textOf, typeOf } from "./json-tree.ts";
import { type Emit, type NoText, readFreely, readText } from "./text.ts";

/** Takes what is found in blocks. */
export type BlockSink = {
  text(literal: JsonString, provenance: Provenance, trust: "plain" | "signed"): void;
  media(): void;
};

/** `own`: of whoever wrote the message. */
type Kind = {
  readonly text: Provenance | "own";
  readonly trust?: "signed";
  readonly media?: true;
};
const TEXT: Kind = { text: "own" };
const TOOL: Kind = { text: "tool" };
const DOCUMENT: Kind = { text: "document" };

/** Blocks that models write. Types that end in `_tool_result` are TOOL as well. */
const ANSWER_BLOCKS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ["text", TEXT],
  // Signed: a client sends it back, and the provider turns an edited one away.
  ["thinking", { text: "own", trust: "signed" }],
  ["redacted_thinking", { text: "own", media: true }],
  ["tool_use", { text: "assistant" }],
  ["server_tool_use", { text: "assistant" }],
  ["mcp_tool_use", { text: "assistant" }],
  ["mcp_tool_listing", TOOL],
  ["container_upload", { text: "own", media: true }],
  ["compaction", TEXT],
  ["fallback", TEXT],
]);
/** Blocks that only clients write. */
const REQUEST_BLOCKS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ["image", { text: "own", media: true }],
  ["document", DOCUMENT],
  ["search_result", DOCUMENT],
  ["tool_result", TOOL],
  ["tool_reference", TOOL],
  ["browser_state", TOOL],
]);

const kindOf = (type: string, place: "request" | "answer"): Kind | undefined =>
  ANSWER_BLOCKS.get(type) ??
  (place === "request" ? REQUEST_BLOCKS.get(type) : undefined) ??
  (type.endsWith("_tool_result") ? TOOL : undefined);

const CONSTANTS = new Set([
  ...["type", "id", "tool_use_id", "tool_id", "file_id", "media_type", "signature"],
  ...["encrypted_content", "encrypted_index"],
]);
/** Ids, constants, signatures, and the `data` of what is base64 or encrypted. */
export const noBlockText: NoText = (object, name) =>
  CONSTANTS.has(name) || (name === "data" && isOpaque(object));
const isOpaque = (object: JsonObject): boolean =>
  ["base64", "redacted_thinking"].includes(typeOf(object) ?? "");

/**
 * Reads one block with the blocks inside it.
 * @param by whose message it stands in
 * @returns false when its shape is unknown
 */
export function readBlock(
  block: JsonNode,
  sink: BlockSink,
  at: { readonly by: Provenance; readonly place: "request" | "answer" },
): boolean {
  const kind = kindOf(typeOf(block) ?? "", at.place);
  if (block.kind !== "object" || kind === undefined) return false;
  if (kind.media) sink.media();
  const by = kind.text === "own" ? at.by : kind.text;
  const emit: Emit = (literal, trust) => sink.text(literal, by, kind.trust ?? trust);
  for (const [name, value] of block.members) {
    if (name === "input") readFreely(value, emit);
    else if (name === "source" && value.kind === "object") {
      if (!readSource(value, sink, by)) return false;
    } else if (name === "content" && REQUEST_BLOCKS.has(typeOf(block) ?? "")) {
      if (!readContent(value, sink, { by, place: "request" })) return false;
    } else if (value.kind !== "string" || !noBlockText(block, name)) {
      readText(value, emit, noBlockText);
      // A citation names the file it is from; the file itself is not in the answer.
      if (name !== "citations" && holdsMedia(value)) sink.media();
    }
  }
  return true;
}

/** Content is a string or an array of blocks: the same text either way. */
export function readContent(
  content: JsonNode | undefined,
  sink: BlockSink,
  at: { readonly by: Provenance; readonly place: "request" | "answer" },
): boolean {
  if (content === undefined || isNull(content)) return true;
  if (content.kind === "string") {
    readText(content, (literal) => sink.text(literal, at.by, "plain"), noBlockText);
    return true;
  }
  return asItems(content)?.every((block) => readBlock(block, sink, at)) === true;
}

/** What an image or document is made of. `text` and `content` are text, all else is media. */
function readSource(source: JsonObject, sink: BlockSink, by: Provenance): boolean {
  const emit = (literal: JsonString): void => sink.text(literal, by, "plain");
  switch (typeOf(source)) {
    case "content":
      return readContent(get(source, "content"), sink, { by, place: "request" });
    case "text":
      break;
    case "base64":
    case "url":
    case "file":
      sink.media();
      break;
    default:
      return false;
  }
  readText(source, emit, noBlockText);
  return true;
}

/** Results of provider-run tools hold images, PDF files and uploads at any depth. */
function holdsMedia(node: JsonNode): boolean {
  if (node.kind === "array") return node.items.some(holdsMedia);
  if (node.kind !== "object") return false;
  if (isOpaque(node) || get(node, "file_id") !== undefined) return true;
  return [...node.members.values()].some(holdsMedia);
}

/** Calls that the provider runs by itself are named like its tool definitions. */
export const MCP_TOOL = "anthropic:mcp";

/** The call that a block is; undefined for other blocks. `args` is the source of `input`. */
export function callOf(block: JsonNode, key: string): ToolCall | undefined {
  const name = textOf(get(block, "name"));
  const input = asObject(get(block, "input"));
  if (!isCall(block) || name === undefined || input === undefined) return undefined;
  const type = typeOf(block);
  const own = type === "tool_use";
  const ran = type === "mcp_tool_use" ? MCP_TOOL : `anthropic:${name}`;
  return {
    name: new Content(own ? name : ran),
    execution: own ? "client" : "provider",
    args: new Content(sourceOf(input)),
    argsForm: "json",
    key,
  };
}
/** A value as its author wrote it. */
export const sourceOf = ({ text, start, end }: JsonObject): string => text.slice(start, end);
export const isCall = (block: JsonNode | undefined): boolean =>
  ["tool_use", "server_tool_use", "mcp_tool_use"].includes(typeOf(block) ?? "");

/** What a call's block holds beside the call. */
export const besideCall = (block: JsonObject): readonly JsonNode[] =>
  membersOf(block, (name, value) => {
    if (name === "name" || name === "input") return false;
    return value.kind !== "string" || !noBlockText(block, name);
  });

/** What holds text in a message, its start or its delta, beside its content. */
export const besideContent = (message: JsonObject): readonly JsonNode[] =>
  membersOf(message, (name, value) => {
    return name !== "content" && (value.kind !== "string" || !MESSAGE_CONSTANTS.has(name));
  });
const MESSAGE_CONSTANTS = new Set(["id", "type", "role", "model", "stop_reason"]);

/** The calls of an array of blocks, by position; undefined when one has an unknown shape. */
export function callsOf(
  content: JsonNode | undefined,
  keyOf: (position: number) => string,
): readonly ToolCall[] | undefined {
  const calls: ToolCall[] = [];
  for (const [position, block] of (asItems(content) ?? []).entries()) {
    if (!isCall(block)) continue;
    const call = callOf(block, keyOf(position));
    if (call === undefined) return undefined;
    calls.push(call);
  }
  return calls;
}
