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

/** @param recentFrom index from which on entries are listed with their ids */
export function readWal(dir: string, recentFrom: number): WalView {
  const hashes: Hash[] = [];
  const recent: { index: number; id: string | undefined }[] = [];
  const damage: { index: number; what: string }[] = [];
  let [first, rootBefore, unfinishedBytes]: [number | undefined, Hash | undefined, number] = [
    undefined,
    undefined,
    0,
  ];
  for (const name of namesIn(join(dir, WAL_DIR)).filter((file) => file.endsWith(".wal"))) {
    const next: number = (first ?? 0) + hashes.length;
    const bytes = readFile(join(dir, WAL_DIR, name), SEGMENT_READ_LIMIT);
    const opened = bytes && openSegment(bytes);
    if (bytes === undefined || opened === undefined) {
      damage.push({ index: next, what: `segment ${name} cannot be read` });
      continue;
    }
    if (first === undefined) {
      first = opened.header.first;
      rootBefore = rootOf(first, opened.header.edge);
    } else if (opened.header.first !== next || unfinishedBytes > 0) {
      damage.push({ index: next, what: `segment ${name} does not follow the one before it` });
      continue;
    }
    const scan = scanSegment(bytes, opened, (index, { entry, hash }) => {
      hashes.push(hash);
      if (index >= recentFrom) recent.push({ index, id: readLeaf(entry)?.id });
    });
    if (scan.tail === "corrupt") {
      damage.push({ index: scan.size, what: `segment ${name} is damaged at byte ${scan.end}` });
    }
    unfinishedBytes = scan.tail === "torn" ? bytes.length - scan.end : 0;
  }
  return { first: first ?? 0, hashes, rootBefore, recent, damage, unfinishedBytes };
}

function rootOf(size: number, levels: readonly (readonly Hash[])[]): Hash | undefined {
  try {
    return new Edge(size, levels).root();
  } catch {
    return undefined;
  }
}
