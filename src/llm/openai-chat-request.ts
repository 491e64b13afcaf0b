/**
 * Requests of OpenAI's Chat Completions API (platform.openai.com, api-reference/chat/create) and of the many
 * servers that speak it: text, tools, forced tools and calls of the conversation so far.
 *
 * Unknown fields are tolerated and read as text of the user; unknown roles, part types and tool types are not,
 * nor are fields that name other models: a router would answer with a model that no policy was asked about.
 */
import { fail, ok, type Result } from "../core/cause.ts";
import { Content } from "../core/content.ts";
import type { Execution, InferenceRequest, ToolCall } from "../core/inference.ts";
import type { Edit, Provenance, Segment } from "../core/segment.ts";
import type { JsonNode, JsonObject } from "./json.ts";
import {
  asItems,
  asNumber,
  cutItems,
  editMembers,
  get,
  isNull,
  isTrue,
  replace,
  textOf,
  typeOf,
} from "./json-tree.ts";
import { callsOf } from "./openai-chat-calls.ts";
import { type Emit, type NoText, named, readFreely, readText, segment } from "./text.ts";

const ROLES: ReadonlyMap<string, Provenance> = new Map([
  ["system", "system"],
  ["developer", "system"],
  ["user", "user"],
  ["assistant", "assistant"],
  ["tool", "tool"],
  ["function", "tool"],
]);

/** The strings of each part type that are no text. */
const TEXT_PARTS: ReadonlyMap<string, NoText> = new Map([
  ["text", named("type")],
  ["refusal", named("type")],
]);
const MEDIA_PARTS: ReadonlyMap<string, NoText> = new Map([
  [
    "image_url",
    (object, name) =>
      name === "type" ||
      name === "detail" ||
      (name === "url" && textOf(get(object, name))?.startsWith("data:image/") === true),
  ],
  ["input_audio", named("type", "data", "format")],
  ["file", named("type", "file_data", "file_id")],
]);

/** Fields that hold no text, or that have functions of their own below. */
const NO_TEXT = new Set([
  ...["model", "messages", "stream", "modalities"],
  ...["reasoning_effort", "service_tier", "verbosity"],
]);
const TOOL_FIELDS = new Set(["tools", "functions"]);

/** Fields that make the provider, or a server that speaks the same API, search by itself. */
const PROVIDER_FIELDS = [
  ["web_search_options", "openai:web_search"],
  ["search_parameters", "openai:search_parameters"],
  ["enable_search", "openai:enable_search"],
  ["data_sources", "openai:data_sources"],
  ["plugins", "openai:plugins"],
] as const;
/** Fields of routers that name models beside `model`. */
const MODEL_LISTS = ["models", "fallbacks", "fallback_models"];

/** What is collected from messages; `known` turns false at the first unknown shape. */
type Draft = {
  known: boolean;
  media: boolean;
  readonly segments: Segment[];
  readonly history: ToolCall[];
};

export function readRequest(root: JsonNode): Result<InferenceRequest> {
  const model = textOf(get(root, "model"));
  const messages = asItems(get(root, "messages"));
  const tools = definitionsOf(root);
  const forced = forcedNames(root);
  if (root.kind !== "object" || model === undefined || messages === undefined) {
    return fail("unknown_shape");
  }
  if (tools === undefined || forced === undefined) return fail("unknown_shape");
  if (MODEL_LISTS.some((name) => get(root, name) !== undefined)) return fail("unknown_shape");
  const draft: Draft = { known: true, media: false, segments: [], history: [] };
  for (const [at, message] of messages.entries()) readMessage(draft, message, at);
  if (!draft.known) return fail("unknown_shape");
  for (const [name, value] of root.members) {
    if (NO_TEXT.has(name)) continue;
    const provenance = TOOL_FIELDS.has(name) ? "tool" : "user";
    readFreely(value, (literal, trust) => draft.segments.push(segment(literal, provenance, trust)));
  }
  return ok({
    dialect: "openai-chat",
    model: new Content(model),
    streamed: isTrue(get(root, "stream")),
    segments: draft.segments,
    tools: tools.map(({ name, execution }, index) => ({
      name: new Content(name),
      execution,
      index,
    })),
    forcedTools: forced.map((name) => new Content(name)),
    history: draft.history,
    messages: messages.length,
    maxOutputTokens: outputLimit(root),
    media: draft.media,
  });
}

/** The larger one when a request has both names of the limit: a server may read either. */
function outputLimit(root: JsonNode): number | undefined {
  const limits = ["max_tokens", "max_completion_tokens"]
    .map((name) => asNumber(get(root, name)))
    .filter((limit) => limit !== undefined);
  return limits.length === 0 ? undefined : Math.max(...limits);
}

function readMessage(draft: Draft, message: JsonNode, at: number): void {
  const provenance = ROLES.get(textOf(get(message, "role")) ?? "");
  const calls = callsOf(message, at);
  if (message.kind !== "object" || provenance === undefined || calls === undefined) {
    draft.known = false;
    return;
  }
  for (const one of calls) draft.history.push(one);
  const emit: Emit = (literal, trust) => draft.segments.push(segment(literal, provenance, trust));
  for (const [name, value] of message.members) {
    switch (name) {
      case "role":
      case "tool_call_id":
        break;
      case "content":
        readContent(draft, value, emit);
        break;
      case "tool_calls":
      case "function_call":
        readText(value, emit, named("id", "type"));
        break;
      case "audio": // an earlier answer, by its id
        draft.media ||= !isNull(value);
        break;
      default:
        readFreely(value, emit);
    }
  }
}

