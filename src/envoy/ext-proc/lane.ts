/** The messages of one direction, in order. Owns their deadlines, and how many of them may wait. */
import { status as Code } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { type Call, StatusError } from "../call.ts";
import type { EnvoyEvent } from "./decode.ts";
import type { Encoded } from "./encode.ts";

export type LaneDeps = {
  readonly clock: Clock;
  /** Longest time that a verdict may take. Envoy's own timer does not protect streamed bodies. */
  readonly replyDeadlineMs: number;
};

export type Turn = {
  readonly judge: (event: EnvoyEvent) => Promise<readonly Encoded[]>;
  /** Takes as long as the peer lets it: a client that reads slowly is not late, nor are we. */
  readonly send: (replies: readonly Encoded[]) => Promise<void>;
};

/** What may wait; the reader stops above it, and then the peer's flow control holds the rest back. */
const MAX_WAITING = 64;
const MAX_WAITING_BYTES = 1024 * 1024;

export class Lane {
  readonly #turn: Turn;
  readonly #call: Call<object>;
  readonly #deps: LaneDeps;
  #waiting = 0;
  #waitingBytes = 0;
  #tail: Promise<void> = Promise.resolve();
  #room: (() => void) | undefined;

  constructor(turn: Turn, call: Call<object>, deps: LaneDeps) {
    this.#turn = turn;
    this.#call = call;
    this.#deps = deps;
  }

  /** Resolves at once while there is room, else when a message has been answered. */
  async push(event: EnvoyEvent): Promise<void> {
    const bytes = "chunk" in event ? event.chunk.bytes.length : 0;
    this.#waiting += 1;
    this.#waitingBytes += bytes;
    this.#tail = this.#work(event, bytes);
    if (this.#waiting < MAX_WAITING && this.#waitingBytes < MAX_WAITING_BYTES) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
  }

  async idle(): Promise<void> {
    await this.#tail;
  }

  async #work(event: EnvoyEvent, bytes: number): Promise<void> {
    const before = this.#tail;
    try {
      await before;
      if (!this.#call.gone.aborted) await this.#turn.send(await this.#judge(event));
    } catch (error) {
      this.#call.fail(error);
    } finally {
      this.#waiting -= 1;
      this.#waitingBytes -= bytes;
      this.#room?.();
      this.#room = undefined;
    }
  }

  async #judge(event: EnvoyEvent): Promise<readonly Encoded[]> {
    const cancel = this.#deps.clock.after(this.#deps.replyDeadlineMs, () =>
      this.#call.fail(new StatusError(Code.UNAVAILABLE, "limen: no verdict in time")),
    );
    try {
      return await this.#turn.judge(event);
    } finally {
      cancel();
    }
  }
}
