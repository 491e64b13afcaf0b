import assert from "node:assert/strict";
import { decisionId } from "../../src/core/brand.ts";
import { CAUSES, causes } from "../../src/core/cause.ts";
import { REASONS, type Reason } from "../../src/core/verdict.ts";
import { anthropicMessages } from "../../src/llm/anthropic-messages.ts";
import { openAiChat } from "../../src/llm/openai-chat.ts";
import { refusalBody, refusalSentence, refusalStatus } from "../../src/llm/refusal.ts";

const id = decisionId("0199d3c6-0000-7000-8000-000000000001");
const refusal = (reason: Reason, status = refusalStatus(reason)) => ({
  reason,
  status,
  decisionId: id,
});

describe("refusals", () => {
  it("have OpenAI's shape", () => {
    assert.deepEqual(JSON.parse(openAiChat.refusalBody(refusal("action_denied"))), {
      error: {
        message: `The action is not allowed (decision ${id}).`,
        type: "permission_error",
        param: null,
        code: "action_denied",
      },
    });
  });
  it("have Anthropic's shape", () => {
    assert.deepEqual(JSON.parse(anthropicMessages.refusalBody(refusal("action_denied"))), {
      type: "error",
      error: {
        type: "permission_error",
        message: `The action is not allowed [action_denied] (decision ${id}).`,
      },
    });
  });
  it("are events that end a stream", () => {
    const reason = refusal("pii_detected");
    assert.equal(openAiChat.refusalEvent(reason), `data: ${openAiChat.refusalBody(reason)}\n\n`);
    assert.equal(
      anthropicMessages.refusalEvent(reason),
      `event: error\ndata: ${anthropicMessages.refusalBody(reason)}\n\n`,
    );
  });
  it("have OpenAI's shape on a path of no dialect", () => {
    const reason = refusal("unknown_shape");
    assert.equal(refusalBody(reason), openAiChat.refusalBody(reason));
  });

  const rows: readonly (readonly [Reason, number, string, string])[] = [
    ["secret_detected", 403, "permission_error", "permission_error"],
    ["malformed_json", 400, "invalid_request_error", "invalid_request_error"],
    ["body_too_large", 413, "invalid_request_error", "request_too_large"],
    ["unsupported_media_type", 415, "invalid_request_error", "invalid_request_error"],
    ["audit_unavailable", 503, "server_error", "overloaded_error"],
  ];
  for (const [reason, status, openaiType, anthropicType] of rows) {
    it(`of ${reason} are ${status}, ${openaiType} and ${anthropicType}`, () => {
      const given = refusal(reason);
      assert.equal(given.status, status);
      assert.equal(JSON.parse(openAiChat.refusalBody(given)).error.type, openaiType);
      assert.equal(JSON.parse(anthropicMessages.refusalBody(given)).error.type, anthropicType);
    });
  }

  it("have a sentence for every reason, and say the cause's meaning for causes", () => {
    const sentences = [...REASONS, ...causes].map(refusalSentence);
    assert.equal(new Set(sentences).size, REASONS.length + causes.length);
    for (const cause of causes) {
      assert.ok(refusalSentence(cause).endsWith(CAUSES[cause].meaning));
    }
  });
});
