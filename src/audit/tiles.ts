/**
 * Names and bytes of tiles and entry bundles (C2SP tlog-tiles v0.1.0). Pure; reads nothing.
 */
import { HASH_BYTES, type Hash, TILE_WIDTH } from "./merkle.ts";

export const CHECKPOINT = "checkpoint";
/** Our own copy of the checkpoint, durable before the other one is published. */
export const LAST_SIGNED = "state/last-signed";
/** The most that a tile, a bundle or a checkpoint takes. */
export const FILE_LIMIT = TILE_WIDTH * (2 + 65_535);

/** A tile level, or `entries` for bundles, which are numbered like level 0. */
export type TileLevel = number | "entries";

/** `273` is `273`, `1234067` is `x001/x234/067`: at most 1,000 names for each digit group. */
function indexPath(index: number): string {
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.../g) ?? [];
  return groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
}

/** Path of a tile below the log's directory; `width` is 256 for a full one, else 1 to 255. */
export const tilePath = (level: TileLevel, index: number, width: number): string =>
  width === TILE_WIDTH
    ? `tile/${level}/${indexPath(index)}`
    : `${partialsPath(level, index)}/${width}`;

/** The folder of the partial versions of a tile. */
export const partialsPath = (level: TileLevel, index: number): string =>
  `tile/${level}/${indexPath(index)}.p`;

export const encodeTile = (hashes: readonly Hash[]): Uint8Array => Buffer.concat(hashes);

/** The hashes of a tile of `width`; undefined when it has another length. */
export function decodeTile(bytes: Uint8Array, width: number): readonly Hash[] | undefined {
  if (bytes.length !== width * HASH_BYTES) return undefined;
  return Array.from({ length: width }, (_, i) =>
    bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES),
  );
}

/** Entries one after the other, each behind its length as uint16, big-endian. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  const bytes = Buffer.alloc(entries.reduce((sum, entry) => sum + 2 + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    at = bytes.writeUInt16BE(entry.length, at);
    bytes.set(entry, at);
    at += entry.length;
  }
  return bytes;
}

/** The `width` entries of a bundle; undefined unless the bytes are exactly that many entries. */
export function decodeBundle(bytes: Uint8Array, width: number): readonly Uint8Array[] | undefined {
  const entries: Uint8Array[] = [];
  let at = 0;
  for (let i = 0; i < width; i++) {
    const [high, low] = [bytes[at], bytes[at + 1]];
    if (high === undefined || low === undefined) return undefined;
    const start = at + 2;
    at = start + high * 256 + low;
    if (at > bytes.length) return undefined;
    entries.push(bytes.subarray(start, at));
  }
  return at === bytes.length ? entries : undefined;
}
