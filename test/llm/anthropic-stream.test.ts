import assert from "node:assert/strict";
import fc from "fast-check";
import { anthropicMessages } from "../../src/llm/anthropic-messages.ts";
import {
  block,
  bytes,
  cutAt,
  edited,
  ended,
  events,
  parsed,
  relay,
  started,
  textBlock,
  toolBlock,
  watch,
} from "./relay.ts";

type Event = { readonly type: string; readonly index?: number };
const stream = (reason: string, ...blocks: readonly (readonly Event[])[]): string =>
  events(started, ...blocks.flat(), ...ended(reason));
const seenIn = (text: string) => watch(anthropicMessages, [bytes(text)]).seen;
const causeOf = (...data: readonly Event[]): string | undefined => seenIn(events(...data)).cause;

/** The message that a client puts together, as the official library does it. */
function assemble(text: string): Record<string, unknown> {
  // biome-ignore lint/suspicious/noExplicitAny: a client that trusts the wire
  let message: any;
  const args: string[] = [];
  for (const line of text.split("\n")) {
    if (!line.startsWith("data: ")) continue;
    const event = JSON.parse(line.slice(6));
    if (event.type === "message_start") message = event.message;
    if (event.type === "content_block_start") message.content.push(event.content_block);
    const { delta } = event;
    if (event.type === "message_delta") message.stop_reason = delta.stop_reason;
    if (delta?.type === "text_delta") message.content[event.index].text += delta.text;
    if (delta?.type === "input_json_delta") {
      args[event.index] = (args[event.index] ?? "") + delta.partial_json;
    }
  }
  for (const [at, json] of args.entries()) if (json) message.content[at].input = JSON.parse(json);
  return message;
}

describe("answers of messages", () => {
  const read = (content: unknown, more: object = {}) =>
    anthropicMessages.readResponse(
      parsed(JSON.stringify({ ...started.message, content, stop_reason: "end_turn", ...more })),
    );

  it("have a segment for every string that a client shows, whatever its block", () => {
    const result = read(
      [
        { type: "thinking", thinking: "t1", signature: "sig" },
        {
          type: "text",
          text: "t2",
          citations: [
            { type: "char_location", cited_text: "t3", document_title: "t4", file_id: "f" },
          ],
        },
        { type: "server_tool_use", id: "s", name: "web_search", input: { query: "not shown" } },
        {
          type: "web_search_tool_result",
          tool_use_id: "s",
          content: [{ url: "t5", title: "t6", encrypted_content: "x" }],
        },
        {
          type: "code_execution_tool_result",
          tool_use_id: "s",
          content: { stdout: "t7", stderr: "" },
        },
        { type: "tool_use", id: "u", name: "f", input: { a: [1, "x"] } },
        { type: "compaction", content: "t8" },
      ],
      { stop_details: { type: "refusal", explanation: "t9" } },
    );
    assert.ok(result.ok);
    const { segments, calls, media, model } = result.value;
    assert.deepEqual(
      segments.map(({ content }) => content.reveal()),
      ["t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9"],
    );
    assert.deepEqual(
      segments.map(({ provenance }) => provenance === "tool"),
      [false, false, false, false, true, true, true, false, false],
    );
    assert.deepEqual(segments.map(({ signed }) => signed).indexOf(true), 0);
    assert.deepEqual(
      calls.map(({ key, name, args, execution }) => [key, name.reveal(), args.reveal(), execution]),
      [
        ["2", "anthropic:web_search", '{"query":"not shown"}', "provider"],
        ["5", "f", '{"a":[1,"x"]}', "client"],
      ],
    );
    assert.deepEqual([media, model?.reveal()], [false, "m-1"]);
  });
  it("have a segment for what stands beside calls and content, whatever its name", () => {
    const result = read(
      [
        {
          ...{ type: "tool_use", id: "no", name: "f", input: {}, caller: { tool_id: "no" } },
          ...{ note: "t1", type_: ["t2"] },
        },
      ],
      {
        ...{ usage: { service_tier: "t3", output_tokens: 1 }, container: { id: "no", tag: "t4" } },
        ...{ stop_reason: { why: "t5" }, id: ["t6"] },
      },
    );
    assert.ok(result.ok);
    const texts = result.value.segments.map(({ content }) => content.reveal());
    assert.deepEqual(texts.toSorted(), ["t1", "t2", "t3", "t4", "t5", "t6"]);
  });
  it("keep the arguments' own spelling", () => {
    const text =
      '{"content":[{"type":"tool_use","name":"f","input":{ "a":1.0e2, "a\\u0062":"\\/" }}]}';
    const result = anthropicMessages.readResponse(parsed(text));
    assert.equal(
      result.ok && result.value.calls[0]?.args.reveal(),
      '{ "a":1.0e2, "a\\u0062":"\\/" }',
    );
  });
  it("of count_tokens are a number", () => {
    const result = anthropicMessages.readResponse(parsed('{"input_tokens":7}'));
    assert.ok(result.ok);
    assert.deepEqual([result.value.segments, result.value.calls], [[], []]);
  });
  const unknown: readonly (readonly [string, unknown])[] = [
    ["no content", undefined],
    ["content that is text", "hi"],
    ["an unknown block", [{ type: "hologram" }]],
    ["a block that only clients write", [{ type: "tool_result", content: "x" }]],
    ["a call without input", [{ type: "tool_use", name: "f" }]],
    ["a call whose input is text", [{ type: "tool_use", name: "f", input: "{}" }]],
  ];
  for (const [what, content] of unknown) {
    it(`have an unknown shape with ${what}`, () => {
      assert.deepEqual(read(content), { ok: false, cause: "unknown_shape" });
    });
  }
});

