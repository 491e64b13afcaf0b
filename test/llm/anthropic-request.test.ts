import assert from "node:assert/strict";
import { anthropicMessages } from "../../src/llm/anthropic-messages.ts";
import { applyEdits } from "../../src/llm/json.ts";
import { parsed } from "./relay.ts";

const body = (fields: object): string =>
  JSON.stringify({ model: "m-1", max_tokens: 64, messages: [user("hi")], ...fields });
const user = (content: unknown): object => ({ role: "user", content });
const read = (fields: object) => anthropicMessages.readRequest(parsed(body(fields)));
const request = (fields: object) => {
  const result = read(fields);
  assert.ok(result.ok, "the fixture must be a request");
  return result.value;
};
const textsOf = (fields: object): readonly string[] =>
  request(fields).segments.map(({ provenance, content }) => `${provenance}:${content.reveal()}`);

describe("requests of messages", () => {
  it("have a segment with the right provenance for every text of every message", () => {
    const texts = textsOf({
      system: [{ type: "text", text: "s1", cache_control: { type: "ephemeral" } }],
      messages: [
        user([
          { type: "text", text: "u1" },
          {
            type: "document",
            title: "d1",
            context: "d2",
            source: { type: "text", media_type: "text/plain", data: "d3" },
          },
          {
            type: "document",
            source: { type: "content", content: [{ type: "text", text: "d4" }] },
          },
          { type: "document", source: { type: "content", content: "d5" } },
          {
            type: "search_result",
            source: "d6",
            title: "d7",
            content: [{ type: "text", text: "d8" }],
          },
        ]),
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "a1", signature: "sig" },
            { type: "redacted_thinking", data: "opaque" },
            { type: "text", text: "a2", citations: [{ cited_text: "a3", document_title: "a4" }] },
            { type: "tool_use", id: "toolu_1", name: "a5", input: { a6: ["a7"] } },
          ],
        },
        user([
          { type: "tool_result", tool_use_id: "toolu_1", content: "t1" },
          {
            type: "tool_result",
            tool_use_id: "toolu_1",
            content: [
              { type: "text", text: "t2" },
              { type: "tool_reference", tool_name: "t3" },
              { type: "search_result", source: "d9", title: "d10", content: [] },
            ],
          },
          {
            type: "web_search_tool_result",
            tool_use_id: "srv_1",
            content: [
              { type: "web_search_result", url: "t4", title: "t5", encrypted_content: "x" },
            ],
          },
          {
            type: "bash_code_execution_tool_result",
            tool_use_id: "srv_2",
            content: {
              type: "bash_code_execution_result",
              stdout: "t6",
              stderr: "t7",
              content: [],
            },
          },
          {
            type: "web_fetch_tool_result",
            tool_use_id: "srv_3",
            content: {
              type: "web_fetch_result",
              url: "t8",
              content: {
                type: "document",
                source: { type: "text", media_type: "text/plain", data: "t9" },
              },
            },
          },
          { type: "mcp_tool_result", tool_use_id: "m", content: [{ type: "text", text: "t10" }] },
        ]),
        { role: "system", content: "s2" },
      ],
    });
    assert.deepEqual(texts, [
      "system:s1",
      ...["user:u1", "document:d1", "document:d2", "document:d3", "document:d4", "document:d5"],
      ...["document:d6", "document:d7", "document:d8"],
      ...["assistant:a1", "assistant:a2", "assistant:a3", "assistant:a4"],
      ...["assistant:a5", "assistant:a6", "assistant:a7"],
      ...["tool:t1", "tool:t2", "tool:t3", "document:d9", "document:d10"],
      ...["tool:t4", "tool:t5", "tool:t6", "tool:t7", "tool:t8", "tool:t9", "tool:t10"],
      "system:s2",
    ]);
  });

  it("mark signed thinking, which can only be kept whole", () => {
    const { segments, media } = request({
      messages: [
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "why", signature: "sig" },
            { type: "text", text: "so" },
          ],
        },
      ],
    });
    assert.deepEqual(
      segments.map(({ content, signed }) => [content.reveal(), signed]),
      [
        ["why", true],
        ["so", false],
      ],
    );
    assert.equal(media, false);
  });

  it("give every segment the place of its literal", () => {
    const text = body({ system: "é\n😀", tools: [{ name: "f", input_schema: { title: "t" } }] });
    const result = anthropicMessages.readRequest(parsed(text));
    assert.ok(result.ok && result.value.segments.length > 3);
    for (const { source, content } of result.value.segments) {
      assert.equal(JSON.parse(text.slice(source.start, source.end)), content.reveal());
    }
  });

  it("are the same prompt with a string and with one text block", () => {
    assert.deepEqual(textsOf({ messages: [user([{ type: "text", text: "hi" }])] }), textsOf({}));
    assert.deepEqual(textsOf({ system: [{ type: "text", text: "s" }] }), textsOf({ system: "s" }));
  });

  const media: readonly (readonly [string, object, readonly string[]])[] = [
    [
      "an image",
      { type: "image", source: { type: "base64", media_type: "image/png", data: "AAAA" } },
      [],
    ],
    ["an image by URL", { type: "image", source: { type: "url", url: "u" } }, ["user:u"]],
    [
      "a file",
      { type: "document", title: "t", source: { type: "file", file_id: "f" } },
      ["document:t"],
    ],
    ["an upload", { type: "container_upload", file_id: "f" }, []],
    ["encrypted thinking", { type: "redacted_thinking", data: "x" }, []],
    [
      "an image in a tool result",
      {
        type: "tool_result",
        content: [{ type: "image", source: { type: "base64", data: "AAAA" } }],
      },
      [],
    ],
    [
      "a PDF file in the result of a provider's tool",
      {
        type: "web_fetch_tool_result",
        content: { content: { type: "document", source: { type: "base64", data: "AAAA" } } },
      },
      [],
    ],
  ];
  for (const [what, block, texts] of media) {
    it(`say that ${what} is not looked into`, () => {
      const fields = { messages: [user([block])] };
      assert.equal(request(fields).media, true);
      assert.deepEqual(textsOf(fields), texts);
    });
  }

  it("have the texts of tools, servers and all other fields", () => {
    const token = ["secret", "token"].join("-");
    const texts = textsOf({
      tools: [
        {
          name: "f1",
          description: "d1",
          input_schema: { type: "object", properties: { p1: { description: "d2" } } },
          input_examples: [{ p1: "e1" }],
        },
      ],
      mcp_servers: [{ type: "url", name: "n1", url: "l1", authorization_token: token }],
      stop_sequences: ["x1"],
      metadata: { user_id: "x2" },
      output_format: { type: "json_schema", schema: { description: "x3" } },
      something_new: { "x4 as a key": "x5" },
    });
    for (const text of ["f1", "d1", "p1", "d2", "e1", "n1", "l1"]) {
      assert.ok(texts.includes(`tool:${text}`), text);
    }
    for (const text of ["x1", "x2", "x3", "x4 as a key", "x5"]) {
      assert.ok(texts.includes(`user:${text}`), text);
    }
    // The credential is meant for the provider: taken for a leak, no request with a server would pass.
    assert.ok(!texts.some((text) => text.includes(token)));
  });

  it("have keys that cannot be edited: two edited ones could be the same", () => {
    const { segments } = request({
      messages: [
        {
          role: "assistant",
          extra: { k1: "v1" },
          content: [{ type: "tool_use", id: "u", name: "f", input: { k2: { k3: "v2" } } }],
        },
      ],
      tools: [{ name: "v3", input_schema: { properties: { k4: { description: "v4" } } } }],
      something_new: { k5: ["v5"] },
    });
    const signed = (trust: boolean): readonly string[] =>
      segments.filter((one) => one.signed === trust).map(({ content }) => content.reveal());
    assert.deepEqual(signed(true).toSorted(), ["k1", "k2", "k3", "k4", "k5"]);
    for (const value of ["v1", "v2", "v3", "v4", "v5"]) assert.ok(signed(false).includes(value));
  });

  it("declare every tool: what the client runs by name, what the provider runs by type", () => {
    const { tools } = request({
      tools: [
        { name: "f1", input_schema: {} },
        { type: "custom", name: "f2", input_schema: {} },
        { type: "bash_20250124", name: "bash" },
        { type: "computer_toolset_20260801" },
        { type: "web_search_20250305", name: "web_search" },
        { type: "code_execution_29990101", name: "code_execution" },
        { type: "tool_search_tool_regex", name: "tool_search_tool_regex" },
        { type: "mcp_toolset", mcp_server_name: "s" },
      ],
      mcp_servers: [{ type: "url", name: "s", url: "https://s.example" }],
    });
    assert.deepEqual(
      tools.map(({ name, execution }) => [name.reveal(), execution]),
      [
        ["f1", "client"],
        ["f2", "client"],
        ["bash", "client"],
        ["computer_toolset_20260801", "client"],
        ["anthropic:web_search_20250305", "provider"],
        ["anthropic:code_execution_29990101", "provider"],
        ["anthropic:tool_search_tool_regex", "provider"],
        ["anthropic:mcp", "provider"],
        ["anthropic:mcp", "provider"],
      ],
    );
    assert.deepEqual(
      tools.map(({ index }) => index),
      [0, 1, 2, 3, 4, 5, 6, 7, 8],
    );
  });

  it("carry the calls of the conversation so far, those of the provider too", () => {
    const { history } = request({
      messages: [
        {
          role: "assistant",
          content: [
            { type: "tool_use", id: "1", name: "f", input: { a: 1.0, b: [] } },
            { type: "server_tool_use", id: "2", name: "web_search", input: { query: "q" } },
            { type: "mcp_tool_use", id: "3", name: "g", server_name: "s", input: {} },
          ],
        },
      ],
    });
    assert.deepEqual(
      history.map(({ name, args, execution }) => [name.reveal(), args.reveal(), execution]),
      [
        ["f", '{"a":1,"b":[]}', "client"],
        ["anthropic:web_search", '{"query":"q"}', "provider"],
        ["anthropic:mcp", "{}", "provider"],
      ],
    );
  });

  it("carry model, stream and limits, and are read without a limit for count_tokens", () => {
    const { dialect, model, streamed, maxOutputTokens, messages } = request({ stream: true });
    assert.deepEqual(
      [dialect, model.reveal(), streamed, maxOutputTokens, messages],
      ["anthropic-messages", "m-1", true, 64, 1],
    );
    const counted = request({ max_tokens: undefined });
    assert.deepEqual([counted.maxOutputTokens, counted.streamed], [undefined, false]);
  });

  it("force the named tool", () => {
    const names = (tool_choice: object) =>
      request({ tool_choice }).forcedTools.map((name) => name.reveal());
    assert.deepEqual(names({ type: "tool", name: "f" }), ["f"]);
    for (const type of ["auto", "any", "none"]) assert.deepEqual(names({ type }), []);
  });

  const unknown: readonly (readonly [string, object])[] = [
    ["no model", { model: undefined }],
    ["no messages", { messages: undefined }],
    ["an unknown role", { messages: [{ role: "tool", content: "x" }] }],
    ["an unknown block", { messages: [user([{ type: "video" }])] }],
    ["a block without a type", { messages: [user([{ text: "x" }])] }],
    ["a block that is text", { messages: [user(["x"])] }],
    ["content that is one block", { messages: [user({ type: "text", text: "x" })] }],
    [
      "an unknown block in a tool result",
      { messages: [user([{ type: "tool_result", content: [{ type: "video" }] }])] },
    ],
    [
      "an unknown block in a document",
      {
        messages: [
          user([{ type: "document", source: { type: "content", content: [{ type: "video" }] } }]),
        ],
      },
    ],
    ["an unknown source", { messages: [user([{ type: "document", source: { type: "s3" } }])] }],
    ["an unknown block in the system prompt", { system: [{ type: "video" }] }],
    ["a system prompt that is a number", { system: 7 }],
    [
      "a tool added in mid-conversation",
      { messages: [user([{ type: "tool_addition", tool: { name: "f" } }])] },
    ],
    ["an unknown tool type", { tools: [{ type: "teleport_20300101", name: "t" }] }],
    ["a tool type that is no text", { tools: [{ type: 7, name: "t" }] }],
    ["a tool without a name", { tools: [{ input_schema: {} }] }],
    ["an unknown choice", { tool_choice: { type: "perhaps" } }],
    ["a choice that names no tool", { tool_choice: { type: "tool" } }],
    ["a choice that is text", { tool_choice: "auto" }],
    ["fallback models", { fallbacks: [{ model: "m-2" }] }],
    ["the provider's choice of fallback models", { fallbacks: "default" }],
    ["a call without input", { messages: [user([{ type: "tool_use", id: "1", name: "f" }])] }],
  ];
  for (const [what, fields] of unknown) {
    it(`have an unknown shape with ${what}`, () => {
      assert.deepEqual(read(fields), { ok: false, cause: "unknown_shape" });
    });
  }
});

