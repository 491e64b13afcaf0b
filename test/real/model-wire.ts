/**
 * Writes a script as the two providers do: one JSON value, or the events of a stream. Shapes are those
 * of the public API references (OpenAI "Chat completions", Anthropic "Messages", both with streaming).
 */
import type { Step } from "./scenarios.ts";

export type Wire = "openai" | "anthropic";
export type WireEvent = { readonly event?: string; readonly data: string };

/** A stream in three parts; each entry of `chunks` is what leaves in one write. */
export type WireStream = {
  readonly begin: readonly WireEvent[];
  readonly chunks: readonly (readonly WireEvent[])[];
  readonly end: readonly WireEvent[];
};

const MODEL = "demo-1";
const CREATED = 1_760_000_000;

const textOf = (steps: readonly Step[]): string =>
  steps.flatMap((step) => (step.kind === "text" ? step.pieces : [])).join("");
const hasCall = (steps: readonly Step[]): boolean => steps.some(({ kind }) => kind === "call");

export const jsonOf = (wire: Wire, steps: readonly Step[]): unknown =>
  wire === "openai" ? openaiJson(steps) : anthropicJson(steps);

export const writerOf = (wire: Wire, steps: readonly Step[]): WireStream =>
  wire === "openai" ? openaiStream(steps) : anthropicStream(steps);

function openaiJson(steps: readonly Step[]): unknown {
  const calls = steps.flatMap((step, i) =>
    step.kind === "call"
      ? [
          {
            id: `call_${i}`,
            type: "function",
            function: { name: step.name, arguments: step.args.join("") },
          },
        ]
      : [],
  );
  return {
    id: "chatcmpl-demo",
    object: "chat.completion",
    created: CREATED,
    model: MODEL,
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: textOf(steps),
          refusal: null,
          ...(calls.length > 0 && { tool_calls: calls }),
        },
        logprobs: null,
        finish_reason: calls.length > 0 ? "tool_calls" : "stop",
      },
    ],
    usage: { prompt_tokens: 12, completion_tokens: 9, total_tokens: 21 },
  };
}

function openaiStream(steps: readonly Step[]): WireStream {
  const event = (delta: unknown, finish: string | null = null): WireEvent => ({
    data: JSON.stringify({
      id: "chatcmpl-demo",
      object: "chat.completion.chunk",
      created: CREATED,
      model: MODEL,
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
    }),
  });
  const chunks: WireEvent[][] = [];
  let index = 0;
  for (const [i, step] of steps.entries()) {
    if (step.kind === "text") {
      for (const content of step.pieces) chunks.push([event({ content })]);
      continue;
    }
    const open = {
      index,
      id: `call_${i}`,
      type: "function",
      function: { name: step.name, arguments: "" },
    };
    chunks.push([event({ tool_calls: [open] })]);
    for (const piece of step.args) {
      chunks.push([event({ tool_calls: [{ index, function: { arguments: piece } }] })]);
    }
    index += 1;
  }
  return {
    begin: [event({ role: "assistant", content: "", refusal: null })],
    chunks,
    end: [event({}, hasCall(steps) ? "tool_calls" : "stop"), { data: "[DONE]" }],
  };
}

const anthropicMessage = (content: readonly unknown[], stopReason: string | null): unknown => ({
  id: "msg_demo",
  type: "message",
  role: "assistant",
  model: MODEL,
  content,
  stop_reason: stopReason,
  stop_sequence: null,
  usage: { input_tokens: 12, output_tokens: stopReason === null ? 1 : 9 },
});

function anthropicJson(steps: readonly Step[]): unknown {
  const content = steps.map((step, i) =>
    step.kind === "text"
      ? { type: "text", text: step.pieces.join("") }
      : {
          type: "tool_use",
          id: `toolu_${i}`,
          name: step.name,
          input: JSON.parse(step.args.join("")) as unknown,
        },
  );
  return anthropicMessage(content, hasCall(steps) ? "tool_use" : "end_turn");
}

function anthropicStream(steps: readonly Step[]): WireStream {
  const event = (type: string, rest: object): WireEvent => ({
    event: type,
    data: JSON.stringify({ type, ...rest }),
  });
  const chunks: WireEvent[][] = [];
  for (const [index, step] of steps.entries()) {
    const block =
      step.kind === "text"
        ? { type: "text", text: "" }
        : { type: "tool_use", id: `toolu_${index}`, name: step.name, input: {} };
    chunks.push([event("content_block_start", { index, content_block: block })]);
    for (const piece of step.kind === "text" ? step.pieces : step.args) {
      const delta =
        step.kind === "text"
          ? { type: "text_delta", text: piece }
          : { type: "input_json_delta", partial_json: piece };
      chunks.push([event("content_block_delta", { index, delta })]);
    }
    chunks.push([event("content_block_stop", { index })]);
  }
  return {
    begin: [event("message_start", { message: anthropicMessage([], null) }), event("ping", {})],
    chunks,
    end: [
      event("message_delta", {
        delta: { stop_reason: hasCall(steps) ? "tool_use" : "end_turn", stop_sequence: null },
        usage: { output_tokens: 9 },
      }),
      event("message_stop", {}),
    ],
  };
}
