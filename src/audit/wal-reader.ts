/**
 * The write-ahead log as a verifier sees it: what it holds, what is damaged, what is unfinished. Changes
 * nothing, and works while the log is being written.
 */
import { join } from "node:path";
import { namesIn, readFile } from "./file.ts";
import { readLeaf } from "./leaf.ts";
import { Edge, type Hash } from "./merkle.ts";
import { openSegment, SEGMENT_READ_LIMIT, scanSegment, WAL_DIR } from "./wal.ts";

export type WalView = {
  /** Leaf hashes by index; the log starts at `first`, earlier segments are deleted. */
  readonly first: number;
  readonly hashes: readonly Hash[];
  /** The root before `first`, as the oldest segment states it; undefined when it is no tree. */
  readonly rootBefore: Hash | undefined;
  /** Entries from the wanted index on. */
  readonly recent: readonly { readonly index: number; readonly id: string | undefined }[];
  readonly damage: readonly { readonly index: number; readonly what: string }[];
  readonly unfinishedBytes: number;
};

/** How often the folder is read when segments are deleted meanwhile. */
const ATTEMPTS = 3;

/** @param recentFrom index from which on entries are listed with their ids */
export function readWal(dir: string, recentFrom: number): WalView {
  for (let attempt = 1; ; attempt++) {
    const names = segmentsIn(dir);
    const reader = new WalReader(recentFrom);
    for (const name of names)
      reader.read(name, readFile(join(dir, WAL_DIR, name), SEGMENT_READ_LIMIT));
    // The service deletes the oldest segments; what was read over such a gap proves nothing.
    const now = new Set(segmentsIn(dir));
    if (attempt === ATTEMPTS || names.every((name) => now.has(name))) return reader.view();
  }
}

const segmentsIn = (dir: string): readonly string[] =>
  namesIn(join(dir, WAL_DIR)).filter((name) => name.endsWith(".wal"));

class WalReader {
  readonly #recentFrom: number;
  readonly #hashes: Hash[] = [];
  readonly #recent: { index: number; id: string | undefined }[] = [];
  readonly #damage: { index: number; what: string }[] = [];
  #first: number | undefined;
  #rootBefore: Hash | undefined;
  #unfinishedBytes = 0;

  constructor(recentFrom: number) {
    this.#recentFrom = recentFrom;
  }

  /** Takes the next segment; `bytes` is undefined when it is gone or too large. */
  read(name: string, bytes: Uint8Array | undefined): void {
    const next = (this.#first ?? 0) + this.#hashes.length;
    const opened = bytes && openSegment(bytes);
    if (bytes === undefined || opened === undefined) {
      this.#damage.push({ index: next, what: `segment ${name} cannot be read` });
      return;
    }
    const { first, edge } = opened.header;
    if (this.#first === undefined) {
      this.#first = first;
      this.#rootBefore = rootOf(first, edge);
    } else if (first !== next || this.#unfinishedBytes > 0) {
      this.#damage.push({ index: next, what: `segment ${name} does not follow the one before it` });
      return;
    }
    const scan = scanSegment(bytes, opened, (index, { entry, hash }) => {
      this.#hashes.push(hash);
      if (index >= this.#recentFrom) this.#recent.push({ index, id: readLeaf(entry)?.id });
    });
    if (scan.tail === "corrupt") {
      const what = `segment ${name} is damaged at byte ${scan.end}`;
      this.#damage.push({ index: scan.size, what });
    }
    this.#unfinishedBytes = scan.tail === "torn" ? bytes.length - scan.end : 0;
  }

  view(): WalView {
    return {
      first: this.#first ?? 0,
      hashes: this.#hashes,
      rootBefore: this.#rootBefore,
      recent: this.#recent,
      damage: this.#damage,
      unfinishedBytes: this.#unfinishedBytes,
    };
  }
}

function rootOf(size: number, levels: readonly (readonly Hash[])[]): Hash | undefined {
  try {
    return new Edge(size, levels).root();
  } catch {
    return undefined;
  }
}
