/** OpenAI's Chat Completions API as a dialect. The parts of it are in the files named `openai-chat-*`. */
import type { Dialect } from "./dialect.ts";
import { readRequest, withoutTools } from "./openai-chat-request.ts";
import { companions, readResponse, withoutCalls } from "./openai-chat-response.ts";
import { OpenAiChatStream } from "./openai-chat-stream.ts";
import { refusalBody } from "./refusal.ts";

export const openAiChat: Dialect = {
  id: "openai-chat",
  claims: (method, path) => method === "POST" && path.endsWith("/chat/completions"),
  readRequest,
  readResponse,
  withoutTools: (_, root, indexes) => withoutTools(root, indexes),
  withoutCalls: (_, root, refused) => withoutCalls(root, refused),
  companions,
  openStream: () => new OpenAiChatStream(),
  refusalBody,
  // The client libraries throw at an `error` member and read no further; there is no `[DONE]` after it.
  refusalEvent: (refusal) => `data: ${refusalBody(refusal)}\n\n`,
};
