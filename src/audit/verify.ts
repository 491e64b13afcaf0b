/**
 * Offline verification of a log's folder: every byte that a checkpoint covers, and the rules that records
 * keep among themselves. Shares the hashing, the formats and nothing of the code that writes. Whatever is
 * on disk, the answer is a report; memory grows with the number of exchanges, by about 120 bytes each.
 */
import { join } from "node:path";
import {
  type Checkpoint,
  openCheckpoint,
  parseVkey,
  readCheckpoint,
  type Verifier,
} from "./checkpoint.ts";
import { readFile } from "./file.ts";
import { readLeaf } from "./leaf.ts";
import { Edge, HASH_BYTES, type Hash, leafHash, TILE_WIDTH } from "./merkle.ts";
import { RecordRules } from "./record-rules.ts";
import {
  CHECKPOINT,
  decodeBundle,
  decodeTile,
  FILE_LIMIT,
  LAST_SIGNED,
  type TileLevel,
  tilePath,
} from "./tiles.ts";
import { readWal, type WalView } from "./wal-reader.ts";

/** Something wrong with the entries from `from` up to `to`, `to` not included. */
export type Flaw = { readonly from: number; readonly to: number; readonly what: string };

export type VerifyReport = {
  readonly checkpoint: Checkpoint | undefined;
  /** The first flaws, at most 100, and how many there are. */
  readonly flaws: readonly Flaw[];
  readonly flawCount: number;
  readonly decisions: number;
  readonly outcomes: number;
  /** Decisions that have no outcome, some of them by id; exchanges still under way are among them. */
  readonly openCount: number;
  readonly open: readonly string[];
  /** Entries in the write-ahead log that no checkpoint covers yet. */
  readonly unpublished: WalView["recent"];
  /** Bytes at the end of the write-ahead log that are no whole batch: being written, or cut by a crash. */
  readonly unfinishedBytes: number;
};

const FLAW_LIMIT = 100;

export type VerifyOptions = {
  readonly dir: string;
  readonly verifier: Verifier;
  /** An older checkpoint of this log, as it was saved elsewhere. */
  readonly from?: Uint8Array;
};

/** @throws LimenError `file_unreadable` when the file system fails; never for what the files say */
export const verifyLog = (options: VerifyOptions): VerifyReport => new Verification(options).run();

/** The key that a log states for itself in its first entry: checking with it finds damage, not forgery. */
export function statedKey(dir: string): Verifier | undefined {
  const bytes = readFile(join(dir, CHECKPOINT), FILE_LIMIT);
  const size = (bytes && readCheckpoint(bytes))?.size ?? 0;
  const genesis = readEntries(dir, { index: 0, width: Math.min(size, TILE_WIDTH) })?.[0];
  return parseVkey((genesis && readLeaf(genesis)?.key) ?? "");
}

type Extent = { readonly index: number; readonly width: number };

/**
 * The bytes of a tile or bundle of this width. Where the partial one is gone, the full one begins with the
 * same hashes or entries: `isFull` then says that more follows.
 */
function readPiece(
  dir: string,
  level: TileLevel,
  { index, width }: Extent,
): { bytes: Uint8Array; isFull: boolean } | undefined {
  const exact = readFile(join(dir, tilePath(level, index, width)), FILE_LIMIT);
  if (exact !== undefined) return { bytes: exact, isFull: width === TILE_WIDTH };
  const full = readFile(join(dir, tilePath(level, index, TILE_WIDTH)), FILE_LIMIT);
  return full && { bytes: full, isFull: true };
}

function readHashes(dir: string, level: number, extent: Extent): readonly Hash[] | undefined {
  const piece = readPiece(dir, level, extent);
  if (piece === undefined) return undefined;
  return decodeTile(piece.bytes, piece.isFull ? TILE_WIDTH : extent.width)?.slice(0, extent.width);
}

