/**
 * What the official client libraries make of what Limen writes. A loopback server answers with rewritten bodies
 * and streams; the libraries reassemble them.
 */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import Anthropic, {
  PermissionDeniedError as AnthropicDenied,
  APIError as AnthropicError,
} from "@anthropic-ai/sdk";
import OpenAI, { APIError, PermissionDeniedError } from "openai";
import { decisionId } from "../../src/core/brand.ts";
import { anthropicMessages } from "../../src/llm/anthropic-messages.ts";
import type { Refusal } from "../../src/llm/dialect.ts";
import { openAiChat } from "../../src/llm/openai-chat.ts";
import {
  bytes,
  call,
  chat,
  delta,
  edited,
  ended,
  events,
  finish,
  relay,
  started,
  textBlock,
  toolBlock,
} from "./relay.ts";

const refusal = (reason: Refusal["reason"], status: number): Refusal => ({
  reason,
  status,
  decisionId: decisionId("0199d3c6-0000-7000-8000-000000000001"),
});

describe("the official client libraries", () => {
  let server: Server;
  let requests = 0;
  let answer = { status: 200, type: "application/json", body: "" };
  let openai: OpenAI;
  let anthropic: Anthropic;

  before((done) => {
    server = createServer((request, response) => {
      requests += 1;
      request.resume().on("end", () => {
        response.writeHead(answer.status, { "content-type": answer.type }).end(answer.body);
      });
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      const options = { apiKey: "k", logLevel: "off" } as const;
      openai = new OpenAI({ ...options, baseURL: `http://127.0.0.1:${port}/v1` });
      anthropic = new Anthropic({ ...options, baseURL: `http://127.0.0.1:${port}` });
      done();
    });
  });
  after((done) => {
    server.closeAllConnections();
    server.close(done);
  });
  beforeEach(() => {
    requests = 0;
  });
  const stream = (body: string): void => {
    answer = { status: 200, type: "text/event-stream", body };
  };

  const chatParams = { model: "m-1", messages: [{ role: "user" as const, content: "hi" }] };
  const chatStream = chat(
    delta({ role: "assistant", content: "Let me" }),
    delta({ content: " look." }),
    delta({ tool_calls: [call(0, "wipe", "{")] }),
    delta({ tool_calls: [call(0, undefined, "}")] }),
    delta({ tool_calls: [call(1, "read", '{"n"')] }),
    delta({ tool_calls: [call(1, undefined, ":1}")] }),
    finish("tool_calls"),
  );

  it("openai reassembles the text, the kept call under index 0 and the sentence", async () => {
    stream(relay(openAiChat, [bytes(chatStream)], { "0/0": "No wipe." }));
    const { choices } = await openai.chat.completions.stream(chatParams).finalChatCompletion();
    const [choice] = choices;
    assert.equal(choice?.finish_reason, "tool_calls");
    assert.equal(choice?.message.content, "Let me look.\n\nNo wipe.");
    const calls = choice?.message.tool_calls?.map(
      (tool) => tool.type === "function" && tool.function,
    );
    assert.deepEqual(
      calls?.map((body) => body && [body.name, body.arguments]),
      [["read", '{"n":1}']],
    );
  });

  it("openai sees a turn that ends in text when no call is left", async () => {
    stream(relay(openAiChat, [bytes(chatStream)], { "0/0": "No wipe.", "0/1": "No read." }));
    const { choices } = await openai.chat.completions.stream(chatParams).finalChatCompletion();
    assert.equal(choices[0]?.finish_reason, "stop");
    assert.equal(choices[0]?.message.content, "Let me look.\n\nNo wipe.\n\nNo read.");
    assert.equal(choices[0]?.message.tool_calls, undefined);
  });

  it("openai reads a rewritten body the same way", async () => {
    const body = JSON.stringify({
      id: "c1",
      object: "chat.completion",
      model: "m-1",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: "Let me look.",
            tool_calls: ["wipe", "read"].map((name, at) => ({
              id: `call_${at}`,
              type: "function",
              function: { name, arguments: "{}" },
            })),
          },
          finish_reason: "tool_calls",
        },
      ],
    });
    answer = {
      status: 200,
      type: "application/json",
      body: edited(openAiChat, body, { "0/0": "No wipe.", "0/1": "No read." }),
    };
    const { choices } = await openai.chat.completions.create(chatParams);
    assert.equal(choices[0]?.finish_reason, "stop");
    assert.equal(choices[0]?.message.content, "Let me look.\n\nNo wipe.\n\nNo read.");
    assert.equal(choices[0]?.message.tool_calls, undefined);
  });

  it("openai throws PermissionDeniedError with the code, after one request", async () => {
    const denied = refusal("action_denied", 403);
    answer = { status: 403, type: "application/json", body: openAiChat.refusalBody(denied) };
    await assert.rejects(openai.chat.completions.create(chatParams), (error) => {
      assert.ok(error instanceof PermissionDeniedError);
      assert.deepEqual(
        [error.code, error.type, error.param],
        ["action_denied", "permission_error", null],
      );
      assert.ok(error.message.includes(denied.decisionId));
      return true;
    });
    assert.equal(requests, 1);
  });

  it("openai throws APIError with the code in mid-stream", async () => {
    const event = openAiChat.refusalEvent(refusal("secret_detected", 403));
    stream(chatStream.slice(0, chatStream.indexOf("data: ", 10)) + event);
    const pieces: (string | null | undefined)[] = [];
    await assert.rejects(
      async () => {
        const running = await openai.chat.completions.create({ ...chatParams, stream: true });
        for await (const part of running) pieces.push(part.choices[0]?.delta.content);
      },
      (error) => {
        assert.ok(error instanceof APIError);
        assert.deepEqual([error.code, error.status], ["secret_detected", undefined]);
        return true;
      },
    );
    assert.deepEqual([pieces, requests], [["Let me"], 1]);
  });

  const params = { model: "m-1", max_tokens: 64, messages: chatParams.messages };
  const messageStream = events(
    started,
    ...textBlock(0, "Let me", " look."),
    ...toolBlock(1, "wipe", "{", "}"),
    ...toolBlock(2, "read", '{"n"', ":1}"),
    ...textBlock(3, "Then."),
    ...ended("tool_use"),
  );

  it("anthropic reassembles the text, the sentence in the call's place and the kept call", async () => {
    stream(relay(anthropicMessages, [bytes(messageStream)], { 1: "No wipe." }));
    const running = anthropic.messages.stream(params);
    const shown: string[] = [];
    running.on("text", (text) => shown.push(text));
    const { content, stop_reason } = await running.finalMessage();
    assert.deepEqual(JSON.parse(JSON.stringify(content)), [
      { type: "text", text: "Let me look." },
      { type: "text", text: "No wipe." },
      { type: "tool_use", id: "toolu_2", name: "read", input: { n: 1 } },
      { type: "text", text: "Then." },
    ]);
    assert.equal(stop_reason, "tool_use");
    assert.deepEqual(shown, ["Let me", " look.", "No wipe.", "Then."]);
  });

  for (const [name, end] of [
    ["CRLF", "\r\n"],
    ["CR", "\r"],
  ] as const) {
    it(`both read a rewritten stream whose lines end in ${name}`, async () => {
      const ending = (text: string): Uint8Array => bytes(text.replaceAll("\n", end));
      stream(relay(anthropicMessages, [ending(messageStream)], { 1: "No wipe.", 2: "No read." }));
      const message = await anthropic.messages.stream(params).finalMessage();
      assert.deepEqual(
        message.content.map((block) => block.type === "text" && block.text),
        ["Let me look.", "No wipe.", "No read.", "Then."],
      );
      stream(relay(openAiChat, [ending(chatStream)], { "0/0": "No wipe." }));
      const { choices } = await openai.chat.completions.stream(chatParams).finalChatCompletion();
      assert.equal(choices[0]?.message.content, "Let me look.\n\nNo wipe.");
      assert.equal(choices[0]?.message.tool_calls?.length, 1);
    });
  }

  it("anthropic sees a turn that ends in text when no call is left", async () => {
    stream(relay(anthropicMessages, [bytes(messageStream)], { 1: "No wipe.", 2: "No read." }));
    const { content, stop_reason } = await anthropic.messages.stream(params).finalMessage();
    assert.equal(stop_reason, "end_turn");
    assert.deepEqual(
      content.map((block) => block.type === "text" && block.text),
      ["Let me look.", "No wipe.", "No read.", "Then."],
    );
  });

  it("anthropic reads a rewritten body the same way", async () => {
    const content = [
      { type: "text", text: "Let me look." },
      { type: "tool_use", id: "toolu_1", name: "wipe", input: { a: 1 } },
    ];
    const body = JSON.stringify({ ...started.message, content, stop_reason: "tool_use" });
    answer = {
      status: 200,
      type: "application/json",
      body: edited(anthropicMessages, body, { 1: "No wipe." }),
    };
    const message = await anthropic.messages.create(params);
    assert.equal(message.stop_reason, "end_turn");
    assert.deepEqual(message.content, [content[0], { type: "text", text: "No wipe." }]);
  });

  it("anthropic throws PermissionDeniedError with the type, after one request", async () => {
    const denied = refusal("injection_detected", 403);
    answer = { status: 403, type: "application/json", body: anthropicMessages.refusalBody(denied) };
    await assert.rejects(anthropic.messages.create(params), (error) => {
      assert.ok(error instanceof AnthropicDenied);
      assert.equal(error.type, "permission_error");
      assert.ok(error.message.includes("[injection_detected]"));
      assert.ok(error.message.includes(denied.decisionId));
      return true;
    });
    assert.equal(requests, 1);
  });

  it("anthropic throws APIError with the type in mid-stream", async () => {
    const event = anthropicMessages.refusalEvent(refusal("secret_detected", 403));
    stream(events(started, ...textBlock(0, "Let me")) + event);
    const running = anthropic.messages.stream(params);
    const shown: string[] = [];
    running.on("text", (text) => shown.push(text));
    await assert.rejects(running.finalMessage(), (error) => {
      assert.ok(error instanceof AnthropicError);
      assert.equal(error.type, "permission_error");
      return true;
    });
    assert.deepEqual([shown, requests], [["Let me"], 1]);
  });
});
