/**
 * Streams of Anthropic's Messages API: one block after the other, each opened, filled and closed, `message_stop`
 * at the end. The `event:` line and the `type` in the data must say the same: the official client skips events
 * without that line and pings by it, others go by the type.
 *
 * What contradicts that order (another index, a delta of another kind than its block, a second start) is
 * `unknown_shape`: clients disagree on what such a stream means.
 */
import { fail, ok, type Result } from "../core/cause.ts";
import type { Edit } from "../core/segment.ts";
import {
  besideCall,
  besideContent,
  callOf,
  isCall,
  noBlockText,
  readBlock,
  sourceOf,
} from "./anthropic-blocks.ts";
import type { FrameView, FrameWriting, Refused, StreamReader } from "./dialect.ts";
import { FrameDraft, STREAM_JSON_DEPTH, silentFrame } from "./frame-draft.ts";
import type { SseFrame } from "./framing/sse.ts";
import { type JsonNode, parseJson } from "./json.ts";
import {
  asIndex,
  asItems,
  asObject,
  asString,
  get,
  isNull,
  replace,
  textOf,
  typeOf,
} from "./json-tree.ts";
import { named } from "./text.ts";

/** The block that each kind of delta may fill. */
const DELTAS: ReadonlyMap<string, (blockType: string) => boolean> = new Map([
  ["text_delta", (type) => type === "text"],
  ["citations_delta", (type) => type === "text"],
  ["thinking_delta", (type) => type === "thinking"],
  ["signature_delta", (type) => type === "thinking"],
  ["compaction_delta", (type) => type === "compaction"],
  ["input_json_delta", (type) => CALL_TYPES.has(type)],
]);
const CALL_TYPES = new Set(["tool_use", "server_tool_use", "mcp_tool_use"]);
/** The string that goes on from frame to frame, by type of block: in its start and in its `<type>_delta`. */
const CONTINUED: ReadonlyMap<string, string> = new Map([
  ["text", "text"],
  ["thinking", "thinking"],
  ["compaction", "content"],
]);

/** The member of an event that has code of its own; all others are read as text. */
const OWN_MEMBER: ReadonlyMap<string, string> = new Map([
  ["message_start", "message"],
  ["content_block_start", "content_block"],
  ["content_block_delta", "delta"],
  ["message_delta", "delta"],
  ["error", "error"],
]);

type Block = {
  readonly type: string;
  readonly key: string;
  /** `start`: the arguments came with the block; `deltas`: at least one piece of them has come. */
  args: "none" | "start" | "deltas";
};

export class AnthropicStream implements StreamReader {
  #phase: "before" | "blocks" | "stopping" | "ended" = "before";
  #blocks = 0;
  #open: Block | undefined;
  #wholeTexts = 0;
  readonly #writer = new BlockWriter();

  write(root: JsonNode | undefined, refused: Refused): FrameWriting {
    return this.#writer.write(root, refused);
  }