describe("streams of messages", () => {
  it("have one channel per block, signed when thinking, and numbered ones for whole texts", () => {
    const seen = seenIn(
      stream(
        "end_turn",
        block(
          0,
          { type: "thinking", thinking: "", signature: "" },
          { type: "thinking_delta", thinking: "hm" },
          { type: "thinking_delta", thinking: "m" },
          { type: "signature_delta", signature: "sig" },
        ),
        block(
          1,
          { type: "text", text: "a" },
          { type: "text_delta", text: "b" },
          {
            type: "citations_delta",
            citation: { type: "char_location", cited_text: "c", file_id: "f" },
          },
          { type: "text_delta", text: "d" },
        ),
        block(2, {
          type: "web_search_tool_result",
          tool_use_id: "s",
          content: [{ url: "u", title: "t" }],
        }),
        block(3, { type: "redacted_thinking", data: "x" }),
      ),
    );
    assert.deepEqual(seen.texts, {
      "0/text": "hmm",
      "1/text": "abd",
      "whole/1": "c",
      "whole/2": "u",
      "whole/3": "t",
    });
    assert.deepEqual(seen.signed, ["0/text"]);
    for (const channel of Object.keys(seen.texts).filter((one) => !one.startsWith("whole/")))
      assert.ok(seen.closes.includes(channel), channel);
    assert.deepEqual(
      [seen.terminal, seen.media, seen.model, seen.cause],
      [true, true, "m-1", undefined],
    );
  });

  it("have the calls of clients and of the provider, closed at the end of their block", () => {
    const { calls, closed } = seenIn(
      stream(
        "tool_use",
        textBlock(0, "Hi"),
        toolBlock(1, "f", "", '{"a"', ":1}"),
        block(
          2,
          { type: "server_tool_use", id: "s", name: "web_search", input: {} },
          {
            type: "input_json_delta",
            partial_json: '{"query":"q"}',
          },
        ),
        toolBlock(3, "g"),
        block(4, { type: "tool_use", id: "u", name: "h", input: { whole: true } }),
      ),
    );
    assert.deepEqual(
      calls.map(({ key, name, args, execution }) => [key, name.reveal(), args.reveal(), execution]),
      [
        ["1", "f", '{"a":1}', "client"],
        ["2", "anthropic:web_search", '{"query":"q"}', "provider"],
        ["3", "g", "{}", "client"],
        ["4", "h", '{"whole":true}', "client"],
      ],
    );
    assert.deepEqual(closed, ["1", "2", "3", "4"]);
  });

  it("have a whole text for every string that no other code of its event reads", () => {
    const usage = { service_tier: "t" };
    const message = { ...started.message, usage, container: { id: "no", tag: "t" }, id: ["t"] };
    const call = { type: "tool_use", id: "no", name: "f", input: {}, caller: { note: "t" } };
    const noted = (delta: object, index: number) => ({
      ...{ type: "content_block_delta", index, delta, note: "t" },
      ...{ content_block: { text: "t" }, message: { text: "t" } },
    });
    const text = { type: "text", text: "own", content: "t", thinking: ["t"] };
    const odd = { text: "t", thinking: "t", content: "t", signature: ["t"] };
    const data = [
      { type: "ping", delta: { text: "t" }, index: "t", usage: { note: "t" }, message: "t" },
      { type: "message_start", message, delta: "t", usage, index: "t" },
      { type: "content_block_start", index: 0, content_block: text, delta: { text: "t" } },
      noted({ type: "text_delta", ...odd, text: "own" }, 0),
      noted({ type: "citations_delta", ...odd }, 0),
      { type: "content_block_stop", index: 0, delta: { text: "t" }, usage },
      { type: "content_block_start", index: 1, content_block: call, error: "t" },
      noted({ type: "input_json_delta", partial_json: "", ...odd }, 1),
      { type: "content_block_stop", index: 1, content_block: { text: "t" } },
      {
        ...{ type: "message_delta", delta: { stop_reason: ["t"], usage, role: {} }, usage },
        ...{ content_block: { text: "t" }, message: { content: [{ text: "t" }] } },
      },
      { type: "message_stop", delta: { content: [{ text: "t" }] }, usage },
    ];
    const { texts, cause } = seenIn(events(...data));
    assert.equal(cause, undefined);
    const wholes = Object.entries(texts).filter(([channel]) => channel.startsWith("whole/"));
    assert.equal(texts["0/text"], "ownown");
    assert.equal(wholes.length + 1, Object.keys(texts).length);
    assert.ok(wholes.every(([, value]) => value === "t"));
    const written = JSON.stringify(data).match(/"t"/g) ?? [];
    assert.equal(wholes.length, written.length);
  });

  it("report an error of the provider, and read its message as text", () => {
    const error = { type: "error", error: { type: "overloaded_error", message: "busy" } };
    const { failed, texts, cause } = seenIn(events(started, error));
    assert.deepEqual([failed, texts, cause], [true, { "whole/1": "busy" }, undefined]);
    assert.equal(seenIn(events(error)).failed, true);
  });

  it("pass pings and comments anywhere before the end", () => {
    assert.equal(
      seenIn(`${events({ type: "ping" })}: hi\n\n${stream("end_turn", textBlock(0, "x"))}: bye\n\n`)
        .cause,
      undefined,
    );
  });

  const text0 = textBlock(0, "a");
  const open0 = {
    type: "content_block_start",
    index: 0,
    content_block: { type: "text", text: "" },
  };
  const tool0 = {
    type: "content_block_start",
    index: 0,
    content_block: { type: "tool_use", id: "u", name: "f", input: {} },
  };
  const piece = (fields: object, index = 0) => ({
    type: "content_block_delta",
    index,
    delta: fields,
  });
  const textPiece = { type: "text_delta", text: "x" };
  const args = { type: "input_json_delta", partial_json: "{}" };
  const stop0 = { type: "content_block_stop", index: 0 };
  const contradictions: readonly (readonly [string, readonly Event[]])[] = [
    ["a block before the message", [open0]],
    ["a second message", [started, started]],
    [
      "a message that has content already",
      [
        {
          ...started,
          message: { ...started.message, content: [{ type: "text", text: "x" }] },
        } as Event,
      ],
    ],
    ["a first block that is not 0", [started, { ...open0, index: 1 }]],
    [
      "a block without an index",
      [started, { type: open0.type, content_block: open0.content_block } as Event],
    ],
    ["a block inside another", [started, open0, { ...open0, index: 1 }]],
    ["the same index again", [started, ...text0, open0]],
    ["a gap in the indexes", [started, ...text0, { ...open0, index: 2 }]],
    ["an unknown block", [started, { ...open0, content_block: { type: "hologram" } } as Event]],
    [
      "a block of clients",
      [started, { ...open0, content_block: { type: "tool_result", content: "x" } } as Event],
    ],
    ["a delta without a block", [started, piece(textPiece)]],
    ["a delta for another block", [started, open0, piece(textPiece, 1)]],
    ["a delta after the block's end", [started, ...text0, piece(textPiece)]],
    ["arguments in a text block", [started, open0, piece(args)]],
    ["text in a call", [started, tool0, piece(textPiece)]],
    [
      "thinking in a text block",
      [started, open0, piece({ type: "thinking_delta", thinking: "x" })],
    ],
    ["an unknown delta", [started, open0, piece({ type: "hologram_delta", text: "x" })]],
    ["a text delta that is a list", [started, open0, piece({ type: "text_delta", text: ["x"] })]],
    [
      "arguments that are no text",
      [started, tool0, piece({ type: "input_json_delta", partial_json: {} })],
    ],
    [
      "arguments in the block and in deltas",
      [
        started,
        { ...tool0, content_block: { ...tool0.content_block, input: { a: 1 } } } as Event,
        piece(args),
      ],
    ],
    [
      "a call without a name",
      [started, { ...tool0, content_block: { type: "tool_use", input: {} } } as Event],
    ],
    ["the end of a block that is not open", [started, stop0]],
    ["the end of the turn inside a block", [started, open0, ended("end_turn")[0]]],
    ["the end of the message inside a block", [started, tool0, ended("end_turn")[1]]],
    [
      "a block after the end of the turn",
      [started, ...text0, ended("end_turn")[0], { ...open0, index: 1 }],
    ],
    ["an event after the end", [started, ...ended("end_turn"), { type: "ping" }]],
    ["an unknown event", [started, { type: "content_block_patch" }]],
    [
      "content in the end of the turn",
      [started, { type: "message_delta", delta: { content: [{ type: "text" }] } } as Event],
    ],
    ["an end before the message", [ended("end_turn")[1]]],
  ];
  for (const [what, data] of contradictions) {
    it(`have an unknown shape with ${what}`, () => assert.equal(causeOf(...data), "unknown_shape"));
  }
  for (const line of ["event: ping\n", "event: error\n", "event: message\n", "event:\n", ""]) {
    it(`have an unknown shape when the data are behind ${JSON.stringify(line)}`, () => {
      const odd = events(piece(textPiece) as Event).replace("event: content_block_delta\n", line);
      assert.equal(seenIn(events(started, open0) + odd).cause, "unknown_shape");
    });
  }
  it("know no [DONE]", () => {
    assert.equal(seenIn("data: [DONE]\n\n").cause, "malformed_json");
  });
});

