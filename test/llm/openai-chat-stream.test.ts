import assert from "node:assert/strict";
import fc from "fast-check";
import { openAiChat } from "../../src/llm/openai-chat.ts";
import {
  bytes,
  call,
  chat,
  chunk,
  cutAt,
  delta,
  edited,
  finish,
  parsed,
  relay,
  watch,
} from "./relay.ts";

const seenIn = (text: string) => watch(openAiChat, [bytes(text)]).seen;
const causeOf = (...choices: readonly object[]): string | undefined =>
  seenIn(chat(...choices)).cause;
const callsIn = (text: string) =>
  seenIn(text).calls.map(({ key, name, args, argsForm }) => [
    key,
    name.reveal(),
    args.reveal(),
    argsForm,
  ]);

/** The message that a client puts together, as the official library does it. */
function assemble(stream: string): unknown[] {
  const choices: Record<string, unknown>[] = [];
  for (const line of stream.split("\n")) {
    if (!line.startsWith("data: {")) continue;
    for (const choice of JSON.parse(line.slice(6)).choices) merge(choices, choice);
  }
  return choices;
}
// biome-ignore lint/suspicious/noExplicitAny: a client that trusts the wire
function merge(choices: Record<string, any>[], { index, delta: fields, finish_reason }: any): void {
  choices[index] ??= { message: { role: "assistant", content: null }, finish_reason: null };
  const { message } = choices[index]!;
  if (finish_reason !== null) choices[index]!["finish_reason"] = finish_reason;
  if (fields.content) message.content = (message.content ?? "") + fields.content;
  if (fields.function_call) {
    message.function_call ??= { name: "", arguments: "" };
    message.function_call.name ||= fields.function_call.name;
    message.function_call.arguments += fields.function_call.arguments ?? "";
  }
  for (const { index: at, id, type, function: body } of fields.tool_calls ?? []) {
    message.tool_calls ??= [];
    message.tool_calls[at] ??= { id, type, function: { name: "", arguments: "" } };
    message.tool_calls[at].function.name ||= body.name;
    message.tool_calls[at].function.arguments += body.arguments ?? "";
  }
}

