/**
 * Reads streams of the Chat Completions API: chunks with one delta per choice, `[DONE]` at the end.
 *
 * A call is complete when the next one of its choice opens or its choice finishes. What contradicts the part
 * before (an earlier index, another name or type, a call after the finish) is `unknown_shape`: clients
 * disagree on what such a stream means.
 */
import { fail, ok, type Result } from "../core/cause.ts";
import { Content } from "../core/content.ts";
import type { FrameView, FrameWriting, Refused, StreamReader } from "./dialect.ts";
import { FrameDraft, STREAM_JSON_DEPTH, silentFrame } from "./frame-draft.ts";
import type { SseFrame } from "./framing/sse.ts";
import { type JsonNode, type JsonObject, parseJson } from "./json.ts";
import { asIndex, asItems, asObject, below, get, isNull, textOf } from "./json-tree.ts";
import {
  besideCalls,
  CALL_FORMS,
  type CallForm,
  callForm,
  callKey,
  dropLogprobs,
  legacyKey,
  NO_ANSWER_TEXT,
} from "./openai-chat-calls.ts";
import { readLogprobs } from "./openai-chat-logprobs.ts";
import {
  CHOICE,
  CHUNK,
  isMedia,
  isText,
  MESSAGE,
  noTextIn,
  PROTOTYPE,
} from "./openai-chat-response.ts";
import { ChatWriter } from "./openai-chat-write.ts";
import { type NoText, named } from "./text.ts";

/** Largest `n` of the API: more choices than that are not its stream. */
const MAX_CHOICES = 128;

type OpenCall = { readonly key: string; readonly name: string; readonly form: CallForm };
type Choice = {
  readonly index: number;
  /** Index of the last call opened, -1 before the first. */
  last: number;
  /** The calls that still take fragments. */
  open: OpenCall | undefined;
  legacy: OpenCall | undefined;
  finished: boolean;
  readonly channels: Set<string>;
};

export class OpenAiChatStream implements StreamReader {
  readonly #choices = new Map<number, Choice>();
  readonly #writer = new ChatWriter();
  #done = false;
  #wholeTexts = 0;

  write(root: JsonNode | undefined, refused: Refused): FrameWriting {
    return this.#writer.write(root, refused);
  }

  read(frame: SseFrame): Result<FrameView> {
    if (frame.data === undefined) return ok(silentFrame(frame));
    if (this.#done) return fail("unknown_shape");
    if (frame.data === "[DONE]") return this.#readDone(frame);
    // Another API's events: the official client wraps their data, so that this API's clients see no chunk.
    if (frame.event?.startsWith("thread.")) return fail("unknown_shape");
    const root = parseJson(frame.data, { depth: STREAM_JSON_DEPTH });
    if (!root.ok) return root;
    const draft = new FrameDraft(frame, root.value);
    const known = this.#readChunk(draft, root.value, frame.event);
    return known ? ok(draft.view()) : fail("unknown_shape");
  }

  /** A choice with calls and no finish was cut off: nobody can tell whether its calls are complete. */
  #readDone(frame: SseFrame): Result<FrameView> {
    for (const { last, legacy, finished } of this.#choices.values()) {
      if (!finished && (last >= 0 || legacy !== undefined)) return fail("unknown_shape");
    }
    this.#done = true;
    return ok(silentFrame(frame, "terminal"));
  }