function readEntries(dir: string, extent: Extent): readonly Uint8Array[] | undefined {
  const piece = readPiece(dir, "entries", extent);
  if (piece === undefined) return undefined;
  return decodeBundle(piece.bytes, piece.isFull ? TILE_WIDTH : extent.width)?.slice(
    0,
    extent.width,
  );
}

class Verification {
  readonly #dir: string;
  readonly #verifier: Verifier;
  readonly #older: Uint8Array | undefined;
  readonly #edge = new Edge();
  readonly #rules = new RecordRules();
  readonly #flaws: Flaw[] = [];
  #flawCount = 0;
  #expected: { readonly size: number; readonly root: Hash; readonly what: string }[] = [];

  constructor({ dir, verifier, from }: VerifyOptions) {
    this.#dir = dir;
    this.#verifier = verifier;
    this.#older = from;
  }

  run(): VerifyReport {
    const checkpoint = this.#open(readFile(join(this.#dir, CHECKPOINT), FILE_LIMIT), CHECKPOINT);
    const signed = readFile(join(this.#dir, LAST_SIGNED), FILE_LIMIT);
    // Read last: while the log is being written, what is signed is in here before.
    const wal = readWal(this.#dir, checkpoint?.size ?? 0);
    for (const { index, what } of wal.damage) this.#flaw(index, index + 1, what);
    if (checkpoint !== undefined) {
      this.#expect(checkpoint, signed, wal);
      this.#follow(checkpoint, wal);
    }
    const { recent: unpublished, unfinishedBytes } = wal;
    const [flaws, flawCount] = [this.#flaws, this.#flawCount];
    return { checkpoint, flaws, flawCount, ...this.#rules.totals(), unpublished, unfinishedBytes };
  }

  /** Notes the trees that this one must have been, or become, on its way. */
  #expect(checkpoint: Checkpoint, signedBytes: Uint8Array | undefined, wal: WalView): void {
    this.#expected.push({ ...checkpoint, what: "the checkpoint" });
    const older = this.#older && this.#open(this.#older, "the older checkpoint");
    if (older !== undefined) this.#expected.push({ ...older, what: "the older checkpoint" });
    const signed = signedBytes && this.#open(signedBytes, LAST_SIGNED);
    if (signed !== undefined) this.#expected.push({ ...signed, what: LAST_SIGNED });
    if (wal.hashes.length === 0) return;
    const root = wal.rootBefore ?? new Uint8Array();
    this.#expected.push({ size: wal.first, root, what: "the start of the write-ahead log" });
  }

  /** Builds the tree from the entries and holds everything else against it. */
  #follow({ size, origin }: Checkpoint, wal: WalView): void {
    this.#meet();
    for (let index = 0; index * TILE_WIDTH < size; index++) {
      const width = Math.min(TILE_WIDTH, size - index * TILE_WIDTH);
      for (const hash of this.#checkBundle({ index, width }, origin)) {
        const inWal = wal.hashes[this.#edge.size - wal.first];
        if (inWal !== undefined && Buffer.compare(inWal, hash) !== 0) {
          this.#flawAt(this.#edge.size, "differs from the write-ahead log");
        }
        for (const { level, index: at, hashes } of this.#edge.append(hash)) {
          if (level > 0) this.#checkTile(level, at, hashes);
        }
        this.#meet();
      }
    }
    for (const [level, hashes] of this.#edge.levels.entries()) {
      const index = Math.floor(size / TILE_WIDTH ** (level + 1));
      if (level > 0 && hashes.length > 0) this.#checkTile(level, index, hashes);
    }
    for (const { index } of wal.recent) {
      const hash = wal.hashes[index - wal.first];
      if (hash === undefined || index !== this.#edge.size) continue;
      this.#edge.append(hash);
      this.#meet();
    }
    for (const { what, size: at } of this.#expected) {
      this.#flaw(this.#edge.size, at, `${what} has size ${at}: the log was longer than it is`);
    }
  }

  /** Holds the tree against those expected of its present size. */
  #meet(): void {
    const { size } = this.#edge;
    if (!this.#expected.some((expected) => expected.size === size)) return;
    const root = this.#edge.root();
    for (const expected of this.#expected.filter((one) => one.size === size)) {
      if (Buffer.compare(expected.root, root) === 0) continue;
      this.#flaw(0, size, `the entries do not lead to the root of ${expected.what}`);
    }
    this.#expected = this.#expected.filter((expected) => expected.size !== size);
  }

  /** Checks a bundle, its records and its tile of level 0; returns the leaf hashes to build on. */
  #checkBundle(extent: Extent, origin: string): readonly Hash[] {
    const first = extent.index * TILE_WIDTH;
    const end = first + extent.width;
    const entries = readEntries(this.#dir, extent);
    const tile = readHashes(this.#dir, 0, extent);
    if (entries === undefined) this.#flaw(first, end, "the entry bundle is missing or malformed");
    if (tile === undefined) this.#flaw(first, end, "the tile of level 0 is missing or malformed");
    if (entries === undefined) return tile ?? new Array<Hash>(extent.width).fill(UNKNOWN);
    const hashes = entries.map(leafHash);
    for (const [i, entry] of entries.entries()) {
      if (tile !== undefined && Buffer.compare(tile[i] ?? UNKNOWN, hashes[i] ?? UNKNOWN) !== 0) {
        this.#flawAt(first + i, "does not match its hash in the tile of level 0");
      }
      const broken = this.#rules.check(first + i, entry, origin);
      if (broken !== undefined) this.#flawAt(first + i, broken);
    }
    return hashes;
  }

  /** Checks a tile of a level above 0 against the hashes computed for it. */
  #checkTile(level: number, index: number, hashes: readonly Hash[]): void {
    const span = TILE_WIDTH ** level;
    const first = index * TILE_WIDTH * span;
    const found = readHashes(this.#dir, level, { index, width: hashes.length });
    if (found === undefined) {
      const end = first + hashes.length * span;
      this.#flaw(first, end, `the tile of level ${level} is missing or malformed`);
      return;
    }
    for (const [i, hash] of hashes.entries()) {
      if (Buffer.compare(found[i] ?? UNKNOWN, hash) === 0) continue;
      const from = first + i * span;
      this.#flaw(from, from + span, `differ from their hash in the tile of level ${level}`);
    }
  }

  #open(bytes: Uint8Array | undefined, what: string): Checkpoint | undefined {
    if (bytes === undefined) {
      this.#flaw(0, 0, `${what} is missing`);
      return undefined;
    }
    const note = openCheckpoint(bytes, this.#verifier);
    if (note.kind === "valid" && note.checkpoint.origin === this.#verifier.name) {
      return note.checkpoint;
    }
    this.#flaw(
      0,
      0,
      `${what} ${note.kind === "valid" ? "is of another log" : NOT_VALID[note.kind]}`,
    );
    return undefined;
  }

  #flawAt(index: number, what: string): void {
    this.#flaw(index, index + 1, what);
  }

  /** Neighbours with the same flaw are one flaw. */
  #flaw(from: number, to: number, what: string): void {
    const last = this.#flaws.at(-1);
    if (last?.what === what && last.to === from && from > 0) {
      this.#flaws[this.#flaws.length - 1] = { from: last.from, to, what };
      return;
    }
    this.#flawCount += 1;
    if (this.#flaws.length < FLAW_LIMIT) this.#flaws.push({ from, to, what });
  }
}

/** Stands for a hash that cannot be had; its absence is a flaw already. */
const UNKNOWN: Hash = new Uint8Array(HASH_BYTES);

const NOT_VALID = {
  malformed: "is not a checkpoint",
  unsigned: "is not signed by this key",
  forged: "has a wrong signature of this key",
} as const;
