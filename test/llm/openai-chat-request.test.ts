import assert from "node:assert/strict";
import { applyEdits } from "../../src/llm/json.ts";
import { openAiChat } from "../../src/llm/openai-chat.ts";
import { parsed } from "./relay.ts";

const read = (fields: object) => openAiChat.readRequest(parsed(body(fields)));
const body = (fields: object): string =>
  JSON.stringify({ model: "m-1", messages: [{ role: "user", content: "hi" }], ...fields });
const causeOf = (fields: object): string => {
  const result = read(fields);
  return result.ok ? "ok" : result.cause;
};
const request = (fields: object) => {
  const result = read(fields);
  assert.ok(result.ok, "the fixture must be a request");
  return result.value;
};
/** `provenance:text` of every segment. */
const textsOf = (fields: object): readonly string[] =>
  request(fields).segments.map(({ provenance, content }) => `${provenance}:${content.reveal()}`);
const tool = (name: string, more: object = {}): object => ({
  type: "function",
  function: { name, ...more },
});

describe("requests of chat completions", () => {
  it("have a segment with the right provenance for every text of every message", () => {
    const texts = textsOf({
      messages: [
        { role: "system", content: "s1" },
        { role: "developer", content: [{ type: "text", text: "s2" }] },
        { role: "user", name: "u0", content: "u1" },
        {
          role: "user",
          content: [
            { type: "text", text: "u2" },
            { type: "image_url", image_url: { url: "https://x.example/u3.png", detail: "low" } },
            { type: "file", file: { filename: "u4.pdf", file_data: "JVBERi0=" } },
          ],
        },
        {
          role: "assistant",
          content: [
            { type: "text", text: "a1" },
            { type: "refusal", refusal: "a2" },
          ],
          refusal: "a3",
          reasoning_content: "a4",
          tool_calls: [
            { id: "call_1", type: "function", function: { name: "a5", arguments: "a6" } },
          ],
        },
        { role: "assistant", function_call: { name: "a7", arguments: "a8" } },
        { role: "tool", tool_call_id: "call_1", content: [{ type: "text", text: "t1" }] },
        { role: "function", name: "t2", content: "t3" },
      ],
    });
    assert.deepEqual(texts, [
      ...["system:s1", "system:s2", "user:u0", "user:u1", "user:u2"],
      ...["user:https://x.example/u3.png", "user:u4.pdf"],
      ...["assistant:a1", "assistant:a2", "assistant:a3", "assistant:a4", "assistant:a5"],
      ...["assistant:a6", "assistant:a7", "assistant:a8", "tool:t1", "tool:t2", "tool:t3"],
    ]);
  });

  it("have the texts of tools, schemas included, as texts of tools", () => {
    const texts = textsOf({
      tools: [
        tool("f1", {
          description: "d1",
          parameters: {
            type: "object",
            properties: { p1: { type: "string", description: "d2", enum: ["e1"] } },
          },
        }),
        { type: "custom", custom: { name: "f2", format: { type: "grammar", definition: "g1" } } },
      ],
      functions: [{ name: "f3", description: "d3" }],
    });
    for (const text of ["f1", "d1", "p1", "d2", "e1", "f2", "g1", "f3", "d3"]) {
      assert.ok(texts.includes(`tool:${text}`), text);
    }
  });

  it("have the texts of all other fields, unknown ones included, as texts of the user", () => {
    const texts = textsOf({
      stop: ["x1"],
      user: "x2",
      metadata: { x3: "x4" },
      prediction: { type: "content", content: [{ type: "text", text: "x5" }] },
      response_format: {
        type: "json_schema",
        json_schema: { name: "x6", schema: { title: "x7" } },
      },
      documents: [{ data: "x8", id: "x9" }],
    });
    for (const at of [1, 2, 3, 4, 5, 6, 7, 8, 9])
      assert.ok(texts.includes(`user:x${at}`), `x${at}`);
  });

  it("have keys that cannot be edited: two edited ones could be the same", () => {
    const { segments } = request({
      messages: [{ role: "user", content: "v1", extra: { k1: "v2" } }],
      metadata: { k2: "v3", k3: "v4" },
      tools: [tool("f", { parameters: { properties: { k4: { description: "v5" } } } })],
    });
    const keys = segments.filter(({ signed }) => signed).map(({ content }) => content.reveal());
    assert.deepEqual(keys.toSorted(), ["k1", "k2", "k3", "k4"]);
  });

  it("give every segment the place of its literal", () => {
    const text = body({ user: "a\u00e9\n😀", metadata: { key: "v" } });
    const result = openAiChat.readRequest(parsed(text));
    assert.ok(result.ok && result.value.segments.length > 3);
    for (const { source, content } of result.value.segments) {
      assert.equal(JSON.parse(text.slice(source.start, source.end)), content.reveal());
    }
  });

  it("are the same prompt with a string and with one text part", () => {
    const parts = [{ type: "text", text: "hi" }];
    assert.deepEqual(textsOf({ messages: [{ role: "user", content: parts }] }), textsOf({}));
  });

  it("say what is not looked into", () => {
    const withPart = (part: object) => request({ messages: [{ role: "user", content: [part] }] });
    assert.equal(request({}).media, false);
    for (const part of [
      { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } },
      { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } },
      { type: "file", file: { file_id: "f" } },
    ]) {
      assert.equal(withPart(part).media, true);
      assert.equal(withPart(part).segments.length, 0);
    }
  });

  it("carry their model, stream, size and limits", () => {
    const { model, streamed, messages, maxOutputTokens, dialect } = request({
      stream: true,
      max_tokens: 5,
      max_completion_tokens: 9,
    });
    assert.deepEqual(
      [dialect, model.reveal(), streamed, messages, maxOutputTokens],
      ["openai-chat", "m-1", true, 1, 9],
    );
    assert.equal(request({ stream: false }).streamed, false);
    assert.equal(request({}).maxOutputTokens, undefined);
  });

  it("carry the calls of the conversation so far, legacy and custom ones too", () => {
    const { history } = request({
      messages: [
        {
          role: "assistant",
          content: null,
          tool_calls: [
            { id: "1", type: "function", function: { name: "f1", arguments: '{"a":1}' } },
            { id: "2", type: "custom", custom: { name: "f2", input: "free" } },
          ],
        },
        { role: "assistant", function_call: { name: "f3", arguments: "{}" } },
      ],
    });
    assert.deepEqual(
      history.map(({ name, args, argsForm, execution }) => [
        name.reveal(),
        args.reveal(),
        argsForm,
        execution,
      ]),
      [
        ["f1", '{"a":1}', "json", "client"],
        ["f2", "free", "text", "client"],
        ["f3", "{}", "json", "client"],
      ],
    );
  });

  it("declare every tool, however it is declared, the same name twice twice", () => {
    const { tools } = request({
      tools: [tool("f1"), { type: "custom", custom: { name: "f2" } }, tool("f1")],
      functions: [{ name: "f3" }],
      web_search_options: {},
      enable_search: false,
    });
    assert.deepEqual(
      tools.map(({ name, execution, index }) => [name.reveal(), execution, index]),
      [
        ["f1", "client", 0],
        ["f2", "client", 1],
        ["f1", "client", 2],
        ["f3", "client", 3],
        ["openai:web_search", "provider", 4],
      ],
    );
  });

  const forced: readonly (readonly [object, readonly string[]])[] = [
    [{ tool_choice: "required" }, []],
    [{ tool_choice: tool("f") }, ["f"]],
    [{ tool_choice: { type: "custom", custom: { name: "f" } } }, ["f"]],
    [{ function_call: { name: "f" } }, ["f"]],
    [{ function_call: "auto" }, []],
    [
      {
        tool_choice: {
          type: "allowed_tools",
          allowed_tools: { mode: "required", tools: [tool("f"), tool("g")] },
        },
      },
      ["f", "g"],
    ],
  ];
  for (const [fields, names] of forced) {
    it(`force [${names}] with ${JSON.stringify(fields)}`, () => {
      assert.deepEqual(
        request(fields).forcedTools.map((name) => name.reveal()),
        names,
      );
    });
  }

  const unknown: readonly (readonly [string, object])[] = [
    ["no model", { model: null }],
    ["a model that is a list", { model: ["m-1"] }],
    ["no messages", { messages: null }],
    ["messages that are text", { messages: "hi" }],
    ["a message that is text", { messages: ["hi"] }],
    ["an unknown role", { messages: [{ role: "root", content: "hi" }] }],
    ["a role in capitals", { messages: [{ role: "System", content: "hi" }] }],
    ["no role", { messages: [{ content: "hi" }] }],
    ["an unknown part", { messages: [{ role: "user", content: [{ type: "video_url" }] }] }],
    ["a part that is text", { messages: [{ role: "user", content: ["hi"] }] }],
    ["content that is a number", { messages: [{ role: "user", content: 7 }] }],
    ["content that is one part", { messages: [{ role: "user", content: { type: "text" } }] }],
    ["an unknown tool type", { tools: [{ type: "web_search_2030_01_01" }] }],
    ["a tool without a name", { tools: [{ type: "function", function: {} }] }],
    ["tools that are no list", { tools: { type: "function" } }],
    ["an unknown forced type", { tool_choice: { type: "hosted", name: "f" } }],
    ["a list of other models", { models: ["m-2"] }],
    ["other models to fall back to", { fallbacks: ["m-2"] }],
    [
      "a call of an unknown type",
      { messages: [{ role: "assistant", tool_calls: [{ type: "program", program: {} }] }] },
    ],
    [
      "a call with arguments that are no text",
      {
        messages: [
          {
            role: "assistant",
            tool_calls: [{ type: "function", function: { name: "f", arguments: {} } }],
          },
        ],
      },
    ],
  ];
  for (const [what, fields] of unknown) {
    it(`have an unknown shape with ${what}`, () => assert.equal(causeOf(fields), "unknown_shape"));
  }
  it("have an unknown shape when they are no object", () => {
    for (const text of ["[]", '"hi"', "null"]) {
      assert.equal(openAiChat.readRequest(parsed(text)).ok, false);
    }
  });
});

