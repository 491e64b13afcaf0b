/**
 * Requests of Anthropic's Messages API, `count_tokens` included: text, tools, forced tools and calls of the
 * conversation so far. Unknown fields are tolerated and read as text of the user; unknown roles, block types
 * and tool types are not, nor is `fallbacks`: it lets a model answer that no policy was asked about.
 */
import { fail, ok, type Result } from "../core/cause.ts";
import { Content } from "../core/content.ts";
import type { Execution, InferenceRequest, ToolCall } from "../core/inference.ts";
import type { Edit, Provenance, Segment } from "../core/segment.ts";
import { type BlockSink, callsOf, MCP_TOOL, readContent } from "./anthropic-blocks.ts";
import type { JsonNode } from "./json.ts";
import {
  asItems,
  asNumber,
  cutItems,
  editMembers,
  get,
  isTrue,
  replace,
  textOf,
  typeOf,
} from "./json-tree.ts";
import { named, readFreely, readText, segment } from "./text.ts";

const ROLES: ReadonlyMap<string, Provenance> = new Map([
  ["system", "system"],
  ["user", "user"],
  ["assistant", "assistant"],
]);

/** Dated tool types by prefix. What a client runs is called by its `name`, what the provider runs by its type. */
const CLIENT_TOOLS = ["bash_", "text_editor_", "computer_", "memory_", "browser_"];
const PROVIDER_TOOLS = [
  ...["web_search_", "web_fetch_", "code_execution_", "tool_search_tool_", "advisor_"],
];

/** Fields that hold no text, or that have functions of their own below. */
const OWN_CODE = new Set([
  ...["model", "messages", "system", "tools", "mcp_servers", "stream"],
  ...["service_tier", "speed", "inference_geo", "fallback_credit_token"],
]);

export function readRequest(root: JsonNode): Result<InferenceRequest> {
  const model = textOf(get(root, "model"));
  const messages = asItems(get(root, "messages"));
  const tools = definitionsOf(root);
  const forced = forcedNames(root);
  if (root.kind !== "object" || model === undefined || messages === undefined) {
    return fail("unknown_shape");
  }
  if (tools === undefined || forced === undefined) return fail("unknown_shape");
  if (get(root, "fallbacks") !== undefined) return fail("unknown_shape");
  const segments: Segment[] = [];
  let media = false;
  const sink: BlockSink = {
    text: (literal, by, trust) => segments.push(segment(literal, by, trust)),
    media: () => {
      media = true;
    },
  };
  const history: ToolCall[] = [];
  const system = readContent(get(root, "system"), sink, { by: "system", place: "request" });
  const known = messages.every((message, at) => readMessage(message, sink, { at, history }));
  if (!system || !known) return fail("unknown_shape");
  const credentials = named("authorization_token", "type");
  readText(get(root, "mcp_servers"), (literal) => sink.text(literal, "tool", "plain"), credentials);
  const declared = get(root, "tools");
  if (declared !== undefined)
    readFreely(declared, (literal, trust) => sink.text(literal, "tool", trust));
  for (const [name, value] of root.members) {
    if (!OWN_CODE.has(name))
      readFreely(value, (literal, trust) => sink.text(literal, "user", trust));
  }
  return ok({
    dialect: "anthropic-messages",
    model: new Content(model),
    streamed: isTrue(get(root, "stream")),
    segments,
    tools: tools.map(({ name, execution }, index) => ({
      name: new Content(name),
      execution,
      index,
    })),
    forcedTools: forced.map((name) => new Content(name)),
    history,
    messages: messages.length,
    maxOutputTokens: asNumber(get(root, "max_tokens")),
    media,
  });
}

function readMessage(
  message: JsonNode,
  sink: BlockSink,
  { at, history }: { readonly at: number; readonly history: ToolCall[] },
): boolean {
  const by = ROLES.get(textOf(get(message, "role")) ?? "");
  const content = get(message, "content");
  const calls = callsOf(content, (position) => `${at}/${position}`);
  if (message.kind !== "object" || by === undefined || calls === undefined) return false;
  for (const one of calls) history.push(one);
  for (const [name, value] of message.members) {
    if (name !== "role" && name !== "content") {
      readFreely(value, (literal, trust) => sink.text(literal, by, trust));
    }
  }
  return readContent(content, sink, { by, place: "request" });
}

/** A declared tool, by the list it stands in. */
type Definition = {
  readonly name: string;
  readonly execution: Execution;
  readonly field: "tools" | "mcp_servers";
  readonly item: number;
};

/** Every tool of a request in the order of `ToolDefinition.index`; undefined when one has an unknown shape. */
function definitionsOf(root: JsonNode): readonly Definition[] | undefined {
  const found: Definition[] = [];
  for (const field of ["tools", "mcp_servers"] as const) {
    const list = get(root, field);
    const items = list === undefined ? [] : asItems(list);
    if (items === undefined) return undefined;
    for (const [item, node] of items.entries()) {
      const tool =
        field === "tools" ? toolOf(node) : ({ name: MCP_TOOL, execution: "provider" } as const);
      if (tool === undefined) return undefined;
      found.push({ ...tool, field, item });
    }
  }
  return found;
}

function toolOf(tool: JsonNode): Pick<Definition, "name" | "execution"> | undefined {
  const type = get(tool, "type") === undefined ? "custom" : (typeOf(tool) ?? "");
  const name = textOf(get(tool, "name"));
  if (type === "custom") return name === undefined ? undefined : { name, execution: "client" };
  if (type === "mcp_toolset") return { name: MCP_TOOL, execution: "provider" };
  if (PROVIDER_TOOLS.some((prefix) => type.startsWith(prefix))) {
    return { name: `anthropic:${type}`, execution: "provider" };
  }
  // A toolset has no name; its calls have the names of its tools.
  if (!CLIENT_TOOLS.some((prefix) => type.startsWith(prefix))) return undefined;
  return { name: name ?? type, execution: "client" };
}

function forcedNames(root: JsonNode): readonly string[] | undefined {
  const choice = get(root, "tool_choice");
  const name = textOf(get(choice, "name"));
  switch (choice === undefined ? "auto" : typeOf(choice)) {
    case "auto":
    case "any":
    case "none":
      return [];
    case "tool":
      return name === undefined ? undefined : [name];
    default:
      return undefined;
  }
}

/**
 * Takes definitions out. A choice that forces a tool that is gone becomes `none`, because another tool than
 * the one asked for must not run in its place.
 */
export function withoutTools(root: JsonNode, indexes: ReadonlySet<number>): readonly Edit[] {
  const definitions = definitionsOf(root);
  if (root.kind !== "object" || definitions === undefined) return [];
  const gone = definitions.filter((_, index) => indexes.has(index));
  const edits: Edit[] = [];
  const remove = new Set<string>();
  for (const field of new Set(gone.map((tool) => tool.field))) {
    const items = new Set(gone.filter((tool) => tool.field === field).map((tool) => tool.item));
    const list = get(root, field);
    if (list?.kind === "array" && items.size < list.items.length) {
      for (const one of cutItems(list, items)) edits.push(one);
      continue;
    }
    remove.add(field);
    if (field === "tools") remove.add("tool_choice");
  }
  const choice = get(root, "tool_choice");
  const forced = textOf(get(choice, "name"));
  if (choice !== undefined && !remove.has("tool_choice")) {
    if (gone.some(({ name }) => name === forced)) edits.push(replace(choice, '{"type":"none"}'));
  }
  return [...edits, ...editMembers(root, { remove, add: [] })];
}
