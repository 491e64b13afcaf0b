/**
 * The pieces as a double array: node `n` goes on with byte `b` at `base[n] + b`, if `parent` there says `n`.
 * 4 bytes a node and array, and one step is two reads: Viterbi takes about seven steps a byte.
 */
const ROOT = 0;
const FREE = -1;
/** The root is nobody's child. */
const NOBODY = -2;
const BYTES = 256;

export class Trie {
  base: Int32Array;
  parent: Int32Array;
  /** Number of the piece that ends at a node, or -1. */
  piece: Int32Array;
  /** From where on the next slots are looked for. */
  #hole = 1;
  #family = 1;

  /** @param text the pieces one after the other, sorted by bytes, none twice, none empty */
  constructor(text: Uint8Array, lengths: Uint8Array) {
    let capacity = BYTES;
    for (const length of lengths) capacity += length;
    this.base = new Int32Array(capacity);
    this.parent = new Int32Array(capacity).fill(FREE);
    this.piece = new Int32Array(capacity).fill(-1);
    this.parent[ROOT] = NOBODY;
    const starts = new Uint32Array(lengths.length);
    for (let i = 1; i < lengths.length; i++) {
      starts[i] = (starts[i - 1] ?? 0) + (lengths[i - 1] ?? 0);
    }
    this.#grow({ text, starts, lengths });
  }

  /** Depth first: what is common to the pieces of a range is one node. */
  #grow({ text, starts, lengths }: Pieces): void {
    const open = [{ node: ROOT, from: 0, to: lengths.length, depth: 0 }];
    for (let range = open.pop(); range !== undefined; range = open.pop()) {
      const { node, to, depth } = range;
      let { from } = range;
      // Sorted: the piece that ends here stands before those that go on.
      if (from < to && lengths[from] === depth) this.piece[node] = from++;
      const byteOf = (i: number): number => text[(starts[i] ?? 0) + depth] ?? 0;
      const children: { byte: number; from: number; to: number }[] = [];
      for (let i = from; i < to; i++) {
        const byte = byteOf(i);
        const last = children.at(-1);
        if (last?.byte === byte) last.to = i + 1;
        else children.push({ byte, from: i, to: i + 1 });
      }
      if (children.length === 0) continue;
      const base = this.#place(children);
      this.base[node] = base;
      for (const child of children) {
        this.parent[base + child.byte] = node;
        open.push({ node: base + child.byte, from: child.from, to: child.to, depth: depth + 1 });
      }
    }
  }

  /** A base at which all children fall on free slots. Neither search goes back: linear in all. */
  #place(children: readonly { readonly byte: number }[]): number {
    const first = children[0]?.byte ?? 0;
    // An only child fills a hole that families left.
    let slot = children.length === 1 ? this.#hole : this.#family;
    for (slot = Math.max(slot, first + 1); ; slot++) {
      const base = slot - first;
      if (base + BYTES > this.parent.length) this.#double();
      if (!children.every(({ byte }) => this.parent[base + byte] === FREE)) continue;
      if (children.length > 1) this.#family = slot;
      // What it skipped because its byte is greater stays free: 255 slots at most.
      else this.#hole = slot;
      return base;
    }
  }

  #double(): void {
    const size = this.parent.length;
    const larger = (old: Int32Array, value: number): Int32Array => {
      const array = new Int32Array(2 * size).fill(value);
      array.set(old);
      return array;
    };
    this.base = larger(this.base, 0);
    this.parent = larger(this.parent, FREE);
    this.piece = larger(this.piece, -1);
  }
}

type Pieces = {
  readonly text: Uint8Array;
  readonly starts: Uint32Array;
  readonly lengths: Uint8Array;
};
