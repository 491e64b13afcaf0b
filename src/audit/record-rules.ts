/**
 * What records promise among themselves: the sequence number is the index, the first is `genesis`, every
 * decision has at most one outcome, and no outcome is without its decision. Pure.
 */
import { readLeaf } from "./leaf.ts";

/** Ids that are listed; the rest is counted. */
const LISTED = 100;
/** One `Map` holds at most 2^24 ids: by their last two characters they are spread over many. */
const SHARD_CHARACTERS = 2;

export class RecordRules {
  readonly #shards = new Map<string, Map<string, "open" | "closed">>();
  #decisions = 0;
  #outcomes = 0;
  #open = 0;

  /** What is wrong with an entry; undefined when nothing is. */
  check(index: number, entry: Uint8Array, origin: string): string | undefined {
    const head = readLeaf(entry);
    if (head === undefined) return "is no record of this version";
    if (head.wseq !== index) return "has another sequence number than its index";
    if (head.origin !== origin) return "names another origin";
    if ((head.type === "genesis") !== (index === 0)) {
      return index === 0 ? "is not a genesis record" : "is a second genesis record";
    }
    if (head.type === "request.decision") return this.#decide(head.id);
    if (head.type === "response.outcome") return this.#end(head.decision);
    return undefined;
  }

  totals(): { decisions: number; outcomes: number; openCount: number; open: readonly string[] } {
    const open: string[] = [];
    for (const shard of this.#open > 0 ? this.#shards.values() : []) {
      for (const [id, state] of shard) if (state === "open" && open.length < LISTED) open.push(id);
    }
    const [decisions, outcomes, openCount] = [this.#decisions, this.#outcomes, this.#open];
    return { decisions, outcomes, openCount, open };
  }

  #decide(id: string | undefined): string | undefined {
    if (id === undefined) return "is a decision without id";
    const shard = this.#shardOf(id);
    if (shard.has(id)) return "is a second decision with its id";
    shard.set(id, "open");
    this.#decisions += 1;
    this.#open += 1;
    return undefined;
  }

  #end(id: string | undefined): string | undefined {
    if (id === undefined) return "is an outcome that names no decision";
    const shard = this.#shardOf(id);
    const state = shard.get(id);
    if (state === undefined) return "is an outcome without a decision before it";
    if (state === "closed") return "is a second outcome of its decision";
    shard.set(id, "closed");
    this.#outcomes += 1;
    this.#open -= 1;
    return undefined;
  }

  #shardOf(id: string): Map<string, "open" | "closed"> {
    const name = id.slice(-SHARD_CHARACTERS);
    const shard = this.#shards.get(name) ?? new Map<string, "open" | "closed">();
    this.#shards.set(name, shard);
    return shard;
  }
}
