/** Chance that can be repeated: the same seed gives the same hostile bytes. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** From 0 to `below` - 1 (mulberry32). */
  int(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  }
  pick<T>(from: readonly T[]): T {
    const picked = from[this.int(from.length)];
    if (picked === undefined) throw new Error("nothing to pick from");
    return picked;
  }
  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.int(256)));
  }
  /** Bits flipped, a piece cut out, doubled, or moved, up to `times` times. */
  mutate(original: Uint8Array, times: number): Buffer {
    let bytes = Buffer.from(original);
    for (let left = 1 + this.int(times); left > 0 && bytes.length > 0; left -= 1) {
      const at = this.int(bytes.length);
      const to = at + 1 + this.int(Math.min(64, bytes.length - at));
      const piece = bytes.subarray(at, to);
      switch (this.int(4)) {
        case 0:
          bytes.writeUInt8((bytes[at] ?? 0) ^ (1 << this.int(8)), at);
          break;
        case 1:
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(to)]);
          break;
        case 2:
          bytes = Buffer.concat([bytes.subarray(0, to), piece, bytes.subarray(to)]);
          break;
        default:
          bytes = Buffer.concat([
            bytes.subarray(0, at),
            this.bytes(piece.length),
            bytes.subarray(to),
          ]);
      }
    }
    return bytes;
  }
}