  #readChunk(draft: FrameDraft, chunk: JsonNode, event: string | undefined): boolean {
    if (chunk.kind !== "object") return false;
    const error = get(chunk, "error");
    const choices = asItems(get(chunk, "choices"));
    draft.failed = error !== undefined || event === "error";
    draft.model = textOf(get(chunk, "model"));
    if (choices === undefined && !draft.failed) return false;
    const indexes = new Set(choices?.map((choice) => asIndex(get(choice, "index"))));
    // Twice in a chunk: clients take the parts one after the other, or the last alone.
    if (indexes.size !== (choices?.length ?? 0)) return false;
    for (const choice of choices ?? []) if (!this.#readChoice(draft, choice)) return false;
    for (const [name, value] of chunk.members) {
      if (name === "error") draft.whole(value, named("type", "code"), this.#nextWhole);
      else if (isText(CHUNK, name, value)) draft.whole(value, NO_ANSWER_TEXT, this.#nextWhole);
    }
    return true;
  }

  readonly #nextWhole = (): string => {
    this.#wholeTexts += 1;
    return `whole/${this.#wholeTexts}`;
  };

  #readChoice(draft: FrameDraft, choice: JsonNode): boolean {
    const state = this.#choiceOf(asIndex(get(choice, "index")));
    const delta = get(choice, "delta");
    const finish = finishOf(choice);
    if (choice.kind !== "object" || state === undefined) return false;
    // A whole message in a chunk would be a second copy of the answer, with calls of its own.
    if (get(choice, "message") !== undefined) return false;
    // Azure sends choices without a delta: content filter results, also with the finish.
    if (delta !== undefined && delta.kind !== "object") return false;
    if (finish !== undefined && finish.kind !== "string") return false;
    draft.companions = dropLogprobs(choice);
    this.#readTokens(draft, choice, state);
    const body = asObject(delta);
    if (body !== undefined && !this.#readDelta(draft, body, state)) return false;
    for (const [name, value] of choice.members) {
      if (isText(CHOICE, name, value)) draft.whole(value, NO_ANSWER_TEXT, this.#nextWhole);
    }
    draft.companions = [];
    if (finish !== undefined) finishChoice(draft, state);
    return true;
  }

  /** Their channels end with the stream: tokens may follow the finish. */
  #readTokens(draft: FrameDraft, choice: JsonNode, { index }: Choice): void {
    readLogprobs(choice, {
      token: (path, literal) => draft.text(`logprobs/${index}${path}`, literal),
      alternative: (literal) => draft.wholeText(literal, "plain", this.#nextWhole()),
    });
  }

  #choiceOf(index: number | undefined): Choice | undefined {
    if (index === undefined || index >= MAX_CHOICES) return undefined;
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const fresh: Choice = {
      index,
      last: -1,
      open: undefined,
      legacy: undefined,
      finished: false,
      channels: new Set(),
    };
    this.#choices.set(index, fresh);
    return fresh;
  }

  #readDelta(draft: FrameDraft, delta: JsonObject, state: Choice): boolean {
    for (const [name, value] of delta.members) {
      if (name === "content" && !isNull(value) && value.kind !== "string") return false;
      if (name === PROTOTYPE) return false;
      draft.media ||= isMedia(name) && !isNull(value);
      const channel = below(String(state.index), name);
      if (name === "content" && textOf(value)) closeOthers(draft, state, channel);
      if (name === "annotations") draft.whole(value, NO_ANSWER_TEXT, this.#nextWhole);
      else if (isText(MESSAGE, name, value)) {
        readChannels(draft, state, value, { channel, noText: noTextIn(name) });
      }
    }
    for (const value of besideCalls(delta)) draft.whole(value, NO_ANSWER_TEXT, this.#nextWhole);
    const list = get(delta, "tool_calls");
    const items = list === undefined ? [] : asItems(list);
    const legacy = get(delta, "function_call");
    return (
      items?.every((item) => readFragment(draft, state, item)) === true &&
      (legacy === undefined || readLegacy(draft, state, legacy))
    );
  }
}

/** The finish of a choice; some servers write "" where others write null. */
function finishOf(choice: JsonNode): JsonNode | undefined {
  const finish = get(choice, "finish_reason");
  return finish?.kind === "string" && finish.value === "" ? undefined : finish;
}

type Place = { readonly channel: string; readonly noText: NoText };

/** Texts that go on from chunk to chunk: one channel per string, named by its path. */
function readChannels(draft: FrameDraft, state: Choice, value: JsonNode, place: Place): void {
  const { channel, noText } = place;
  if (value.kind === "string") {
    if (value.value !== "") state.channels.add(channel);
    draft.text(channel, value);
  } else if (value.kind === "array") {
    for (const [at, item] of value.items.entries()) {
      readChannels(draft, state, item, { channel: `${channel}/${at}`, noText });
    }
  } else if (value.kind === "object") {
    for (const [name, member] of value.members) {
      if (member.kind === "string" && noText(value, name)) continue;
      readChannels(draft, state, member, { channel: below(channel, name), noText });
    }
  }
}

/** The answer begins: reasoning is over. (When calls begin, the answer is.) */
function closeOthers(draft: FrameDraft, state: Choice, channel: string): void {
  for (const other of state.channels) {
    if (other !== channel) closeChannel(draft, state, other);
  }
}

function closeChannel(draft: FrameDraft, state: Choice, channel: string): void {
  draft.closes.push(channel);
  state.channels.delete(channel);
}

function readFragment(draft: FrameDraft, state: Choice, item: JsonNode): boolean {
  const index = asIndex(get(item, "index"));
  const form = callForm(item);
  if (index === undefined || form === undefined || state.finished) return false;
  if (index > state.last) {
    for (const channel of state.channels) closeChannel(draft, state, channel);
    closeCall(draft, state.open);
    state.last = index;
    state.open = openCall(draft, callKey(state.index, index), { form, body: get(item, form) });
  } else if (index < state.last) {
    return false;
  }
  return continues(draft, state.open, { form, body: get(item, form) });
}

function readLegacy(draft: FrameDraft, state: Choice, body: JsonNode): boolean {
  if (state.finished) return false;
  state.legacy ??= openCall(draft, legacyKey(state.index), { form: "function", body });
  return continues(draft, state.legacy, { form: "function", body });
}

type Fragment = { readonly form: CallForm; readonly body: JsonNode | undefined };

/** The first fragment has the name; undefined without one. */
function openCall(draft: FrameDraft, key: string, { form, body }: Fragment): OpenCall | undefined {
  const name = textOf(get(body, "name"));
  if (name === undefined || name === "") return undefined;
  const { argsForm } = CALL_FORMS[form];
  draft.calls.push({ kind: "open", key, name: new Content(name), execution: "client", argsForm });
  return { key, name, form };
}

/** Takes the arguments of a fragment that agrees with its call. Some servers repeat name and type. */
function continues(draft: FrameDraft, call: OpenCall | undefined, fragment: Fragment): boolean {
  const { form, body } = fragment;
  const name = get(body, "name");
  const args = get(body, CALL_FORMS[form].args);
  // A fragment without a body (an id alone) has the default form and says nothing about its call's.
  if (call === undefined || (body !== undefined && form !== call.form)) return false;
  if (name !== undefined && textOf(name) !== call.name && textOf(name) !== "") return false;
  if (args !== undefined && args.kind !== "string") return false;
  if (args !== undefined && args.value !== "") {
    draft.calls.push({ kind: "args", key: call.key, text: args.value });
  }
  return true;
}

function closeCall(draft: FrameDraft, call: OpenCall | undefined): void {
  if (call !== undefined) draft.calls.push({ kind: "close", key: call.key });
}

/** Some servers repeat the finish in their usage chunk. */
function finishChoice(draft: FrameDraft, state: Choice): void {
  if (!state.finished) {
    closeCall(draft, state.open);
    closeCall(draft, state.legacy);
  }
  state.finished = true;
  for (const channel of state.channels) closeChannel(draft, state, channel);
}
