/**
 * Calls in messages of the Chat Completions API, `tool_calls` and the legacy `function_call`, and the edits
 * that take refused ones out: the same for a whole message and for one delta of it.
 */
import { Content } from "../core/content.ts";
import type { ToolCall } from "../core/inference.ts";
import type { Edit } from "../core/segment.ts";
import { encodeFragment, type JsonNode, type JsonObject } from "./json.ts";
import {
  asItems,
  asString,
  cutItems,
  editMembers,
  get,
  isNull,
  membersOf,
  replace,
  textOf,
  typeOf,
} from "./json-tree.ts";
import { type NoText, named } from "./text.ts";

/** Where the two kinds of call have their name and arguments. */
export const CALL_FORMS = {
  function: { args: "arguments", argsForm: "json" },
  custom: { args: "input", argsForm: "text" },
} as const;
export type CallForm = keyof typeof CALL_FORMS;

/** The form of an item of `tool_calls`; undefined when its type and its member do not say the same. */
export function callForm(item: JsonNode): CallForm | undefined {
  const form = get(item, "custom") === undefined ? "function" : "custom";
  const type = get(item, "type") === undefined ? form : typeOf(item);
  const both = get(item, "custom") !== undefined && get(item, "function") !== undefined;
  return type === form && !both ? form : undefined;
}

/** Key of the legacy call of a choice; the others have their position. */
export const legacyKey = (choice: number): string => `${choice}/function_call`;
export const callKey = (choice: number, position: number): string => `${choice}/${position}`;

/** Ids, constants and signatures: no text wherever they stand. */
export const NO_ANSWER_TEXT: NoText = named("id", "type", "signature", "thought_signature");

/** What the calls of a message or delta hold beside index, name and arguments. */
export function besideCalls(message: JsonNode): readonly JsonNode[] {
  const found: JsonNode[] = [];
  for (const item of asItems(get(message, "tool_calls")) ?? []) {
    if (item.kind !== "object") continue;
    for (const [name, value] of item.members) {
      if (name === "function" || name === "custom")
        for (const one of besideCall(value, name)) found.push(one);
      else if (value.kind !== "string" || !NO_ANSWER_TEXT(item, name)) found.push(value);
    }
  }
  return [...found, ...besideCall(get(message, "function_call"), "function")];
}

const besideCall = (body: JsonNode | undefined, form: CallForm): readonly JsonNode[] =>
  body?.kind === "object"
    ? membersOf(body, (name) => name !== "name" && name !== CALL_FORMS[form].args)
    : [];

/** The calls of a whole message; undefined when one has an unknown shape. */
export function callsOf(message: JsonNode, choice: number): readonly ToolCall[] | undefined {
  const list = get(message, "tool_calls");
  const items = list === undefined ? [] : asItems(list);
  const legacy = get(message, "function_call");
  const calls = items?.map((item, position) => {
    const form = callForm(item);
    return form && readCall(get(item, form), form, callKey(choice, position));
  });
  if (legacy !== undefined) calls?.push(readCall(legacy, "function", legacyKey(choice)));
  return calls?.every((call) => call !== undefined) ? calls : undefined;
}

function readCall(body: JsonNode | undefined, form: CallForm, key: string): ToolCall | undefined {
  const { args, argsForm } = CALL_FORMS[form];
  const name = textOf(get(body, "name"));
  const text = get(body, args);
  if (name === undefined || (text !== undefined && text.kind !== "string")) return undefined;
  return {
    name: new Content(name),
    execution: "client",
    args: new Content(text?.value ?? ""),
    argsForm,
    key,
  };
}

/** What is taken out of a message or delta and what is written into it. */
export type Removal = {
  /** Positions in `tool_calls`. */
  readonly items: ReadonlySet<number>;
  readonly legacy: "remove" | "keep";
  /** Behind the message's text; undefined when nothing is written yet. */
  readonly append: string | undefined;
  /** `stop`: no call is left, so the turn did not end for calls. */
  readonly finish: "stop" | "keep";
};

/** @param body the choice's `message` or `delta` */
export function removeCalls(choice: JsonNode, body: JsonObject, removal: Removal): readonly Edit[] {
  const edits: Edit[] = [];
  const remove = new Set<string>();
  const add: string[] = [];
  const list = get(body, "tool_calls");
  if (list?.kind === "array" && removal.items.size > 0) {
    if (removal.items.size === list.items.length) remove.add("tool_calls");
    else for (const one of cutItems(list, removal.items)) edits.push(one);
  }
  if (removal.legacy === "remove") remove.add("function_call");
  if (removal.append !== undefined) {
    const content = body.members.get("content");
    const text = encodeFragment(removal.append);
    if (content === undefined) add.push(`"content":"${text}"`);
    else if (isNull(content)) edits.push(replace(content, `"${text}"`));
    else edits.push({ start: content.end - 1, end: content.end - 1, text });
  }
  const finish = asString(get(choice, "finish_reason"));
  if (removal.finish === "stop" && finish !== undefined && CALL_FINISHES.has(finish.value)) {
    edits.push(replace(finish, '"stop"'));
  }
  for (const one of dropLogprobs(choice)) edits.push(one);
  for (const one of editMembers(body, { remove, add })) edits.push(one);
  return edits;
}

const CALL_FINISHES = new Set(["tool_calls", "function_call"]);

/** Log probabilities spell the text token by token: when it changes, they go. */
export function dropLogprobs(choice: JsonNode): readonly Edit[] {
  const logprobs = get(choice, "logprobs");
  return logprobs === undefined ? [] : [replace(logprobs, "null")];
}

/** The sentences of refused calls as they are appended to a choice's text. */
export const refusalText = (sentences: readonly string[], before: "text" | "nothing"): string =>
  (before === "text" ? "\n\n" : "") + sentences.join("\n\n");
