/** Both dialects against bodies and streams in which any value was replaced by any other. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { anthropicMessages } from "../../src/llm/anthropic-messages.ts";
import type { Dialect } from "../../src/llm/dialect.ts";
import { applyEdits } from "../../src/llm/json.ts";
import { typeOf } from "../../src/llm/json-tree.ts";
import { openAiChat } from "../../src/llm/openai-chat.ts";
import { bytes, parsed, started, watch } from "./relay.ts";

const schema = { type: "object", properties: { a: { type: "string", description: "d" } } };
const chatTool = (name: string) => ({ type: "function", function: { name, parameters: schema } });
const chatCall = (index: number) => ({
  index,
  id: "i",
  type: "function",
  function: { name: "f", arguments: "{}" },
});

type Sample = {
  readonly dialect: Dialect;
  readonly request: unknown;
  readonly answer: unknown;
  readonly events: readonly unknown[];
};
const samples: readonly Sample[] = [
  {
    dialect: openAiChat,
    request: {
      model: "m",
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "x" },
            { type: "image_url", image_url: { url: "u" } },
          ],
        },
        {
          role: "assistant",
          content: null,
          tool_calls: [chatCall(0)],
          function_call: { name: "f" },
        },
      ],
      tools: [chatTool("f"), { type: "custom", custom: { name: "g" } }, chatTool("h")],
      tool_choice: {
        type: "allowed_tools",
        allowed_tools: { mode: "auto", tools: [chatTool("f")] },
      },
      functions: [{ name: "f" }],
      function_call: { name: "f" },
      web_search_options: {},
    },
    answer: {
      choices: [
        {
          index: 0,
          message: {
            content: "x",
            tool_calls: [chatCall(0), chatCall(1)],
            function_call: { name: "f", arguments: "{}" },
            annotations: [{ url_citation: { start_index: 1, end_index: 2, url: "u" } }],
          },
          logprobs: { content: [] },
          finish_reason: "tool_calls",
        },
      ],
    },
    events: [
      {
        choices: [
          { index: 0, delta: { role: "assistant", content: "x", tool_calls: [chatCall(0)] } },
        ],
      },
      {
        choices: [
          {
            index: 0,
            delta: { tool_calls: [chatCall(0), chatCall(1)] },
            logprobs: { content: [] },
          },
        ],
      },
      { choices: [{ index: 0, delta: { function_call: { name: "f", arguments: "{}" } } }] },
      { choices: [{ index: 0, delta: {}, finish_reason: "tool_calls" }] },
    ],
  },
  {
    dialect: anthropicMessages,
    request: {
      model: "m",
      system: [{ type: "text", text: "s" }],
      messages: [
        {
          role: "user",
          content: [
            { type: "tool_use", name: "f", input: { a: 1 } },
            {
              type: "tool_result",
              content: [{ type: "image", source: { type: "base64", data: "A" } }],
            },
            {
              type: "document",
              source: { type: "content", content: [{ type: "text", text: "d" }] },
            },
          ],
        },
      ],
      tools: [{ name: "f", input_schema: schema }, { type: "web_search_20250305" }, { name: "g" }],
      mcp_servers: [{ name: "s", url: "u" }],
      tool_choice: { type: "tool", name: "f" },
    },
    answer: {
      content: [
        { type: "text", text: "x", citations: [{ cited_text: "c" }] },
        { type: "tool_use", name: "f", input: {} },
        { type: "tool_use", name: "g", input: { a: 1 } },
      ],
      stop_reason: "tool_use",
    },
    events: [
      started,
      { type: "content_block_start", index: 0, content_block: { type: "text", text: "x" } },
      { type: "content_block_delta", index: 0, delta: { type: "text_delta", text: "y" } },
      { type: "content_block_stop", index: 0 },
      {
        type: "content_block_start",
        index: 1,
        content_block: { type: "tool_use", name: "f", input: {} },
      },
      {
        type: "content_block_delta",
        index: 1,
        delta: { type: "input_json_delta", partial_json: "{}" },
      },
      { type: "content_block_stop", index: 1 },
      { type: "message_delta", delta: { stop_reason: "tool_use" }, usage: {} },
      { type: "message_stop" },
    ],
  },
];

/** `value` with the node at a place replaced; the places are counted depth first. */
function damaged(value: unknown, place: number, by: unknown): unknown {
  let at = 0;
  const copy = (node: unknown): unknown => {
    at += 1;
    if (at - 1 === place) return by;
    if (Array.isArray(node)) return node.map(copy);
    if (node === null || typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).map(([name, member]) => [name, copy(member)]));
  };
  return copy(value);
}
const replacement = fc.oneof(
  fc.constantFrom<unknown[]>(
    null,
    true,
    0,
    -1,
    1e300,
    "",
    "text",
    "tool_use",
    "__proto__",
    [],
    [[]],
    {},
  ),
  fc.constantFrom<unknown[]>(
    [null],
    { type: "text" },
    { type: 7 },
    [{}],
    { function: null },
    "[DONE]",
  ),
  fc.jsonValue({ maxDepth: 2 }),
);
const refused = new Map(
  ["0", "1", "2", "0/0", "0/1", "0/function_call"].map((key) => [key, "No."]),
);