describe("refused calls of messages", () => {
  const text = stream(
    "tool_use",
    textBlock(0, "Hi"),
    toolBlock(1, "f", '{"a"', ":1}"),
    toolBlock(2, "g", "{}"),
  );

  it("leave every byte alone when there are none", () => {
    assert.equal(relay(anthropicMessages, [bytes(text)], {}), text);
  });
  it("become text in the same place, and the turn still ends for the others", () => {
    const message = assemble(relay(anthropicMessages, [bytes(text)], { 1: "No f." }));
    assert.deepEqual(message["content"], [
      { type: "text", text: "Hi" },
      { type: "text", text: "No f." },
      { type: "tool_use", id: "toolu_2", name: "g", input: {} },
    ]);
    assert.equal(message["stop_reason"], "tool_use");
  });
  it("end the turn when none is left", () => {
    const out = relay(anthropicMessages, [bytes(text)], { 1: "No f.", 2: "No g." });
    assert.equal(assemble(out)["stop_reason"], "end_turn");
    assert.ok(!out.includes("tool_use") && !out.includes("partial_json"));
  });
  it("are known by their block: a refusal for a text block changes nothing", () => {
    assert.equal(relay(anthropicMessages, [bytes(text)], { 0: "No." }), text);
  });

  const blocks = fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant("text" as const), text: fc.constantFrom("", "Hi", 'é😀"\n') }),
      fc.record({
        kind: fc.constant("tool" as const),
        input: fc.constantFrom({}, { a: 1 }, { deep: [{ b: '"\n' }] }),
        refuse: fc.boolean(),
      }),
    ),
    { maxLength: 5 },
  );

  it("give the same message buffered and streamed, for every cut", () => {
    let refusals = 0;
    fc.assert(
      fc.property(blocks, fc.array(fc.nat(), { maxLength: 8 }), (parts, places) => {
        const refused: Record<string, string> = {};
        for (const [at, part] of parts.entries()) {
          if (part.kind === "tool" && part.refuse) refused[at] = `No "${at}".`;
        }
        refusals += Object.keys(refused).length;
        const reason = parts.some(({ kind }) => kind === "tool") ? "tool_use" : "end_turn";
        const streamed = parts.map((part, at) =>
          part.kind === "text"
            ? textBlock(at, ...part.text)
            : toolBlock(
                at,
                "f",
                ...(JSON.stringify(part.input) === "{}" ? [] : JSON.stringify(part.input)),
              ),
        );
        const content = parts.map((part, at) =>
          part.kind === "text"
            ? { type: "text", text: part.text }
            : { type: "tool_use", id: `toolu_${at}`, name: "f", input: part.input },
        );
        const body = JSON.stringify({ ...started.message, content, stop_reason: reason });
        const whole = bytes(stream(reason, ...streamed));
        const out = relay(anthropicMessages, cutAt(whole, places), refused);
        assert.equal(out, relay(anthropicMessages, [whole], refused));
        assert.deepEqual(assemble(out), JSON.parse(edited(anthropicMessages, body, refused)));
        const read = anthropicMessages.readResponse(parsed(body));
        assert.ok(read.ok);
        assert.deepEqual(
          seenIn(Buffer.from(whole).toString()).calls.map(({ key, args }) => [key, args.reveal()]),
          read.value.calls.map(({ key, args }) => [key, args.reveal()]),
        );
      }),
      { numRuns: 300 },
    );
    assert.ok(refusals > 50);
  });
});