describe("tools taken out of messages", () => {
  const without = (fields: object, ...indexes: readonly number[]): Record<string, unknown> => {
    const text = body(fields);
    const edits = anthropicMessages.withoutTools(text, parsed(text), new Set(indexes));
    const {
      model: _m,
      messages: _ms,
      max_tokens: _t,
      ...rest
    } = JSON.parse(applyEdits(text, edits));
    return rest;
  };
  const [a, b] = [{ name: "a" }, { name: "b" }];
  const server = { type: "url", name: "s", url: "u" };

  it("leave the others, and take the choice along when none is left", () => {
    assert.deepEqual(without({ tools: [a, b], tool_choice: { type: "any" } }, 0), {
      tools: [b],
      tool_choice: { type: "any" },
    });
    assert.deepEqual(without({ tools: [a, b], tool_choice: { type: "any" }, system: "s" }, 0, 1), {
      system: "s",
    });
  });
  it("are counted over tools and servers", () => {
    assert.deepEqual(without({ tools: [a], mcp_servers: [server, server] }, 1), {
      tools: [a],
      mcp_servers: [server],
    });
    assert.deepEqual(without({ tools: [a], mcp_servers: [server] }, 1), { tools: [a] });
  });
  it("are not forced any more", () => {
    const choice = { type: "tool", name: "a", disable_parallel_tool_use: true };
    assert.deepEqual(without({ tools: [a, b], tool_choice: choice }, 0)["tool_choice"], {
      type: "none",
    });
    assert.deepEqual(without({ tools: [a, b], tool_choice: choice }, 1)["tool_choice"], choice);
  });
});
