/**
 * Bodies before anybody reads them: pieces collected under a limit, content codings undone under one
 * (RFC 9110 section 8.4.1, RFC 8878). What is read is what is forwarded: a body that came encoded leaves decoded,
 * so that no receiver can decode it otherwise than we did.
 */
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createZstdDecompress,
} from "node:zlib";
import { type Cause, fail, ok, type Result } from "../core/cause.ts";
import type { HoldBudget } from "./hold-budget.ts";
import type { Headers } from "./http.ts";

/** 8 MiB (RFC 9659, section 3). zlib's own limit is 128 MiB, which 15 KB of a peer can fill, for each stream. */
const ZSTD_WINDOW_LOG = 23;

const DECODERS = {
  gzip: createGunzip,
  "x-gzip": createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: () =>
    createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG } }),
} as const;
export type Coding = keyof typeof DECODERS;

const isCoding = (name: string): name is Coding => Object.hasOwn(DECODERS, name);

/** How a body is encoded; `unknown` for a coding that is not read, or several on top of each other. */
export function codingOf(headers: Headers): Coding | "identity" | "unknown" {
  const name = (headers.get("content-encoding") ?? "").trim().toLowerCase();
  if (name === "" || name === "identity") return "identity";
  return isCoding(name) ? name : "unknown";
}

/** The pieces of one body until it is complete. Owns its share of the process-wide budget. */
export class Assembly {
  readonly #limitBytes: number;
  readonly #hold: HoldBudget;
  /** The first piece as it came, from the second on a copy of all: a piece of one byte costs hundreds when it is kept. */
  #held: Uint8Array = Buffer.alloc(0);
  #bytes = 0;
  /** What the budget knows of it: from the first piece until the body is dropped, being judged and recorded included. */
  #chargedBytes = 0;

  /** @param limitBytes largest body that is waited for */
  constructor(limitBytes: number, hold: HoldBudget) {
    this.#limitBytes = limitBytes;
    this.#hold = hold;
  }

  /** False when it is pointless to wait for more: the body is larger than the limit already. */
  push(piece: Uint8Array): boolean {
    const length = this.#bytes + piece.length;
    if (this.#bytes === 0) this.#held = piece;
    else {
      if (length > this.#held.length) {
        const grown = Buffer.alloc(Math.max(length, Math.min(length * 2, this.#limitBytes)));
        grown.set(this.#held.subarray(0, this.#bytes));
        this.#held = grown;
      }
      this.#held.set(piece, this.#bytes);
    }
    this.#bytes = length;
    this.#chargedBytes += piece.length;
    this.#hold.change(piece.length);
    return length <= this.#limitBytes;
  }

  /** A decoded form lives as long as the body does, and may be many times its size. */
  decodedTo(bytes: number): void {
    this.#chargedBytes += bytes;
    this.#hold.change(bytes);
  }

  /** All that has come; the piece itself when it was the only one. */
  take(): Uint8Array {
    const isExact = this.#held.length === this.#bytes;
    const whole = isExact ? this.#held : this.#held.subarray(0, this.#bytes);
    this.#clear();
    return whole;
  }

  /** Nothing of it is needed any more. */
  drop(): void {
    this.#hold.change(-this.#chargedBytes);
    this.#chargedBytes = 0;
    this.#clear();
  }

  #clear(): void {
    this.#held = Buffer.alloc(0);
    this.#bytes = 0;
  }
}

/** Undoes one content coding, piece by piece. The work is done by zlib's threads. */
export class BodyDecoder {
  readonly #decompressor: ReturnType<(typeof DECODERS)[Coding]>;
  readonly #limitBytes: number;
  #out: Buffer[] = [];
  #bytes = 0;
  /** Written by the stream's events, read after each wait. */
  #failure: Cause | undefined;

  /** @param limitBytes most bytes that one push may give */
  constructor(coding: Coding, limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#decompressor = DECODERS[coding]();
    this.#decompressor.on("data", (piece: Buffer) => this.#take(piece));
    // Its message is of no use to us, and its presence only says that the bytes are not what they claim to be.
    this.#decompressor.on("error", () => {
      this.#failure ??= "encoded_body";
    });
  }

  /** What `bytes` decode to; with `ended` the coding must be complete too. After a failure there are only failures. */
  async push(bytes: Uint8Array, rest: "more" | "ended"): Promise<Result<Uint8Array>> {
    this.#bytes = 0;
    if (bytes.length > 0) await this.#settled((done) => this.#decompressor.write(bytes, done));
    if (rest === "ended" && this.#failure === undefined) {
      await this.#settled((done) => this.#decompressor.once("end", done).end());
    }
    // What is pushed beside the callback waits for its turn; reading hands it over now.
    while (this.#decompressor.readableLength > 0) this.#decompressor.read();
    if (this.#failure !== undefined) {
      this.close();
      return fail(this.#failure);
    }
    return ok(Buffer.concat(this.#out.splice(0)));
  }

  close(): void {
    this.#decompressor.destroy();
    this.#out = [];
  }

  /** A stream that fails closes, and calls back nobody. */
  #settled(start: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#decompressor.off("close", done);
        resolve();
      };
      this.#decompressor.once("close", done);
      start(done);
    });
  }

  #take(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes <= this.#limitBytes) this.#out.push(piece);
    else {
      this.#failure ??= "body_too_large";
      this.close();
    }
  }
}

/** A whole body decoded, at most `limitBytes` of it; an identity is the same bytes. */
export async function decodeBody(
  bytes: Uint8Array,
  coding: ReturnType<typeof codingOf>,
  limitBytes: number,
): Promise<Result<Uint8Array>> {
  if (coding === "identity") return ok(bytes);
  if (coding === "unknown") return fail("encoded_body");
  if (bytes.length > limitBytes) return fail("body_too_large");
  const decoder = new BodyDecoder(coding, limitBytes);
  const decoded = await decoder.push(bytes, "ended");
  decoder.close();
  return decoded;
}
