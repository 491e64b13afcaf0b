/** The one list of dialects. A new API is a file of its own and a line here. */
import { anthropicMessages } from "./anthropic-messages.ts";
import type { Dialect } from "./dialect.ts";
import { openAiChat } from "./openai-chat.ts";

const DIALECTS: readonly Dialect[] = [openAiChat, anthropicMessages];

/**
 * The API that method and path belong to; undefined is the cause `unknown_shape`.
 * @param path without query, as Envoy normalised it: it is compared as it stands, and a spelling that only a
 *   lenient server would take for the API's (`/V1/Messages`, a slash at the end) belongs to no dialect
 */
export const dialectFor = (method: string, path: string): Dialect | undefined =>
  DIALECTS.find((dialect) => dialect.claims(method, path));
