/**
 * Whole answers of the Chat Completions API: the text of every choice, its calls, and the edits that take
 * refused calls out. Fields that no list names are read as text.
 */
import { fail, ok, type Result } from "../core/cause.ts";
import { Content } from "../core/content.ts";
import type { InferenceResponse, ToolCall } from "../core/inference.ts";
import type { Edit, Segment } from "../core/segment.ts";
import type { Refused } from "./dialect.ts";
import type { JsonNode, JsonObject } from "./json.ts";
import { asItems, asObject, get, isNull, replace, textOf } from "./json-tree.ts";
import {
  besideCalls,
  callKey,
  callsOf,
  dropLogprobs,
  legacyKey,
  NO_ANSWER_TEXT,
  refusalText,
  removeCalls,
} from "./openai-chat-calls.ts";
import { readLogprobs } from "./openai-chat-logprobs.ts";
import { type Emit, type NoText, named, readText, segment } from "./text.ts";

/** Members that have code of their own, and those that are no text while they are strings. */
type Level = { readonly own: ReadonlySet<string>; readonly constants: ReadonlySet<string> };
/** Of an answer or a chunk. */
export const CHUNK: Level = {
  own: new Set(["choices"]),
  constants: new Set([
    ...["id", "object", "model", "service_tier", "system_fingerprint", "obfuscation"],
  ]),
};
export const CHOICE: Level = {
  own: new Set(["message", "delta", "logprobs"]),
  constants: new Set(["finish_reason"]),
};
/** Of a message or delta. */
export const MESSAGE: Level = {
  own: new Set(["tool_calls", "function_call"]),
  constants: new Set(["role"]),
};

/** A client that copies a message with this name member by member inherits what stands there, calls too. */
export const PROTOTYPE = "__proto__";

/** Whether a member of that level is to be read as text. */
export const isText = ({ own, constants }: Level, name: string, value: JsonNode): boolean =>
  !own.has(name) && (value.kind !== "string" || !constants.has(name));
/** Encoded sound; its transcript is text. */
const NO_AUDIO_TEXT: NoText = named("id", "data");

/** What is no text below the member `name` of a message or delta. */
export const noTextIn = (name: string): NoText =>
  name === "audio" ? NO_AUDIO_TEXT : NO_ANSWER_TEXT;
/** Members of a message or delta that Limen does not look into. */
export const isMedia = (name: string): boolean => name === "audio" || name === "images";

export function readResponse(root: JsonNode): Result<InferenceResponse> {
  const choices = asItems(get(root, "choices"));
  const model = textOf(get(root, "model"));
  if (root.kind !== "object" || choices === undefined) return fail("unknown_shape");
  const segments: Segment[] = [];
  const calls: ToolCall[] = [];
  let media = false;
  const emit: Emit = (literal) => segments.push(segment(literal, "assistant"));
  for (const [at, choice] of choices.entries()) {
    const message = asObject(get(choice, "message"));
    const own = message && callsOf(message, at);
    const content = get(message, "content");
    // A delta beside the message would be a second copy of the answer, with calls of its own.
    const twice = get(choice, "delta") !== undefined;
    if (choice.kind !== "object" || message === undefined || own === undefined || twice) {
      return fail("unknown_shape");
    }
    if (message.members.has(PROTOTYPE)) return fail("unknown_shape");
    if (content !== undefined && content.kind !== "string") return fail("unknown_shape");
    for (const one of own) calls.push(one);
    for (const [name, value] of message.members) {
      media ||= isMedia(name) && !isNull(value);
      if (isText(MESSAGE, name, value)) readText(value, emit, noTextIn(name));
    }
    for (const value of besideCalls(message)) readText(value, emit, NO_ANSWER_TEXT);
    for (const one of spelled(choice, message)) segments.push(one);
    for (const [name, value] of choice.members) {
      if (isText(CHOICE, name, value)) readText(value, emit, NO_ANSWER_TEXT);
    }
  }
  for (const [name, value] of root.members) {
    if (isText(CHUNK, name, value)) readText(value, emit, NO_ANSWER_TEXT);
  }
  return ok({
    model: model === undefined ? undefined : new Content(model),
    segments,
    calls,
    media,
  });
}

/**
 * What a choice's log probabilities spell, unless the message says the same. Such a text has many literals and
 * is placed as if it were one at their start: they are longer than what they spell, so its edits fall inside them,
 * and they go whole with any edit (`companions`).
 */
function spelled(choice: JsonNode, message: JsonObject): readonly Segment[] {
  const runs = new Map<string, string[]>();
  const segments: Segment[] = [];
  readLogprobs(choice, {
    token: (path, { value }) => {
      const run = runs.get(path);
      if (run === undefined) runs.set(path, [value]);
      else run.push(value);
    },
    alternative: (literal) => segments.push(segment(literal, "assistant")),
  });
  if (runs.size === 0) return segments;
  const said = new Set<string | undefined>();
  for (const [name, value] of message.members) {
    if (isText(MESSAGE, name, value)) said.add(textOf(value));
  }
  const start = get(choice, "logprobs")?.start ?? choice.start;
  for (const run of runs.values()) {
    const value = run.join("");
    const end = start + value.length + 2;
    if (!said.has(value))
      segments.push(segment({ kind: "string", start, end, value }, "assistant"));
  }
  return segments;
}

export function withoutCalls(root: JsonNode, refused: Refused): readonly Edit[] {
  const edits: Edit[] = [];
  for (const [at, choice] of (asItems(get(root, "choices")) ?? []).entries()) {
    const message = asObject(get(choice, "message"));
    if (message === undefined) continue;
    const count = asItems(get(message, "tool_calls"))?.length ?? 0;
    const items = new Set<number>();
    const sentences: string[] = [];
    for (let position = 0; position < count; position += 1) {
      const sentence = refused.get(callKey(at, position));
      if (sentence === undefined) continue;
      items.add(position);
      sentences.push(sentence);
    }
    const hasLegacy = get(message, "function_call") !== undefined;
    const legacy = hasLegacy ? refused.get(legacyKey(at)) : undefined;
    if (legacy !== undefined) sentences.push(legacy);
    if (sentences.length === 0) continue;
    const left = count > items.size || (hasLegacy && legacy === undefined);
    const before = (textOf(get(message, "content")) ?? "") === "" ? "nothing" : "text";
    const removal = removeCalls(choice, message, {
      items,
      legacy: legacy === undefined ? "keep" : "remove",
      append: refusalText(sentences, before),
      finish: left ? "keep" : "stop",
    });
    for (const one of removal) edits.push(one);
  }
  return edits;
}

/**
 * With an edit of a choice's text go its log probabilities, and the offsets of its citations, which count
 * characters of the text before the edit: they become an empty range.
 */
export function companions(root: JsonNode, literalStarts: ReadonlySet<number>): readonly Edit[] {
  const edits: Edit[] = [];
  // Literals and choices both in order, so that one pass serves them all.
  const starts = [...literalStarts].sort((a, b) => a - b);
  let at = 0;
  for (const choice of asItems(get(root, "choices")) ?? []) {
    while ((starts[at] ?? choice.start) < choice.start) at += 1;
    if ((starts[at] ?? choice.end) >= choice.end) continue;
    for (const one of dropLogprobs(choice)) edits.push(one);
    for (const annotation of asItems(get(get(choice, "message"), "annotations")) ?? []) {
      for (const name of ["start_index", "end_index"]) {
        const offset = get(get(annotation, "url_citation"), name);
        if (offset !== undefined) edits.push(replace(offset, "0"));
      }
    }
  }
  return edits;
}
