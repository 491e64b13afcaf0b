/**
 * Integration: durable entries become tiles and bundles, and a signed checkpoint over them. Recovery and
 * normal running use this one path. Order, and what a crash leaves: tiles and bundles (derived from the
 * write-ahead log, written again from there); `state/last-signed`, durable (from now on this tree is the
 * only one allowed); `checkpoint`, renamed into place (written again from `last-signed`).
 */
import { dirname, join } from "node:path";
import { LimenError } from "../core/errors.ts";
import { type LogKey, signCheckpoint } from "./checkpoint.ts";
import { type FileOps, readFile, replaceFile } from "./file.ts";
import { type Edge, TILE_WIDTH } from "./merkle.ts";
import {
  CHECKPOINT,
  encodeBundle,
  encodeTile,
  FILE_LIMIT,
  LAST_SIGNED,
  partialsPath,
  type TileLevel,
  tilePath,
} from "./tiles.ts";
import type { Sealed } from "./wal.ts";

type Piece = { readonly path: string; readonly bytes: Uint8Array };

/**
 * What to do with a tile or bundle that is there with other content: `stop`, or `rewrite` it, which only
 * recovery does, for tiles that it has just derived from a log that leads to the signed root (a power
 * loss can leave an unsynced file empty).
 */
export type OnMismatch = "stop" | "rewrite";

export class Publisher {
  onMismatch: OnMismatch = "stop"; // written by recovery alone
  readonly #ops: FileOps;
  readonly #dir: string;
  readonly #key: LogKey;
  readonly #edge: Edge;
  /** Entries of the bundle that is not full; undefined while its first ones are only on disk. */
  #bundle: Uint8Array[] | undefined;
  /** Full tiles and bundles, not yet written. */
  #full: Piece[] = [];
  #published: number;
  /** False after a start: the checkpoint file may be older than what was signed. */
  #isCurrent = false;
  /** Partial versions of tiles that became full in an earlier pass. */
  #stale: readonly string[] = [];
  /** Folders that got full tiles since the last `syncFolders`. */
  readonly #folders = new Set<string>();

  /** @param edge of the tree whose tiles are complete on disk or will be taken again */
  constructor(ops: FileOps, dir: string, key: LogKey, edge: Edge) {
    this.#ops = ops;
    this.#dir = dir;
    this.#key = key;
    this.#edge = edge;
    this.#bundle = edge.size % TILE_WIDTH === 0 ? [] : undefined;
    this.#published = edge.size;
  }

  /** Entries taken so far. */
  get size(): number {
    return this.#edge.size;
  }

  get published(): number {
    return this.#published;
  }

  get edge(): Edge {
    return this.#edge;
  }

  /** Adds a durable entry. */
  take(sealed: Sealed): void {
    const bundleIndex = Math.floor(this.#edge.size / TILE_WIDTH);
    this.#bundle?.push(sealed.entry);
    for (const { level, index, hashes } of this.#edge.append(sealed.hash)) {
      this.#full.push({ path: tilePath(level, index, TILE_WIDTH), bytes: encodeTile(hashes) });
    }
    if (this.#edge.size % TILE_WIDTH !== 0) return;
    if (this.#bundle !== undefined) {
      const path = tilePath("entries", bundleIndex, TILE_WIDTH);
      this.#full.push({ path, bytes: encodeBundle(this.#bundle) });
    }
    this.#bundle = [];
  }

  /** Writes full tiles and bundles, synced one by one; their names are synced by `syncFolders`. */
  writeFull(): void {
    for (const piece of this.#full) {
      this.#write(piece, "synced");
      this.#folders.add(dirname(piece.path));
    }
    this.#full = [];
  }

  /** Publishes a checkpoint over all entries taken. Does nothing when there are no new ones. */
  publish(): void {
    if (this.size === 0 || (this.size === this.#published && this.#isCurrent)) return;
    this.writeFull();
    for (const piece of this.#partials()) this.#write(piece, "visible");
    const note = signCheckpoint({ size: this.size, root: this.#edge.root() }, this.#key);
    const bytes = Buffer.from(note);
    replaceFile(this.#ops, join(this.#dir, LAST_SIGNED), { bytes, as: "durable" });
    // A crash here leaves the old checkpoint, which is a prefix of what was signed.
    replaceFile(this.#ops, join(this.#dir, CHECKPOINT), { bytes, as: "visible" });
    // Readers of an older checkpoint had a whole pass to find the full tile.
    for (const path of this.#stale) this.#ops.remove(join(this.#dir, path));
    this.#stale = partialsOfFullTiles(this.#published, this.size);
    this.#published = this.size;
    this.#isCurrent = true;
  }

  /** Makes the names of full tiles durable: after it, their entries are no longer needed in the log. */
  syncFolders(): void {
    for (const folder of this.#folders) {
      // A new folder's own name stands in its parent, up to the log's directory.
      for (let path = folder; path !== "."; path = dirname(path)) {
        this.#ops.syncDir(join(this.#dir, path));
      }
    }
    if (this.#folders.size > 0) this.#ops.syncDir(this.#dir);
    this.#folders.clear();
  }

  #partials(): readonly Piece[] {
    const pieces: Piece[] = [];
    for (const [level, hashes] of this.#edge.levels.entries()) {
      if (hashes.length === 0) continue;
      const index = Math.floor(this.size / TILE_WIDTH ** (level + 1));
      pieces.push({ path: tilePath(level, index, hashes.length), bytes: encodeTile(hashes) });
    }
    if (this.#bundle !== undefined && this.#bundle.length > 0) {
      const index = Math.floor(this.size / TILE_WIDTH);
      const path = tilePath("entries", index, this.#bundle.length);
      pieces.push({ path, bytes: encodeBundle(this.#bundle) });
    }
    return pieces;
  }

  #write({ path, bytes }: Piece, as: "synced" | "visible"): void {
    const target = join(this.#dir, path);
    const found = readFile(target, FILE_LIMIT);
    if (found !== undefined && Buffer.compare(found, bytes) === 0) return;
    if (found !== undefined && this.onMismatch === "stop") {
      throw new LimenError("log_corrupt", {
        where: target,
        what: "exists with other content than the log leads to",
        fix: "find out who writes to this folder; keep a copy of it, then start again",
      });
    }
    replaceFile(this.#ops, target, { bytes, as });
  }
}

/** Folders of partials of the tiles that were not full at size `from` and are at size `to`. */
function partialsOfFullTiles(from: number, to: number): readonly string[] {
  const paths: string[] = [];
  for (let level = 0; TILE_WIDTH ** (level + 1) <= to; level++) {
    const width = TILE_WIDTH ** (level + 1);
    const names: readonly TileLevel[] = level === 0 ? [0, "entries"] : [level];
    for (let index = Math.floor(from / width); (index + 1) * width <= to; index++) {
      for (const name of names) paths.push(partialsPath(name, index));
    }
  }
  return paths;
}