/** A string, or an array of typed parts: the same prompt either way. */
function readContent(draft: Draft, content: JsonNode, emit: Emit): void {
  if (content.kind === "string") readText(content, emit, named());
  const parts = content.kind === "string" || isNull(content) ? [] : asItems(content);
  if (parts === undefined) draft.known = false;
  for (const part of parts ?? []) {
    const type = typeOf(part) ?? "";
    const noText = TEXT_PARTS.get(type) ?? MEDIA_PARTS.get(type);
    if (noText === undefined) draft.known = false;
    else readText(part, emit, noText);
    draft.media ||= MEDIA_PARTS.has(type);
  }
}

/** A declared tool and where it stands: an item of an array, or a field of the request. */
type Definition = {
  readonly name: string;
  readonly execution: Execution;
  readonly field: string;
  readonly item: number | undefined;
};

/** Every tool of a request in the order of `ToolDefinition.index`; undefined when one has an unknown shape. */
function definitionsOf(root: JsonNode): readonly Definition[] | undefined {
  const found: Definition[] = [];
  for (const field of TOOL_FIELDS) {
    const list = get(root, field);
    const items = list === undefined ? [] : asItems(list);
    if (items === undefined) return undefined;
    for (const [item, definition] of items.entries()) {
      const name = field === "tools" ? toolName(definition) : textOf(get(definition, "name"));
      if (name === undefined) return undefined;
      found.push({ name, execution: "client", field, item });
    }
  }
  for (const [field, name] of PROVIDER_FIELDS) {
    const value = get(root, field);
    const declared = value !== undefined && !(value.kind === "literal" && value.value === false);
    if (declared) found.push({ name, execution: "provider", field, item: undefined });
  }
  return found;
}

/** The name in `{type, function: {name}}` or `{type, custom: {name}}`; undefined for every other type. */
function toolName(tool: JsonNode): string | undefined {
  const type = typeOf(tool);
  return type === "function" || type === "custom"
    ? textOf(get(get(tool, type), "name"))
    : undefined;
}

/** Names that `tool_choice` or the legacy `function_call` force; undefined when the shape is unknown. */
function forcedNames(root: JsonNode): readonly string[] | undefined {
  const choice = get(root, "tool_choice");
  const legacy = get(root, "function_call");
  const names: (string | undefined)[] = [];
  if (choice !== undefined && choice.kind !== "string") {
    const subset = allowedSubset(choice);
    if (subset === undefined) names.push(toolName(choice));
    else for (const one of subset.items.map(toolName)) names.push(one);
  }
  if (legacy !== undefined && legacy.kind !== "string") names.push(textOf(get(legacy, "name")));
  return names.every((name) => name !== undefined) ? names : undefined;
}

/** The array of `{type: "allowed_tools", allowed_tools: {mode, tools: [...]}}`. */
function allowedSubset(choice: JsonNode | undefined) {
  const tools = get(get(choice, "allowed_tools"), "tools");
  return typeOf(choice) === "allowed_tools" && tools?.kind === "array" ? tools : undefined;
}

/**
 * Takes definitions out. What names a tool that is gone goes with it: a forced choice becomes `none`, because
 * another tool than the one asked for must not run in its place.
 */
export function withoutTools(root: JsonNode, indexes: ReadonlySet<number>): readonly Edit[] {
  const definitions = definitionsOf(root);
  if (root.kind !== "object" || definitions === undefined) return [];
  const gone = definitions.filter((_, index) => indexes.has(index));
  const edits: Edit[] = [];
  const remove = new Set<string>();
  for (const field of new Set(gone.map((definition) => definition.field))) {
    const items = new Set(gone.filter((tool) => tool.field === field).map((tool) => tool.item));
    const list = get(root, field);
    if (list?.kind !== "array" || items.has(undefined) || items.size === list.items.length) {
      remove.add(field);
      for (const name of COMPANIONS.get(field) ?? []) remove.add(name);
    } else {
      const cut = cutItems(list, new Set([...items].filter((item) => item !== undefined)));
      for (const one of cut) edits.push(one);
    }
  }
  const names = new Set(gone.map(({ name }) => name));
  for (const one of withoutChoices(root, names, remove)) edits.push(one);
  return [...edits, ...editMembers(root, { remove, add: [] })];
}

/** Fields that the API refuses when the list they speak of is absent. */
const COMPANIONS: ReadonlyMap<string, readonly string[]> = new Map([
  ["tools", ["tool_choice", "parallel_tool_calls"]],
  ["functions", ["function_call"]],
]);

function withoutChoices(
  root: JsonObject,
  names: ReadonlySet<string>,
  removed: ReadonlySet<string>,
): readonly Edit[] {
  const edits: Edit[] = [];
  const choice = get(root, "tool_choice");
  const subset = allowedSubset(choice);
  if (choice !== undefined && !removed.has("tool_choice")) {
    const items = subset?.items ?? [choice];
    const gone = new Set<number>();
    for (const [at, item] of items.entries()) if (names.has(toolName(item) ?? "")) gone.add(at);
    if (gone.size === items.length) edits.push(replace(choice, '"none"'));
    else if (subset !== undefined) for (const one of cutItems(subset, gone)) edits.push(one);
  }
  const legacy = get(root, "function_call");
  if (legacy !== undefined && !removed.has("function_call")) {
    if (names.has(textOf(get(legacy, "name")) ?? "")) edits.push(replace(legacy, '"none"'));
  }
  return edits;
}
