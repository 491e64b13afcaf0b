/** Anthropic's Messages API as a dialect: whole answers and refusals; the rest is in `anthropic-*`. */
import { fail, ok, type Result } from "../core/cause.ts";
import { Content } from "../core/content.ts";
import type { InferenceResponse } from "../core/inference.ts";
import type { Edit, Segment } from "../core/segment.ts";
import {
  type BlockSink,
  besideCall,
  besideContent,
  callsOf,
  isCall,
  noBlockText,
  readBlock,
} from "./anthropic-blocks.ts";
import { readRequest, withoutTools } from "./anthropic-request.ts";
import { AnthropicStream, endTurn } from "./anthropic-stream.ts";
import type { Dialect, Refusal, Refused } from "./dialect.ts";
import type { JsonNode } from "./json.ts";
import { asItems, asNumber, get, replace, textOf, typeOf } from "./json-tree.ts";
import { refusalSentence } from "./refusal.ts";
import { type Emit, readText, segment } from "./text.ts";

export const anthropicMessages: Dialect = {
  id: "anthropic-messages",
  claims: (method, path) =>
    method === "POST" && (path.endsWith("/messages") || path.endsWith("/messages/count_tokens")),
  readRequest,
  readResponse,
  withoutTools: (_, root, indexes) => withoutTools(root, indexes),
  withoutCalls: (_, root, refused) => withoutCalls(root, refused),
  // Citations point into documents of the request, not into the answer; there are no log probabilities.
  companions: () => [],
  openStream: () => new AnthropicStream(),
  refusalBody,
  // The client library ignores frames without an `event:` line.
  refusalEvent: (refusal) => `event: error\ndata: ${refusalBody(refusal)}\n\n`,
};

function readResponse(root: JsonNode): Result<InferenceResponse> {
  const content = get(root, "content");
  // The answer to `count_tokens` is a number.
  const counted = content === undefined && asNumber(get(root, "input_tokens")) !== undefined;
  const calls = callsOf(content, String);
  if (root.kind !== "object" || calls === undefined) return fail("unknown_shape");
  if (content?.kind !== "array" && !counted) return fail("unknown_shape");
  const segments: Segment[] = [];
  let media = false;
  const sink: BlockSink = {
    text: (literal, by, trust) => segments.push(segment(literal, by, trust)),
    media: () => {
      media = true;
    },
  };
  const emit: Emit = (literal) => sink.text(literal, "assistant", "plain");
  for (const block of asItems(content) ?? []) {
    if (block.kind === "object" && isCall(block)) {
      for (const value of besideCall(block)) readText(value, emit, noBlockText);
    } else if (!readBlock(block, sink, ANSWER)) return fail("unknown_shape");
  }
  for (const value of besideContent(root)) readText(value, emit, noBlockText);
  const model = textOf(get(root, "model"));
  return ok({
    model: model === undefined ? undefined : new Content(model),
    segments,
    calls,
    media,
  });
}

const ANSWER = { by: "assistant", place: "answer" } as const;

function withoutCalls(root: JsonNode, refused: Refused): readonly Edit[] {
  const edits: Edit[] = [];
  let left = 0;
  for (const [position, block] of (asItems(get(root, "content")) ?? []).entries()) {
    const sentence = isCall(block) ? refused.get(String(position)) : undefined;
    if (sentence !== undefined) {
      edits.push(replace(block, JSON.stringify({ type: "text", text: sentence })));
    } else if (typeOf(block) === "tool_use") left += 1;
  }
  return edits.length > 0 && left === 0 ? [...edits, ...endTurn(root)] : edits;
}

const ERROR_TYPES: ReadonlyMap<number, string> = new Map([
  [403, "permission_error"],
  [413, "request_too_large"],
  [503, "overloaded_error"],
]);

/** The shape has no field for a code: the reason stands in the message. */
function refusalBody({ reason, status, decisionId }: Refusal): string {
  return JSON.stringify({
    type: "error",
    error: {
      type: ERROR_TYPES.get(status) ?? "invalid_request_error",
      message: `${refusalSentence(reason)} [${reason}] (decision ${decisionId}).`,
    },
  });
}
