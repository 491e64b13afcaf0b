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
  /** The first is being answered. */
  readonly #waiting: EnvoyEvent[] = [];
  #waitingBytes = 0;
  #isBusy = false;
  /** Resolves when nothing waits. */
  #work: Promise<void> = Promise.resolve();
  #room: (() => void) | undefined;

  constructor(turn: Turn, call: Call<object>, deps: LaneDeps) {
    this.#turn = turn;
    this.#call = call;
    this.#deps = deps;
  }

  /** Undefined while there is room, else a promise that resolves when there is some. */
  push(event: EnvoyEvent): Promise<void> | undefined {
    this.#waiting.push(event);
    this.#waitingBytes += sizeOf(event);
    if (!this.#isBusy) this.#work = this.#answerAll();
    if (this.#waiting.length < MAX_WAITING && this.#waitingBytes < MAX_WAITING_BYTES) return;
    return new Promise((resolve) => {
      this.#room = resolve;
    });
  }

  idle(): Promise<void> {
    return this.#work;
  }

  async #answerAll(): Promise<void> {
    this.#isBusy = true;
    for (let [event] = this.#waiting; event !== undefined; [event] = this.#waiting) {
      try {
        if (!this.#call.gone.aborted) await this.#turn.send(await this.#judge(event));
      } catch (error) {
        this.#call.fail(error);
      }
      this.#waiting.shift();
      this.#waitingBytes -= sizeOf(event);
      this.#room?.();
      this.#room = undefined;
    }
    this.#isBusy = false;
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

const sizeOf = (event: EnvoyEvent): number => ("chunk" in event ? event.chunk.bytes.length : 0);
