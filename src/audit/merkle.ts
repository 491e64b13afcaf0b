/**
 * The hash tree of RFC 6962, section 2.1, over SHA-256: hashing, the right edge of a growing tree cut
 * into tiles (C2SP tlog-tiles), and inclusion proofs. Pure; sizes and indexes are below 2^53.
 */
import { hash } from "node:crypto";

/** 32 bytes. */
export type Hash = Uint8Array;
export const HASH_BYTES = 32;
/** Hashes of a full tile. */
export const TILE_WIDTH = 256;

export const sha256 = (bytes: Uint8Array | string): Hash => hash("sha256", bytes, "buffer");

export const leafHash = (entry: Uint8Array): Hash => sha256(Buffer.concat([LEAF_PREFIX, entry]));
const LEAF_PREFIX = Uint8Array.of(0);

// One scratch for all node hashes: an allocation per node costs as much as the hash.
const node = new Uint8Array(1 + 2 * HASH_BYTES);
node[0] = 1;
function nodeHash(left: Hash, right: Hash): Hash {
  node.set(left, 1);
  node.set(right, 1 + HASH_BYTES);
  return sha256(node);
}

/** The largest power of two below `size`, which is at least 2. */
function split(size: number): number {
  let k = 1;
  while (k * 2 < size) k *= 2;
  return k;
}

/**
 * MTH over a list of subtree hashes, of which all but the last stand for perfect subtrees of one size
 * and the last for one of at most that size: the split of RFC 6962 falls on the same places then.
 */
export function listRoot(hashes: readonly Hash[], start = 0, end = hashes.length): Hash {
  const first = hashes[start];
  if (first === undefined || end <= start) return sha256("");
  if (end - start === 1) return first;
  const middle = start + split(end - start);
  return nodeHash(listRoot(hashes, start, middle), listRoot(hashes, middle, end));
}

/** A full tile: its 256 hashes, `index` counted in tiles of its level. */
export type FullTile = {
  readonly level: number;
  readonly index: number;
  readonly hashes: readonly Hash[];
};
const NONE: readonly FullTile[] = [];

/**
 * The right edge of the tree: for every tile level the hashes of the tile that is not yet full. It is
 * all that appending and computing the root need, at most 255 hashes for each level.
 */
export class Edge {
  /** `levels[L]` has between 0 and 255 hashes, each the root of 256^L entries. */
  readonly levels: Hash[][];
  #size: number;

  /** @throws Error when the levels are not the edge of a tree of `size` entries */
  constructor(size = 0, levels: readonly (readonly Hash[])[] = []) {
    this.levels = levels.map((hashes) => [...hashes]);
    this.#size = size;
    let left = size;
    for (const hashes of this.levels) {
      if (hashes.length !== left % TILE_WIDTH) throw new Error("not the edge of this size");
      left = Math.floor(left / TILE_WIDTH);
    }
    if (left !== 0) throw new Error("not the edge of this size");
  }

  get size(): number {
    return this.#size;
  }

  /** Appends an entry's hash; returns the tiles that it filled, lowest level first. */
  append(leaf: Hash): readonly FullTile[] {
    let full: FullTile[] | undefined;
    let carry: Hash | undefined = leaf;
    let index = this.#size;
    for (let level = 0; carry !== undefined; level++) {
      const hashes: Hash[] = this.levels[level] ?? [];
      this.levels[level] = hashes;
      hashes.push(carry);
      carry = undefined;
      if (hashes.length < TILE_WIDTH) break;
      index = Math.floor(index / TILE_WIDTH);
      full ??= [];
      full.push({ level, index, hashes });
      carry = listRoot(hashes);
      this.levels[level] = [];
    }
    this.#size += 1;
    return full ?? NONE;
  }

  root(): Hash {
    let below: Hash | undefined;
    for (const hashes of this.levels) {
      const list: readonly Hash[] = below === undefined ? hashes : [...hashes, below];
      if (list.length > 0) below = listRoot(list);
    }
    return below ?? sha256("");
  }
}

/** The root of the perfect subtree number `index` of 2^`height` entries. */
export type SubtreeReader = (height: number, index: number) => Hash;

/** The root of the entries from `start` up to `end`; `start` is a multiple of the largest subtree in it. */
function rangeRoot(start: number, end: number, subtree: SubtreeReader): Hash {
  const height = Math.log2(end - start);
  if (Number.isInteger(height)) return subtree(height, start / 2 ** height);
  const middle = start + split(end - start);
  return nodeHash(rangeRoot(start, middle, subtree), rangeRoot(middle, end, subtree));
}

/**
 * Proof that entry `index` is in the tree of the first `size` entries (RFC 6962, 2.1.1).
 * @param index counted from 0, below `size`; anything else is the caller's bug and throws `Error`
 * @returns at most 53 hashes, from the leaf upward; empty for a tree of one entry
 */
export function inclusionProof(
  index: number,
  size: number,
  subtree: SubtreeReader,
): readonly Hash[] {
  if (!(index >= 0 && index < size)) throw new Error("the index is outside the tree");
  const proof: Hash[] = [];
  let [start, end] = [0, size];
  while (end - start > 1) {
    const middle = start + split(end - start);
    const [from, to]: readonly [number, number] = index < middle ? [middle, end] : [start, middle];
    proof.push(rangeRoot(from, to, subtree));
    if (index < middle) end = middle;
    else start = middle;
  }
  return proof.reverse();
}

/** The root that an inclusion proof leads to (RFC 9162, 2.1.3.2); undefined when its length is wrong. */
export function rootFromProof(
  leaf: Hash,
  at: { readonly index: number; readonly size: number },
  proof: readonly Hash[],
): Hash | undefined {
  let [position, last, root] = [at.index, at.size - 1, leaf];
  for (const hash of proof) {
    if (last === 0) return undefined;
    if (position % 2 === 1 || position === last) {
      root = nodeHash(hash, root);
      while (position % 2 === 0 && position !== 0) {
        position /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      root = nodeHash(root, hash);
    }
    position = Math.floor(position / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? root : undefined;
}
