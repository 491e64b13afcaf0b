/**
 * Follows a stream of the Chat Completions API as it leaves: takes refused calls out, renumbers those that
 * stay (clients crash on a gap), and says at the choice's finish what was refused.
 */
import type { Edit } from "../core/segment.ts";
import type { FrameWriting, Refused } from "./dialect.ts";
import type { JsonNode, JsonObject } from "./json.ts";
import { asIndex, asItems, asObject, get, isNull, replace, textOf } from "./json-tree.ts";
import { callKey, legacyKey, refusalText, removeCalls } from "./openai-chat-calls.ts";

/** What has left of a choice. */
type Choice = {
  readonly index: number;
  /** Index of the last call seen, and the one it leaves with; undefined when it is refused. */
  last: number;
  lastWritten: number | undefined;
  next: number;
  kept: "none" | "some";
  hasText: boolean;
  /** In the order of the calls; the legacy call comes last. */
  readonly sentences: string[];
  legacySentence: string | undefined;
  explained: boolean;
};

export class ChatWriter {
  readonly #choices = new Map<number, Choice>();

  write(root: JsonNode | undefined, refused: Refused): FrameWriting {
    const choices = asItems(get(root, "choices")) ?? [];
    const written = choices.map((choice) => this.#writeChoice(choice, refused));
    const bare = get(root, "usage") === undefined && get(root, "error") === undefined;
    if (bare && written.length > 0 && written.every(({ emptied }) => emptied)) {
      return { kind: "drop" };
    }
    return { kind: "keep", edits: written.flatMap(({ edits }) => edits), after: "" };
  }

  /** `emptied`: fragments were taken out and nothing else is in it. */
  #writeChoice(choice: JsonNode, refused: Refused): { edits: readonly Edit[]; emptied: boolean } {
    const delta = asObject(get(choice, "delta"));
    if (delta === undefined) return { edits: [], emptied: false };
    const state = this.#choiceOf(asIndex(get(choice, "index")) ?? 0);
    state.hasText ||= (textOf(get(delta, "content")) ?? "") !== "";
    const { items, edits } = leave(delta, state, refused);
    const legacy = leaveLegacy(delta, state, refused);
    const finish = get(choice, "finish_reason");
    const sentences = [...state.sentences, state.legacySentence].filter(
      (text) => text !== undefined,
    );
    const cut = items.size > 0 || legacy === "remove";
    if (!cut && (finish === undefined || sentences.length === 0)) return { edits, emptied: false };
    const explains = finish !== undefined && !state.explained;
    state.explained ||= explains;
    const removed = removeCalls(choice, delta, {
      items,
      legacy,
      append: explains ? refusalText(sentences, state.hasText ? "text" : "nothing") : undefined,
      finish: state.kept === "none" ? "stop" : "keep",
    });
    const emptied = cut && finish === undefined && isEmptied(delta, items, legacy);
    return { edits: [...edits, ...removed], emptied };
  }

  #choiceOf(index: number): Choice {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const fresh: Choice = {
      index,
      last: -1,
      lastWritten: undefined,
      next: 0,
      kept: "none",
      hasText: false,
      sentences: [],
      legacySentence: undefined,
      explained: false,
    };
    this.#choices.set(index, fresh);
    return fresh;
  }
}

/** Which fragments go, and the new indexes of those that stay behind a refused call. */
function leave(
  delta: JsonObject,
  state: Choice,
  refused: Refused,
): { readonly items: ReadonlySet<number>; readonly edits: readonly Edit[] } {
  const items = new Set<number>();
  const edits: Edit[] = [];
  for (const [position, item] of (asItems(get(delta, "tool_calls")) ?? []).entries()) {
    const node = get(item, "index");
    const index = asIndex(node) ?? 0;
    if (index !== state.last) numberCall(state, index, refused);
    if (state.lastWritten === undefined) items.add(position);
    else if (node !== undefined && index !== state.lastWritten) {
      edits.push(replace(node, String(state.lastWritten)));
    }
  }
  return { items, edits };
}

function numberCall(state: Choice, index: number, refused: Refused): void {
  const sentence = refused.get(callKey(state.index, index));
  state.last = index;
  if (sentence !== undefined) {
    state.lastWritten = undefined;
    state.sentences.push(sentence);
    return;
  }
  // Before the first refusal nothing is renumbered, not even a gap of the provider's own.
  state.lastWritten = state.sentences.length === 0 ? index : state.next;
  state.next = state.lastWritten + 1;
  state.kept = "some";
}

function leaveLegacy(delta: JsonObject, state: Choice, refused: Refused): "remove" | "keep" {
  if (get(delta, "function_call") === undefined) return "keep";
  state.legacySentence ??= refused.get(legacyKey(state.index));
  if (state.legacySentence !== undefined) return "remove";
  state.kept = "some";
  return "keep";
}

function isEmptied(
  delta: JsonObject,
  items: ReadonlySet<number>,
  legacy: "remove" | "keep",
): boolean {
  for (const [name, value] of delta.members) {
    if (isNull(value)) continue;
    if (name === "function_call" && legacy === "remove") continue;
    if (name === "tool_calls" && asItems(value)?.length === items.size) continue;
    return false;
  }
  return true;
}
