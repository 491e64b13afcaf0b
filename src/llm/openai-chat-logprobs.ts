/**
 * Log probabilities of the Chat Completions API: they spell an answer once more, token by token, and clients hand
 * them on. What they spell need not be what the answer says: servers send tokens of reasoning, of calls and
 * of the end here, and halves of characters in a notation of their own. So it is judged by itself.
 *
 * BUG: `bytes`, the numbers beside each token, are not compared with it.
 */
import type { JsonNode, JsonString } from "./json.ts";
import { below, get } from "./json-tree.ts";
import { readText } from "./text.ts";

export type LogprobsSink = {
  /** The next piece of what the strings at `path` spell together. */
  token(path: string, literal: JsonString): void;
  /** A token that might have stood there: a text of its own. */
  alternative(literal: JsonString): void;
};

/** @param choice of a whole answer or of a chunk */
export function readLogprobs(choice: JsonNode, sink: LogprobsSink): void {
  const walk = (node: JsonNode, path: string): void => {
    if (node.kind === "string") sink.token(path, node);
    else if (node.kind === "array") for (const item of node.items) walk(item, path);
    else if (node.kind === "object") {
      for (const [name, member] of node.members) {
        if (name === "top_logprobs") readText(member, (literal) => sink.alternative(literal), none);
        else walk(member, below(path, name));
      }
    }
  };
  const logprobs = get(choice, "logprobs");
  if (logprobs !== undefined) walk(logprobs, "");
}

const none = (): boolean => false;
