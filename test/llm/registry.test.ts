import assert from "node:assert/strict";
import { dialectFor } from "../../src/llm/registry.ts";

describe("the registry of dialects", () => {
  const rows: readonly (readonly [string, string, string | undefined])[] = [
    ["POST", "/v1/chat/completions", "openai-chat"],
    ["POST", "/openai/deployments/d/chat/completions", "openai-chat"],
    ["POST", "/v1/messages", "anthropic-messages"],
    ["POST", "/v1/messages/count_tokens", "anthropic-messages"],
    ["POST", "/proxy/v1/messages", "anthropic-messages"],
    ["GET", "/v1/chat/completions", undefined],
    ["post", "/v1/chat/completions", undefined],
    ["POST", "/v1/chat/completions/", undefined],
    ["POST", "/v1/Chat/Completions", undefined],
    ["POST", "/v1/chat%2fcompletions", undefined],
    ["POST", "/v1/chat/completions;x=1", undefined],
    ["POST", "/v1/chat/completions/c1", undefined],
    ["POST", "/v1/xchat/completions", undefined],
    ["POST", "/v1/completions", undefined],
    ["POST", "/v1/messages/batches", undefined],
    ["POST", "/v1/mymessages", undefined],
    ["POST", "/v1/responses", undefined],
    ["POST", "", undefined],
  ];
  for (const [method, path, want] of rows) {
    it(`gives ${want ?? "no dialect"} for ${method} ${path}`, () => {
      assert.equal(dialectFor(method, path)?.id, want);
    });
  }
});