  read(frame: SseFrame): Result<FrameView> {
    if (frame.data === undefined) return ok(silentFrame(frame));
    const root = parseJson(frame.data, { depth: STREAM_JSON_DEPTH });
    if (!root.ok) return root;
    const type = typeOf(root.value);
    if (frame.event !== type) return fail("unknown_shape");
    const draft = new FrameDraft(frame, root.value);
    if (!this.#readEvent(draft, root.value, type)) return fail("unknown_shape");
    const own = OWN_MEMBER.get(type ?? "");
    for (const [name, value] of asObject(root.value)?.members ?? []) {
      if (name !== "type" && name !== own) draft.whole(value, noBlockText, this.#nextWhole);
    }
    return ok(draft.view());
  }

  #readEvent(draft: FrameDraft, event: JsonNode, type: string | undefined): boolean {
    if (this.#phase === "ended") return false;
    switch (type) {
      case "ping":
        return true;
      case "error":
        draft.failed = true;
        draft.whole(get(event, "error"), named("type"), this.#nextWhole);
        return true;
      case "message_start":
        return this.#start(draft, get(event, "message"));
      case "content_block_start":
        return this.#openBlock(draft, event);
      case "content_block_delta":
        return this.#readDelta(draft, event);
      case "content_block_stop":
        return this.#closeBlock(draft, event);
      case "message_delta":
        return this.#readMessageDelta(draft, get(event, "delta"));
      case "message_stop":
        draft.terminal = true;
        return this.#enter("ended");
      default:
        return false;
    }
  }

  readonly #nextWhole = (): string => {
    this.#wholeTexts += 1;
    return `whole/${this.#wholeTexts}`;
  };

  #enter(phase: "stopping" | "ended"): boolean {
    if (this.#phase === "before" || this.#open !== undefined) return false;
    this.#phase = phase;
    return true;
  }

  /** The message of the start is the one clients fill: content in it would be an answer outside of all blocks. */
  #start(draft: FrameDraft, message: JsonNode | undefined): boolean {
    const content = get(message, "content");
    const empty = content === undefined || asItems(content)?.length === 0;
    if (this.#phase !== "before" || message?.kind !== "object" || !empty) return false;
    this.#phase = "blocks";
    draft.model = textOf(get(message, "model"));
    this.#wholes(draft, besideContent(message));
    return true;
  }

  #openBlock(draft: FrameDraft, event: JsonNode): boolean {
    const block = asObject(get(event, "content_block"));
    const index = asIndex(get(event, "index"));
    if (this.#phase !== "blocks" || this.#open !== undefined) return false;
    if (index !== this.#blocks || block === undefined) return false;
    const opened: Block = { type: typeOf(block) ?? "", key: String(index), args: "none" };
    this.#blocks += 1;
    this.#open = opened;
    if (isCall(block)) {
      this.#wholes(draft, besideCall(block));
      return openCall(draft, opened, block);
    }
    const continued = get(block, CONTINUED.get(opened.type) ?? "");
    return readBlock(
      block,
      {
        text: (literal, _, trust) => {
          if (literal === continued) draft.text(`${opened.key}/text`, literal, trust);
          else draft.wholeText(literal, trust, this.#nextWhole());
        },
        media: () => {
          draft.media = true;
        },
      },
      { by: "assistant", place: "answer" },
    );
  }

  #readDelta(draft: FrameDraft, event: JsonNode): boolean {
    const delta = asObject(get(event, "delta"));
    const open = this.#openAt(event);
    const fills = DELTAS.get(typeOf(delta) ?? "");
    if (delta === undefined || open === undefined || fills?.(open.type) !== true) return false;
    const type = typeOf(delta);
    const continued = type === `${open.type}_delta` ? CONTINUED.get(open.type) : undefined;
    const trust = open.type === "thinking" ? "signed" : "plain";
    for (const [name, value] of delta.members) {
      if (name === continued) {
        if (value.kind === "string") draft.text(`${open.key}/text`, value, trust);
        else if (!isNull(value)) return false; // clients append it, whatever it is
      } else if (type === "input_json_delta" && name === "partial_json") {
        if (!readArgs(draft, open, value)) return false;
      } else if (value.kind !== "string" || !noBlockText(delta, name)) {
        draft.whole(value, noBlockText, this.#nextWhole);
      }
    }
    return type !== "input_json_delta" || get(delta, "partial_json") !== undefined;
  }

  #closeBlock(draft: FrameDraft, event: JsonNode): boolean {
    const open = this.#openAt(event);
    if (open === undefined) return false;
    this.#open = undefined;
    if (!CALL_TYPES.has(open.type)) draft.closes.push(`${open.key}/text`);
    else {
      // No arguments at all are the empty object that the block began with.
      if (open.args === "none") draft.calls.push({ kind: "args", key: open.key, text: "{}" });
      draft.calls.push({ kind: "close", key: open.key });
    }
    return true;
  }

  #openAt(event: JsonNode): Block | undefined {
    const index = asIndex(get(event, "index"));
    return index === this.#blocks - 1 ? this.#open : undefined;
  }

  #readMessageDelta(draft: FrameDraft, delta: JsonNode | undefined): boolean {
    if (delta?.kind !== "object" || !this.#enter("stopping")) return false;
    if (get(delta, "content") !== undefined) return false; // an answer outside of all blocks
    this.#wholes(draft, besideContent(delta));
    return true;
  }

  #wholes(draft: FrameDraft, values: readonly JsonNode[]): void {
    for (const value of values) draft.whole(value, noBlockText, this.#nextWhole);
  }
}

function openCall(draft: FrameDraft, opened: Block, block: JsonNode): boolean {
  const call = callOf(block, opened.key);
  if (call === undefined) return false;
  const { key, name, execution, argsForm } = call;
  draft.calls.push({ kind: "open", key, name, execution, argsForm });
  const input = asObject(get(block, "input"));
  if (input !== undefined && input.members.size > 0) {
    opened.args = "start";
    draft.calls.push({ kind: "args", key, text: sourceOf(input) });
  }
  return true;
}

/** Clients take the arguments from the block or from its deltas: both together would be two calls in one. */
function readArgs(draft: FrameDraft, open: Block, piece: JsonNode): boolean {
  if (piece.kind !== "string") return false;
  if (piece.value === "") return true;
  if (open.args === "start") return false;
  open.args = "deltas";
  draft.calls.push({ kind: "args", key: open.key, text: piece.value });
  return true;
}

/** Follows the stream as it leaves: a refused call becomes a text block in its place, with the same index. */
class BlockWriter {
  /** The block on its way out is refused. */
  #refused = false;
  /** Client-run calls that left. */
  #kept = 0;
  #replaced = 0;

  write(event: JsonNode | undefined, refused: Refused): FrameWriting {
    const keep = (edits: readonly Edit[] = [], after = ""): FrameWriting => {
      return { kind: "keep", edits, after };
    };
    switch (typeOf(event)) {
      case "content_block_start":
        return this.#startBlock(event, refused) ?? keep();
      case "content_block_delta":
        return this.#refused ? { kind: "drop" } : keep();
      case "content_block_stop":
        this.#refused = false;
        return keep();
      case "message_delta": {
        const left = this.#kept > 0 || this.#replaced === 0;
        return keep(left ? [] : endTurn(get(event, "delta")));
      }
      default:
        return keep();
    }
  }

  #startBlock(event: JsonNode | undefined, refused: Refused): FrameWriting | undefined {
    const block = get(event, "content_block");
    const index = asIndex(get(event, "index")) ?? 0;
    const sentence = refused.get(String(index));
    this.#refused = block !== undefined && isCall(block) && sentence !== undefined;
    if (block === undefined || sentence === undefined || !this.#refused) {
      if (typeOf(block) === "tool_use") this.#kept += 1;
      return undefined;
    }
    this.#replaced += 1;
    const delta = JSON.stringify({
      type: "content_block_delta",
      index,
      delta: { type: "text_delta", text: sentence },
    });
    return {
      kind: "keep",
      edits: [replace(block, '{"type":"text","text":""}')],
      after: `event: content_block_delta\ndata: ${delta}\n\n`,
    };
  }
}

/** A turn without client-run calls did not end for them. */
export function endTurn(message: JsonNode | undefined): readonly Edit[] {
  const reason = asString(get(message, "stop_reason"));
  return reason?.value === "tool_use" ? [replace(reason, '"end_turn"')] : [];
}