describe("tools taken out of chat completions", () => {
  const without = (fields: object, ...indexes: readonly number[]): Record<string, unknown> => {
    const text = body(fields);
    const edits = openAiChat.withoutTools(text, parsed(text), new Set(indexes));
    const { model: _m, messages: _ms, ...rest } = JSON.parse(applyEdits(text, edits));
    return rest;
  };
  const three = { tools: [tool("f0"), tool("f1"), tool("f2")], tool_choice: "auto" };

  it("leave the others in their order", () => {
    assert.deepEqual(without(three, 1), { ...three, tools: [tool("f0"), tool("f2")] });
    assert.deepEqual(without(three, 0, 2), { ...three, tools: [tool("f1")] });
  });
  it("take what speaks of tools along when none is left", () => {
    assert.deepEqual(without({ ...three, parallel_tool_calls: true, user: "u" }, 0, 1, 2), {
      user: "u",
    });
    assert.deepEqual(without({ functions: [{ name: "f" }], function_call: "auto" }, 0), {});
    assert.deepEqual(without({ web_search_options: {}, user: "u" }, 0), { user: "u" });
  });
  it("are counted over tools, functions and provider fields", () => {
    const fields = { tools: [tool("f0")], functions: [{ name: "f1" }], web_search_options: {} };
    assert.deepEqual(without(fields, 1), { tools: [tool("f0")], web_search_options: {} });
    assert.deepEqual(without(fields, 0, 2), { functions: [{ name: "f1" }] });
  });
  it("are not forced any more", () => {
    assert.equal(without({ ...three, tool_choice: tool("f1") }, 1)["tool_choice"], "none");
    assert.deepEqual(without({ ...three, tool_choice: tool("f1") }, 0)["tool_choice"], tool("f1"));
    const functions = {
      functions: [{ name: "f0" }, { name: "f1" }],
      function_call: { name: "f1" },
    };
    assert.equal(without(functions, 1)["function_call"], "none");
    const subset = (...names: readonly string[]) => ({
      type: "allowed_tools",
      allowed_tools: { mode: "auto", tools: names.map((name) => tool(name)) },
    });
    assert.deepEqual(
      without({ ...three, tool_choice: subset("f0", "f1") }, 1)["tool_choice"],
      subset("f0"),
    );
    assert.equal(without({ ...three, tool_choice: subset("f1") }, 1)["tool_choice"], "none");
  });
  it("leave every other byte as it was", () => {
    const text =
      '{ "model":"m" ,\n "temperature": 1.0e0, "tools": [ {"type":"function","function":{"name":"a"}} , {"type":"function","function":{"name":"b"}} ], "messages":[]}';
    const edits = openAiChat.withoutTools(text, parsed(text), new Set([0]));
    assert.equal(
      applyEdits(text, edits),
      '{ "model":"m" ,\n "temperature": 1.0e0, "tools": [ {"type":"function","function":{"name":"b"}} ], "messages":[]}',
    );
  });
});