describe("answers of chat completions", () => {
  const read = (message: object, more: object = {}) =>
    openAiChat.readResponse(
      parsed(
        JSON.stringify({
          id: "c1",
          model: "m-1",
          choices: [{ index: 0, message, finish_reason: "stop", logprobs: null }],
          usage: { prompt_tokens: 1 },
          system_fingerprint: "fp",
          ...more,
        }),
      ),
    );

  it("have a segment for every string that a client shows, whatever its field", () => {
    const result = read(
      {
        role: "assistant",
        content: "t1",
        refusal: "t2",
        reasoning_content: "t3",
        reasoning_details: [{ type: "reasoning.text", text: "t4" }],
        annotations: [
          { type: "url_citation", url_citation: { title: "t5", url: "t6", start_index: 0 } },
        ],
        audio: { id: "a", data: "AAAA", transcript: "t7" },
      },
      { citations: ["t8"] },
    );
    assert.ok(result.ok);
    const texts = result.value.segments.map(({ content }) => content.reveal());
    assert.deepEqual(texts, ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8"]);
    assert.equal(result.value.media, true);
    assert.equal(result.value.model?.reveal(), "m-1");
  });

  it("have a segment for what stands beside calls and constants, whatever its name", () => {
    const tool = { id: "no", type: "function", note: "t1", extra: { thought_signature: "no" } };
    const body = { name: "f", arguments: "{}", description: "t2" };
    const result = read(
      {
        role: ["t3"],
        tool_calls: [{ ...tool, function: body }],
        function_call: { ...body, description: "t4" },
      },
      { usage: { note: "t5" }, created: "t6", id: { a: "t7" }, service_tier: "no" },
    );
    assert.ok(result.ok);
    const texts = result.value.segments.map(({ content }) => content.reveal());
    assert.deepEqual(texts.toSorted(), ["t1", "t2", "t3", "t4", "t5", "t6", "t7"]);
  });

  const unknown: readonly (readonly [string, object])[] = [
    ["no choices", { choices: undefined }],
    ["choices that are no list", { choices: {} }],
    ["a choice without a message", { choices: [{ index: 0, text: "hi" }] }],
    ["a delta beside the message", { choices: [{ message: {}, delta: { content: "x" } }] }],
    ["content that is a list", { choices: [{ message: { content: ["x"] } }] }],
    ["a prototype", { choices: [{ message: { ["__proto__"]: { tool_calls: [] } } }] }],
    ["a call of an unknown type", { choices: [{ message: { tool_calls: [{ type: "mcp" }] } }] }],
    [
      "a call that is two, the other type",
      {
        choices: [
          {
            message: {
              tool_calls: [
                {
                  type: "custom",
                  function: { name: "a", arguments: "" },
                  custom: { name: "b", input: "" },
                },
              ],
            },
          },
        ],
      },
    ],
    [
      "a call that is two",
      {
        choices: [
          {
            message: {
              tool_calls: [
                {
                  type: "function",
                  function: { name: "a", arguments: "" },
                  custom: { name: "b", input: "" },
                },
              ],
            },
          },
        ],
      },
    ],
  ];
  for (const [what, more] of unknown) {
    it(`have an unknown shape with ${what}`, () => {
      assert.deepEqual(read({ content: "x" }, more), { ok: false, cause: "unknown_shape" });
    });
  }

  const spelling = (...tokens: readonly string[]) => ({
    content: tokens.map((token) => ({ token, logprob: -1, bytes: [1], top_logprobs: [] })),
  });
  const segmentsOf = (message: object, logprobs: unknown) => {
    const text = JSON.stringify({ choices: [{ index: 0, message, logprobs }] });
    const result = openAiChat.readResponse(parsed(text));
    assert.ok(result.ok);
    return { text, segments: result.value.segments };
  };
  const textsOf = (message: object, logprobs: unknown): readonly string[] =>
    segmentsOf(message, logprobs).segments.map(({ content }) => content.reveal());

  it("say once what their log probabilities spell as well", () => {
    assert.deepEqual(textsOf({ content: "Hi you" }, spelling("Hi", " ", "you")), ["Hi you"]);
    const refusal = [{ token: "N" }, { token: "o" }];
    assert.deepEqual(textsOf({ content: null, refusal: "No" }, { refusal }), ["No"]);
    for (const nothing of [null, {}, { content: null, refusal: [] }]) {
      assert.deepEqual(textsOf({ content: "Hi" }, nothing), ["Hi"]);
    }
  });
  it("have what their log probabilities spell instead as a text", () => {
    assert.deepEqual(textsOf({ content: "Hi" }, spelling("Sec", "ret")), ["Hi", "Secret"]);
    assert.deepEqual(textsOf({ content: null }, spelling("Secret")), ["Secret"]);
    assert.deepEqual(textsOf({ content: "Hi", role: "odd" }, spelling("odd")), ["Hi", "odd"]);
    const tokens = ["Sec", "ret"];
    assert.deepEqual(textsOf({ content: "Hi" }, { tokens, odd: "Hi" }), ["Hi", "Secret"]);
  });
  it("lose log probabilities whole with any edit of what they spell", () => {
    for (const logprobs of [spelling("é\n", "😀"), { tokens: ["a", "b"] }, { content: "a" }]) {
      const { text, segments } = segmentsOf({ content: null }, logprobs);
      const [spelled] = segments;
      assert.ok(spelled !== undefined && segments.length === 1);
      const { start, end } = spelled.source;
      const [edit] = openAiChat.companions(parsed(text), new Set([start]));
      assert.ok(edit !== undefined && edit.start <= start && end <= edit.end);
      assert.equal(text.slice(edit.start, edit.end), JSON.stringify(logprobs));
      assert.equal(end - start, spelled.content.reveal().length + 2);
    }
  });
  it("have every token that might have stood there as a text", () => {
    const content = [{ token: "Hi", top_logprobs: [{ token: "Hi" }, { token: "Secret" }] }];
    assert.deepEqual(textsOf({ content: "Hi" }, { content }), ["Hi", "Hi", "Secret"]);
  });

  it("lose log probabilities and citation offsets with an edit of their text", () => {
    const choice = (content: string): object => ({
      message: {
        content,
        annotations: [{ url_citation: { start_index: 3, end_index: 9, url: "u" } }],
      },
      logprobs: { content: [{ token: content }] },
    });
    const text = JSON.stringify({ choices: [choice("first"), choice("second")] });
    const inSecond = text.indexOf('"second"');
    const edits = openAiChat.companions(parsed(text), new Set([inSecond]));
    assert.deepEqual(
      edits.map(({ start, end, text: by }) => [text.slice(start, end), by]),
      [
        ['{"content":[{"token":"second"}]}', "null"],
        ["3", "0"],
        ["9", "0"],
      ],
    );
    assert.ok(edits.every(({ start }) => start > inSecond));
    assert.deepEqual(openAiChat.companions(parsed(text), new Set([0])), []);
    assert.deepEqual(openAiChat.companions(parsed(text), new Set()), []);
  });
  it("lose them once, however many of their texts are edited", () => {
    const choice = {
      message: {
        content: "x",
        notes: ["y", "z"],
        annotations: [{ url_citation: { start_index: 3, end_index: 9 } }],
      },
    };
    const text = JSON.stringify({ choices: [choice, choice, choice] });
    const places = (letter: string): readonly number[] =>
      [...text.matchAll(new RegExp(`"${letter}"`, "g"))].map(({ index }) => index);
    const all = new Set([...places("z"), ...places("y"), ...places("x"), text.length]);
    const offsets = (starts: ReadonlySet<number>): readonly number[] =>
      openAiChat.companions(parsed(text), starts).map(({ start }) => start);
    assert.deepEqual(
      offsets(all),
      [...places("start_index"), ...places("end_index")]
        .map((at) => text.indexOf(":", at) + 1)
        .sort((a, b) => a - b),
    );
    assert.equal(offsets(new Set([...places("z").slice(0, 1), ...places("x").slice(2)])).length, 4);
  });
});

describe("streams of chat completions", () => {
  it("have one channel per choice and field, and numbered ones for texts that come whole", () => {
    const { texts, closes, model, terminal, media } = seenIn(
      chunk({ choices: [delta({ role: "assistant", content: "", reasoning_content: "why" })] }) +
        chat(
          delta({ content: "Hel" }),
          delta({ content: "other" }, 1),
          delta({ content: "lo" }),
          delta({ refusal: "no" }, 1),
          delta({ annotations: [{ url_citation: { title: "T", url: "U" } }] }),
          delta({ audio: { id: "x", data: "AAAA", transcript: "said" } }, 1),
          finish("stop"),
        ),
    );
    assert.deepEqual(texts, {
      "0/reasoning_content": "why",
      "0/content": "Hello",
      "1/content": "other",
      "1/refusal": "no",
      "whole/1": "T",
      "whole/2": "U",
      "1/audio/transcript": "said",
    });
    assert.deepEqual(closes, ["0/reasoning_content", "0/content"]);
    assert.deepEqual([model, terminal, media], ["m-1", true, true]);
  });

  it("put nested texts together by their path, whatever stands beside them", () => {
    const detail = (fields: object): object => delta({ reasoning_details: [fields] });
    const { texts } = seenIn(
      chat(
        detail({ format: "f", text: "a" }),
        detail({ format: "", text: "b" }),
        detail({ text: "c" }),
      ),
    );
    assert.deepEqual(texts["0/reasoning_details/0/text"], "abc");
  });

  it("do not mix texts whose names look like the path of another", () => {
    const names = { "details/0/text": "b", "details~10~1text": "c" };
    const { texts } = seenIn(
      chat(delta({ details: [{ text: "a" }], ...names }), delta({ details: [{ text: "d" }] })),
    );
    assert.deepEqual(Object.values(texts).toSorted(), ["ad", "b", "c"]);
  });

  it("have a text for what stands beside calls and constants", () => {
    const note = { ...call(0, "f", "{}"), note: "t1" };
    const legacy = { function_call: { name: "f", arguments: "", description: "t2" } };
    const { texts } = seenIn(
      chunk({ choices: [delta({ tool_calls: [note], ...legacy })], usage: { note: "t3" } }),
    );
    assert.deepEqual(Object.values(texts).toSorted(), ["t1", "t2", "t3"]);
  });

  it("have an unknown shape with a choice twice in a chunk", () => {
    const choices = [delta({ content: "a" }), finish("stop")];
    assert.equal(seenIn(chunk({ choices })).cause, "unknown_shape");
    assert.equal(seenIn(chunk({ choices: [choices[0], finish("stop", 1)] })).cause, undefined);
  });

  it("put calls together by choice and index, however their fragments lie", () => {
    const text = chat(
      delta({ role: "assistant", content: null, tool_calls: [call(0, "f", "")] }),
      delta({ tool_calls: [call(0, undefined, '{"a"')] }),
      delta({ tool_calls: [call(0, "g", "{")] }, 1),
      delta({ tool_calls: [call(0, undefined, ":1}"), call(1, "h", "{}")] }),
      delta({ tool_calls: [call(0, undefined, "}")] }, 1),
      finish("tool_calls"),
      finish("tool_calls", 1),
    );
    assert.deepEqual(callsIn(text), [
      ["0/0", "f", '{"a":1}', "json"],
      ["1/0", "g", "{}", "json"],
      ["0/1", "h", "{}", "json"],
    ]);
    assert.deepEqual(seenIn(text).closed, ["0/0", "0/1", "1/0"]);
  });

  it("close a call when the next one opens, so that its verdict need not wait", () => {
    const { views } = seenIn(
      chat(
        delta({ tool_calls: [call(0, "f", "{}")] }),
        delta({ tool_calls: [call(1, "g", "{}")] }),
        finish("stop"),
      ),
    );
    assert.deepEqual(
      views.map(({ calls }) => calls.map(({ kind, key }) => `${kind} ${key}`)),
      [["open 0/0", "args 0/0"], ["close 0/0", "open 0/1", "args 0/1"], ["close 0/1"], []],
    );
  });

  it("have free-text calls and legacy calls", () => {
    const custom = { index: 0, id: "1", type: "custom", custom: { name: "sh", input: "ls " } };
    assert.deepEqual(
      callsIn(
        chat(
          delta({ tool_calls: [custom] }),
          delta({ tool_calls: [{ index: 0, custom: { input: "-l" } }] }),
          delta({ function_call: { name: "old", arguments: "" } }),
          delta({ function_call: { arguments: "{}" } }),
          finish("tool_calls"),
        ),
      ),
      [
        ["0/0", "sh", "ls -l", "text"],
        ["0/function_call", "old", "{}", "json"],
      ],
    );
  });

  it("carry their log probabilities as companions of every text", () => {
    const text = chunk({
      choices: [{ ...delta({ content: "hi" }), logprobs: { content: [{ token: "hi" }] } }],
    });
    const [view] = seenIn(text).views;
    const [companion] = view?.texts[0]?.companions ?? [];
    assert.ok(companion && view?.frame.data);
    assert.equal(companion.text, "null");
    assert.equal(
      view.frame.data.slice(companion.start, companion.end),
      '{"content":[{"token":"hi"}]}',
    );
  });

  it("have a channel for what their log probabilities spell, across frames and the finish", () => {
    const spelled = (token: string, more: object = {}): object => ({
      ...delta({ content: "x" }),
      logprobs: { content: [{ token, top_logprobs: [{ token: "other" }] }, { token: "." }] },
      ...more,
    });
    const { texts, closes, views } = seenIn(
      chat(spelled("Sec"), spelled("ret", { finish_reason: "stop" }), {
        ...finish("stop"),
        logprobs: { content: [{ token: "s" }], refusal: [{ token: "no" }] },
      }),
    );
    assert.deepEqual(texts, {
      "0/content": "xx",
      "logprobs/0/content/token": "Sec.ret.s",
      "logprobs/0/refusal/token": "no",
      "whole/1": "other",
      "whole/2": "other",
    });
    assert.ok(!closes.includes("logprobs/0/content/token"));
    for (const { frame, texts: pieces } of views) {
      for (const { companions } of pieces) {
        const replaced = companions.map(({ start, end }) => frame.data?.slice(start, end));
        assert.ok(replaced.length === 1 && replaced[0]?.startsWith('{"content":[{"token":'));
      }
    }
  });

  it("report an error of the provider, and read its message as text", () => {
    const { failed, texts, cause } = seenIn(
      `${chunk({ choices: [delta({ content: "a" })] })}data: {"error":{"message":"broken","code":"x"}}\n\n`,
    );
    assert.deepEqual([failed, texts["whole/1"], cause], [true, "broken", undefined]);
    assert.equal(seenIn('event: error\ndata: {"message":"odd"}\n\n').texts["whole/1"], "odd");
    const both = { error: { message: "half" }, choices: [delta({ content: "b" })] };
    assert.deepEqual(seenIn(chunk(both)).texts, { "0/content": "b", "whole/1": "half" });
  });

  it("pass comments, usage chunks and choices without a delta", () => {
    const { cause, texts } = seenIn(
      `: hold on\n\n${chunk({ choices: [], usage: { total_tokens: 4 } })}${chunk({
        choices: [
          { index: 0, finish_reason: null, content_filter_results: { hate: { severity: "low" } } },
        ],
      })}`,
    );
    assert.deepEqual([cause, texts], [undefined, { "whole/1": "low" }]);
  });

  it("have an unknown shape when their event is one of another API", () => {
    const text = chunk({ choices: [delta({ content: "a" })] });
    assert.equal(seenIn(`event: thread.message.delta\n${text}`).cause, "unknown_shape");
    for (const event of ["message", "thread", "completion"]) {
      assert.equal(seenIn(`event: ${event}\n${text}`).cause, undefined);
    }
  });

  it("may repeat a finish or send empty text behind it", () => {
    assert.equal(
      causeOf(
        delta({ tool_calls: [call(0, "f", "{}")] }),
        finish("tool_calls"),
        delta({ content: "" }),
        finish("tool_calls"),
      ),
      undefined,
    );
  });

  const open = delta({ tool_calls: [call(0, "f", "{")] });
  const contradictions: readonly (readonly [string, readonly object[]])[] = [
    ["a fragment without a name before it", [delta({ tool_calls: [call(0, undefined, "{}")] })]],
    ["a fragment with an empty name before it", [delta({ tool_calls: [call(0, "", "{}")] })]],
    ["a fragment without an index", [delta({ tool_calls: [{ function: { name: "f" } }] })]],
    ["a negative index", [delta({ tool_calls: [call(-1, "f", "{}")] })]],
    ["another name", [open, delta({ tool_calls: [call(0, "g", "}")] })]],
    [
      "another type",
      [open, delta({ tool_calls: [{ index: 0, type: "custom", custom: { input: "}" } }] })],
    ],
    [
      "arguments for a call before the last",
      [
        open,
        delta({ tool_calls: [call(1, "g", "{}")] }),
        delta({ tool_calls: [call(0, undefined, "}")] }),
      ],
    ],
    [
      "arguments after the finish",
      [open, finish("tool_calls"), delta({ tool_calls: [call(0, undefined, "}")] })],
    ],
    ["a call after the finish", [finish("stop"), delta({ tool_calls: [call(0, "f", "{}")] })]],
    [
      "a legacy call after the finish",
      [finish("stop"), delta({ function_call: { name: "f", arguments: "{}" } })],
    ],
    [
      "another legacy name",
      [delta({ function_call: { name: "f" } }), delta({ function_call: { name: "g" } })],
    ],
    ["a choice without an index", [{ delta: { content: "x" } }]],
    ["more choices than the API has", [delta({ content: "x" }, 128)]],
    ["a whole message", [{ index: 0, delta: {}, message: { content: "x" } }]],
    ["a finish that is no text", [{ index: 0, delta: {}, finish_reason: 1 }]],
    ["content that is a list", [delta({ content: ["x"] })]],
    ["a prototype", [delta({ ["__proto__"]: { tool_calls: [] } })]],
    [
      "arguments that are no text",
      [delta({ tool_calls: [{ index: 0, function: { name: "f", arguments: {} } }] })],
    ],
    ["calls that are no list", [delta({ tool_calls: { index: 0 } })]],
    [
      "a call of an unknown type",
      [delta({ tool_calls: [{ index: 0, type: "mcp", function: { name: "f" } }] })],
    ],
  ];
  for (const [what, choices] of contradictions) {
    it(`have an unknown shape with ${what}`, () => {
      const text = choices.map((choice) => chunk({ choices: [choice] })).join("");
      assert.equal(seenIn(text).cause, "unknown_shape");
    });
  }
  it("have an unknown shape when [DONE] comes before the finish of a choice with calls", () => {
    assert.equal(causeOf(open), "unknown_shape");
    assert.equal(causeOf(delta({ function_call: { name: "f" } })), "unknown_shape");
    assert.equal(causeOf(delta({ content: "cut o" })), undefined);
  });
  it("have an unknown shape with data behind [DONE], and pass comments there", () => {
    assert.equal(seenIn(`${chat()}: bye\n\n`).cause, undefined);
    assert.equal(seenIn(chat() + chat()).cause, "unknown_shape");
    assert.equal(seenIn(chat() + chunk({ choices: [] })).cause, "unknown_shape");
  });
  for (const [data, cause] of [
    ["{", "malformed_json"],
    ["", "malformed_json"],
    ["[DONE] ", "malformed_json"],
    ['{"choices":[],"choices":[]}', "duplicate_key"],
    ["[]", "unknown_shape"],
    ['{"object":"chat.completion.chunk"}', "unknown_shape"],
  ] as const) {
    it(`answer ${cause} to the data ${JSON.stringify(data)}`, () => {
      assert.equal(seenIn(`data: ${data}\n\n`).cause, cause);
    });
  }
});

describe("refused calls of chat completions", () => {
  const text = chat(
    delta({ role: "assistant", content: "Let me" }),
    delta({ content: " look." }),
    delta({ tool_calls: [call(0, "f0", "")] }),
    delta({ tool_calls: [call(0, undefined, "{}")] }),
    delta({ tool_calls: [call(1, "f1", '{"n":1}')] }),
    delta({ tool_calls: [call(2, "f2", "{}")] }),
    finish("tool_calls"),
  );
  const lines = (stream: string): number => stream.split("\n\n").length - 1;

  it("leave every byte alone when there are none", () => {
    assert.equal(relay(openAiChat, [bytes(text)], {}), text);
  });
  it("go, the others move up, and the sentence stands at the end of the text", () => {
    const out = relay(openAiChat, [bytes(text)], { "0/0": "No f0." });
    assert.equal(lines(out), lines(text) - 2); // both fragments of f0 held nothing else
    const [choice] = assemble(out) as { message: { content: string; tool_calls: object[] } }[];
    assert.equal(choice?.message.content, "Let me look.\n\nNo f0.");
    assert.deepEqual(choice?.message.tool_calls, [
      { id: "call_1", type: "function", function: { name: "f1", arguments: '{"n":1}' } },
      { id: "call_2", type: "function", function: { name: "f2", arguments: "{}" } },
    ]);
  });
  it("end the turn when none is left, at a repeated finish too", () => {
    const again = text.replace("data: [DONE]\n\n", "") + chat(finish("tool_calls"));
    const out = relay(openAiChat, [bytes(again)], { "0/0": "a.", "0/1": "b.", "0/2": "c." });
    assert.ok(!out.includes("tool_calls"));
    assert.equal(out.match(/"finish_reason":"stop"/g)?.length, 2);
    assert.equal(out.match(/a\.\\n\\nb\.\\n\\nc\./g)?.length, 1);
  });
  it("leave a frame that holds something else", () => {
    const first = chat(
      delta({ role: "assistant", content: null, tool_calls: [call(0, "f", "{}")] }),
      finish("tool_calls"),
    );
    const out = relay(openAiChat, [bytes(first)], { "0/0": "No." });
    const [opening, ending] = out.split("\n\n");
    assert.ok(
      opening?.endsWith('"delta":{"role":"assistant","content":null},"finish_reason":null}]}'),
    );
    assert.ok(ending?.endsWith('"delta":{"content":"No."},"finish_reason":"stop"}]}'));
  });
  it("leave usage that comes in the fragment's frame", () => {
    const usage = chunk({
      choices: [delta({ tool_calls: [call(0, "f", "{}")] })],
      usage: { total: 1 },
    });
    const out = relay(openAiChat, [bytes(usage + chat(finish("tool_calls")))], { "0/0": "No." });
    assert.ok(out.includes('"usage":{"total":1}'));
    assert.ok(!out.includes("tool_calls"));
  });
  it("leave a provider's own gap alone until one is refused", () => {
    const gap = chat(
      delta({ tool_calls: [call(1, "a", "{}")] }),
      delta({ tool_calls: [call(4, "b", "{}")] }),
      delta({ tool_calls: [call(7, "c", "{}")] }),
      finish("tool_calls"),
    );
    assert.equal(relay(openAiChat, [bytes(gap)], {}), gap);
    const out = relay(openAiChat, [bytes(gap)], { "0/4": "No." });
    assert.deepEqual(out.match(/"index":\d,"id"/g), ['"index":1,"id"', '"index":2,"id"']);
  });
  it("are answered in the text of a finish that has text of its own", () => {
    const own = chat(delta({ tool_calls: [call(0, "f", "{}")] }), {
      index: 0,
      delta: { content: "Bye" },
      finish_reason: "tool_calls",
    });
    const [choice] = assemble(relay(openAiChat, [bytes(own)], { "0/0": 'Not "f".' })) as {
      message: { content: string };
    }[];
    assert.equal(choice?.message.content, 'Bye\n\nNot "f".');
  });
  it("take the log probabilities along that spell them", () => {
    const body = JSON.stringify({
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: null,
            function_call: { name: "f", arguments: "{}" },
          },
          logprobs: { content: [{ token: "f" }] },
          finish_reason: "function_call",
        },
      ],
    });
    assert.deepEqual(
      JSON.parse(edited(openAiChat, body, { "0/function_call": "No." })).choices[0],
      {
        index: 0,
        message: { role: "assistant", content: "No." },
        logprobs: null,
        finish_reason: "stop",
      },
    );
  });

  /** One choice: text, calls by name and arguments, which of them are refused, a legacy call or none. */
  const model = fc.record({
    content: fc.constantFrom(null, "", "Looking.", 'With "quotes" and é😀'),
    calls: fc.array(
      fc.tuple(fc.constantFrom("f", "g"), fc.constantFrom("{}", '{"a":"\\n"}'), fc.boolean()),
      {
        maxLength: 4,
      },
    ),
    legacy: fc.constantFrom(undefined, true, false),
    whole: fc.boolean(),
  });

  it("give the same message buffered and streamed, for every cut", () => {
    let refusals = 0;
    fc.assert(
      fc.property(
        fc.array(model, { minLength: 1, maxLength: 2 }),
        fc.array(fc.nat(), { maxLength: 8 }),
        (choices, places) => {
          const refused: Record<string, string> = {};
          const buffered: object[] = [];
          const streamed: object[] = [];
          for (const [index, { content, calls, legacy, whole }] of choices.entries()) {
            calls.forEach(([, , no], at) => {
              if (no) refused[`${index}/${at}`] = `No "${at}".`;
            });
            if (legacy === true) refused[`${index}/function_call`] = "No legacy.";
            const reason =
              calls.length > 0 ? "tool_calls" : legacy === undefined ? "stop" : "function_call";
            const tool_calls = calls.map(([name, args], at) => ({
              id: `call_${at}`,
              type: "function",
              function: { name, arguments: args },
            }));
            buffered.push({
              index,
              message: {
                role: "assistant",
                content,
                ...(tool_calls.length > 0 ? { tool_calls } : {}),
                ...(legacy === undefined
                  ? {}
                  : { function_call: { name: "old", arguments: "{}" } }),
              },
              finish_reason: reason,
            });
            streamed.push(delta({ role: "assistant", content: "" }, index));
            for (const letter of content ?? "") streamed.push(delta({ content: letter }, index));
            const fragments = calls.flatMap(([name, args], at) => [
              call(at, name, ""),
              ...[...args].map((letter) => call(at, undefined, letter)),
            ]);
            if (whole && fragments.length > 0)
              streamed.push(delta({ tool_calls: fragments }, index));
            else
              streamed.push(
                ...fragments.map((fragment) => delta({ tool_calls: [fragment] }, index)),
              );
            if (legacy !== undefined) {
              streamed.push(delta({ function_call: { name: "old", arguments: "{" } }, index));
              streamed.push(delta({ function_call: { arguments: "}" } }, index));
            }
            streamed.push(finish(reason, index));
          }
          refusals += Object.keys(refused).length;
          const body = JSON.stringify({ id: "c1", model: "m-1", choices: buffered });
          const stream = bytes(chat(...streamed));
          const out = relay(openAiChat, cutAt(stream, places), refused);
          assert.equal(out, relay(openAiChat, [stream], refused));
          const want = (
            JSON.parse(edited(openAiChat, body, refused)).choices as Record<string, object>[]
          ).map(({ message, finish_reason }) => ({
            message: { ...message, content: textOf(message) },
            finish_reason,
          }));
          assert.deepEqual(assemble(out), want);
          if (Object.keys(refused).length === 0) assert.equal(out, Buffer.from(stream).toString());
          const read = openAiChat.readResponse(parsed(body));
          assert.ok(read.ok);
          const keys = read.value.calls.map(({ key, args, name }) => [
            key,
            name.reveal(),
            args.reveal(),
          ]);
          const seen = seenIn(chat(...streamed)).calls.map(({ key, args, name }) => [
            key,
            name.reveal(),
            args.reveal(),
          ]);
          assert.deepEqual(seen, keys);
        },
      ),
      { numRuns: 300 },
    );
    assert.ok(refusals > 50);
  });
  /** Streams cannot tell null from empty text. */
  const textOf = (message: object | undefined): string | null =>
    (message as { content: string | null }).content || null;
});
