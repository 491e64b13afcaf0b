/** Plays a stream through a dialect as the exchange does, and builds the streams that providers send. */
import assert from "node:assert/strict";
import { Content } from "../../src/core/content.ts";
import type { ToolCall } from "../../src/core/inference.ts";
import type { Dialect, FrameView } from "../../src/llm/dialect.ts";
import { SseFramer, withData } from "../../src/llm/framing/sse.ts";
import { applyEdits, type JsonNode, parseJson } from "../../src/llm/json.ts";

export const parsed = (text: string): JsonNode => {
  const result = parseJson(text, { depth: 64 });
  assert.ok(result.ok, "the fixture must be strict JSON");
  return result.value;
};

export type Seen = {
  /** Channel to its concatenated text. */
  readonly texts: Record<string, string>;
  readonly signed: string[];
  readonly closes: string[];
  readonly calls: ToolCall[];
  readonly closed: string[];
  readonly terminal: boolean;
  readonly failed: boolean;
  readonly media: boolean;
  readonly model: string | undefined;
  /** The first cause, when reading ended with one. */
  readonly cause: string | undefined;
  readonly views: readonly FrameView[];
};

/** Reads a whole stream, cut as given. */
export function watch(dialect: Dialect, chunks: readonly Uint8Array[]) {
  const reader = dialect.openStream();
  const framer = new SseFramer(1 << 20);
  const views: FrameView[] = [];
  let cause: string | undefined;
  const results = [...chunks.map((chunk) => framer.push(chunk)), framer.end()];
  for (const result of results) {
    assert.ok(result.ok, "the fixture must be frames");
    for (const frame of result.value) {
      const view = reader.read(frame);
      if (view.ok) views.push(view.value);
      else cause ??= view.cause;
      if (cause !== undefined) break;
    }
  }
  return { reader, seen: collect(views, cause) };
}

function collect(views: readonly FrameView[], cause: string | undefined): Seen {
  const texts: Record<string, string> = {};
  const signed = new Set<string>();
  const open = new Map<string, { call: ToolCall; args: string[] }>();
  const closed: string[] = [];
  for (const { texts: pieces, calls } of views) {
    for (const { channel, literal, signed: bySignature } of pieces) {
      texts[channel] = (texts[channel] ?? "") + literal.value;
      if (bySignature) signed.add(channel);
    }
    for (const piece of calls) {
      if (piece.kind === "open") {
        assert.ok(!open.has(piece.key), "a call opens once");
        const { key, name, execution, argsForm } = piece;
        open.set(key, { call: { key, name, execution, argsForm, args: name }, args: [] });
      } else if (piece.kind === "args") open.get(piece.key)!.args.push(piece.text);
      else closed.push(piece.key);
      assert.ok(!closed.includes(piece.key) || piece.kind === "close", "nothing after the close");
    }
  }
  return {
    texts,
    signed: [...signed],
    closes: views.flatMap((view) => view.closes),
    calls: [...open.values()].map(({ call, args }) => ({
      ...call,
      args: new Content(args.join("")),
    })),
    closed,
    terminal: views.some(({ terminal }) => terminal),
    failed: views.some(({ failed }) => failed),
    media: views.some(({ media }) => media),
    model: views.find(({ model }) => model !== undefined)?.model?.reveal(),
    cause,
    views,
  };
}

/** What a client gets when the calls named in `refused` are. */
export function relay(
  dialect: Dialect,
  chunks: readonly Uint8Array[],
  refused: Readonly<Record<string, string>>,
): string {
  const { reader, seen } = watch(dialect, chunks);
  assert.equal(seen.cause, undefined);
  const out: string[] = [];
  for (const view of seen.views) {
    const writing = reader.write(view.root, new Map(Object.entries(refused)));
    if (writing.kind === "drop") continue;
    const { frame } = view;
    const bytes =
      writing.edits.length === 0
        ? frame.raw
        : withData(frame, applyEdits(frame.data ?? "", writing.edits));
    out.push(Buffer.from(bytes).toString(), writing.after);
  }
  return out.join("");
}

/** A buffered answer without the refused calls. */
export const edited = (
  dialect: Dialect,
  body: string,
  refused: Readonly<Record<string, string>>,
): string =>
  applyEdits(body, dialect.withoutCalls(body, parsed(body), new Map(Object.entries(refused))));

export const bytes = (text: string): Uint8Array => Buffer.from(text);
/** `whole` cut at the given places. */
export const cutAt = (whole: Uint8Array, places: readonly number[]): readonly Uint8Array[] => {
  const borders = [...new Set(places.map((place) => place % (whole.length + 1)))].sort(
    (a, b) => a - b,
  );
  return [0, ...borders].map((from, at) => whole.subarray(from, borders[at]));
};

/** Chunks of the Chat Completions API, one per choice given, and `[DONE]`. */
export const chat = (...choices: readonly object[]): string =>
  [...choices.map((choice) => chunk({ choices: [choice] })), "data: [DONE]\n\n"].join("");
export const chunk = (fields: object): string =>
  `data: ${JSON.stringify({ id: "c1", object: "chat.completion.chunk", created: 1, model: "m-1", ...fields })}\n\n`;
export const delta = (fields: object, index = 0): object => ({
  index,
  delta: fields,
  finish_reason: null,
});
export const finish = (reason: string, index = 0): object => ({
  index,
  delta: {},
  finish_reason: reason,
});
/** A fragment of `delta.tool_calls`. */
export const call = (index: number, name: string | undefined, args: string): object => ({
  index,
  ...(name === undefined ? {} : { id: `call_${index}`, type: "function" }),
  function: { ...(name === undefined ? {} : { name }), arguments: args },
});

/** Events of the Messages API. */
export const events = (...data: readonly { readonly type: string }[]): string =>
  data.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join("");
export const started = {
  type: "message_start",
  message: {
    id: "msg_1",
    type: "message",
    role: "assistant",
    model: "m-1",
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { input_tokens: 3, output_tokens: 1 },
  },
} as const;
export const ended = (reason: string) =>
  [
    {
      type: "message_delta",
      delta: { stop_reason: reason, stop_sequence: null },
      usage: { output_tokens: 9 },
    },
    { type: "message_stop" },
  ] as const;
/** One block: how it starts, and its deltas. */
export const block = (index: number, start: object, ...deltas: readonly object[]) => [
  { type: "content_block_start", index, content_block: start },
  ...deltas.map((fields) => ({ type: "content_block_delta", index, delta: fields })),
  { type: "content_block_stop", index },
];
export const textBlock = (index: number, ...pieces: readonly string[]) =>
  block(index, { type: "text", text: "" }, ...pieces.map((text) => ({ type: "text_delta", text })));
export const toolBlock = (index: number, name: string, ...pieces: readonly string[]) =>
  block(
    index,
    { type: "tool_use", id: `toolu_${index}`, name, input: {} },
    ...pieces.map((partial_json) => ({ type: "input_json_delta", partial_json })),
  );