/** One event, named by the type in its data. */
function framed(data: string): string {
  const type = typeOf(parsed(data)) ?? "";
  return `${/^\w+$/.test(type) ? `event: ${type}\n` : ""}data: ${data}\n\n`;
}

for (const { dialect, request, answer, events } of samples) {
  describe(`hostile bodies of ${dialect.id}`, () => {
    it("are read or refused, never thrown at, and what is read can be stripped to valid JSON", () => {
      let read = 0;
      fc.assert(
        fc.property(fc.nat(70), replacement, fc.nat(63), (place, by, mask) => {
          const text = JSON.stringify(damaged(request, place, by));
          const root = parsed(text);
          const result = dialect.readRequest(root);
          if (!result.ok) return assert.equal(result.cause, "unknown_shape");
          read += 1;
          for (const { source, content } of result.value.segments) {
            assert.equal(JSON.parse(text.slice(source.start, source.end)), content.reveal());
          }
          const gone = result.value.tools
            .map(({ index }) => index)
            .filter((at) => (mask >> at) & 1);
          const stripped = parsed(
            applyEdits(text, dialect.withoutTools(text, root, new Set(gone))),
          );
          const again = dialect.readRequest(stripped);
          assert.equal(
            again.ok && again.value.tools.length,
            result.value.tools.length - gone.length,
          );
        }),
        { numRuns: 1500 },
      );
      assert.ok(read > 100);
    });

    it("have no refused call left in an answer that was read", () => {
      let read = 0;
      fc.assert(
        fc.property(fc.nat(40), replacement, (place, by) => {
          const text = JSON.stringify(damaged(answer, place, by));
          const root = parsed(text);
          const result = dialect.readResponse(root);
          if (!result.ok) return assert.equal(result.cause, "unknown_shape");
          read += 1;
          const kept = parsed(applyEdits(text, dialect.withoutCalls(text, root, refused)));
          const again = dialect.readResponse(kept);
          assert.deepEqual(again.ok && again.value.calls, []);
        }),
        { numRuns: 1000 },
      );
      assert.ok(read > 100);
    });

    it("have no refused call left in a stream that was read", () => {
      let read = 0;
      fc.assert(
        fc.property(fc.nat(70), replacement, (place, by) => {
          const list = damaged(events, place, by);
          fc.pre(Array.isArray(list));
          const text = (list as unknown[]).map((data) => framed(JSON.stringify(data))).join("");
          const { reader, seen } = watch(dialect, [bytes(text)]);
          const out: string[] = [];
          for (const view of seen.views) {
            const writing = reader.write(view.root, refused);
            if (writing.kind === "drop") continue;
            out.push(framed(applyEdits(view.frame.data ?? "", writing.edits)), writing.after);
          }
          if (seen.cause !== undefined) return;
          read += 1;
          const again = watch(dialect, [bytes(out.join(""))]).seen;
          assert.equal(again.cause, undefined);
          assert.deepEqual(again.calls, []);
        }),
        { numRuns: 1000 },
      );
      assert.ok(read > 50);
    });
  });
}
