/**
 * Header compression of HTTP/2 (RFC 7541), for the frames that the simulator writes and reads itself. What it writes
 * is the plainest form, literals without indexing; what it reads is everything, because both Envoy and Node index
 * and compress.
 */
export type Header = readonly [name: string, value: string];

/** Appendix A: names and values behind the indexes 1 to 61. */
const STATIC: readonly Header[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  ...["200", "204", "206", "304", "400", "404", "500"].map((code): Header => [":status", code]),
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...[
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control",
    "content-disposition content-encoding content-language content-length content-location content-range",
    "content-type cookie date etag expect expires from host if-match if-modified-since if-none-match if-range",
    "if-unmodified-since last-modified link location max-forwards proxy-authenticate proxy-authorization range",
    "referer refresh retry-after server set-cookie strict-transport-security transfer-encoding user-agent vary",
    "via www-authenticate",
  ]
    .join(" ")
    .split(" ")
    .map((name): Header => [name, ""]),
];

/** Appendix B: bits of the code of each byte, in rows of 16; the codes are canonical, so lengths say all. */
const CODE_BITS: readonly number[] = `
13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28  28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
 6 10 10 12 13  6  8 11 10 10  8 11  8  6  6  6   5  5  5  6  6  6  6  6  6  6  7  8 15  6 12 10
13  6  7  7  7  7  7  7  7  7  7  7  7  7  7  7   7  7  7  7  7  7  7  7  8  7  8 13 19 13 14  6
15  5  6  5  6  5  6  6  6  5  7  7  6  6  6  5   6  7  6  5  5  6  7  7  7  7  7 15 11 14 13 28
20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23  24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24
22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23  21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23
26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25  19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27
20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23  26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26
`
  .trim()
  .split(/\s+/)
  .map(Number);
const EOS = 256;

/** From the code, a leading 1 bit before it, to the byte. */
const SYMBOLS: ReadonlyMap<number, number> = (() => {
  const symbols = [
    ...CODE_BITS.map((bits, symbol) => ({ bits, symbol })),
    { bits: 30, symbol: EOS },
  ];
  symbols.sort((a, b) => a.bits - b.bits || a.symbol - b.symbol);
  const codes = new Map<number, number>();
  let code = 0;
  let last = symbols[0]?.bits ?? 0;
  for (const { bits, symbol } of symbols) {
    code *= 2 ** (bits - last);
    codes.set(2 ** bits + code, symbol);
    code += 1;
    last = bits;
  }
  return codes;
})();

function unpack(bytes: Uint8Array): string {
  const out: number[] = [];
  let code = 1;
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit -= 1) {
      code = code * 2 + ((byte >> bit) & 1);
      const symbol = SYMBOLS.get(code);
      if (symbol === undefined) continue;
      if (symbol === EOS) throw new Error("hpack: end of string inside a string");
      out.push(symbol);
      code = 1;
    }
  }
  return Buffer.from(out).toString("latin1");
}

/** Section 5.1, with the bits above the prefix already in `first`. */
function integer(first: number, prefix: number, value: number): number[] {
  const most = 2 ** prefix - 1;
  if (value < most) return [first | value];
  const bytes = [first | most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return [...bytes, rest];
}

const literal = (text: string): Buffer => {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([Buffer.from(integer(0, 7, bytes.length)), bytes]);
};

/** A header block of literals that are not indexed (section 6.2.2). */
export const encodeHeaders = (headers: readonly Header[]): Buffer =>
  Buffer.concat(headers.flatMap(([name, value]) => [Buffer.of(0), literal(name), literal(value)]));

/** One direction of one connection. */
export class HeaderDecoder {
  #dynamic: Header[] = [];
  #limit = 4_096;

  decode(block: Uint8Array): readonly Header[] {
    const reader = new BlockReader(block);
    const headers: Header[] = [];
    while (!reader.done) {
      const first = reader.peek();
      if (first & 0x80) {
        headers.push(this.#at(reader.integer(7)));
      } else if ((first & 0xe0) === 0x20) {
        this.#limit = reader.integer(5);
        this.#evict();
      } else {
        const indexed = (first & 0xc0) === 0x40;
        const index = reader.integer(indexed ? 6 : 4);
        const name = index === 0 ? reader.text() : this.#at(index)[0];
        const header: Header = [name, reader.text()];
        headers.push(header);
        if (indexed) this.#dynamic.unshift(header);
        this.#evict();
      }
    }
    return headers;
  }

  #at(index: number): Header {
    const header = STATIC[index - 1] ?? this.#dynamic[index - STATIC.length - 1];
    if (header === undefined) throw new Error(`hpack: no entry ${index}`);
    return header;
  }

  #evict(): void {
    let size = 0;
    const fits = this.#dynamic.findIndex(([name, value]) => {
      size += name.length + value.length + 32; // section 4.1
      return size > this.#limit;
    });
    if (fits >= 0) this.#dynamic = this.#dynamic.slice(0, fits);
  }
}

class BlockReader {
  readonly #block: Uint8Array;
  #at = 0;
  constructor(block: Uint8Array) {
    this.#block = block;
  }
  get done(): boolean {
    return this.#at >= this.#block.length;
  }
  peek(): number {
    const byte = this.#block[this.#at];
    if (byte === undefined) throw new Error("hpack: the block ends inside a header");
    return byte;
  }
  integer(prefix: number): number {
    const most = 2 ** prefix - 1;
    let value = this.peek() & most;
    this.#at += 1;
    if (value < most) return value;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.peek();
      this.#at += 1;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }
  text(): string {
    const packed = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const bytes = this.#block.subarray(this.#at, this.#at + length);
    this.#at += length;
    return packed ? unpack(bytes) : Buffer.from(bytes).toString("latin1");
  }
}
