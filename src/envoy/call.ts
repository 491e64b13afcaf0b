/**
 * The one owner of a call, streaming or unary: no other code ends, fails or destroys one. The shapes follow from
 * what grpc-js does with others (grpc/grpc-node#1839: an iterator that returns early hangs the call; so does an
 * async handler that rejects).
 */
import { once } from "node:events";
import {
  status as Code,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type StatusObject,
  type sendUnaryData,
} from "@grpc/grpc-js";
import type { Clock } from "../core/clock.ts";
import { LimenError } from "../core/errors.ts";

type Send<O> = (reply: O) => Promise<void>;

export type Call<O> = {
  readonly send: Send<O>;
  /** Ends the call with a non-OK status, once; Envoy then fails the exchange closed. */
  readonly fail: (error: unknown) => void;
  /** Aborted when the peer is gone or the call has failed. */
  readonly gone: AbortSignal;
};

export type Talk<I, O> = (from: AsyncIterable<I>, call: Call<O>) => Promise<void>;

/** A status for the peer. Its text comes from here: Envoy logs it, and an error's own message may quote content. */
export class StatusError extends Error {
  readonly code: Code;
  readonly details: string;
  constructor(code: Code, details: string) {
    super(details);
    this.code = code;
    this.details = details;
  }
}

const statusOf = (error: unknown): Partial<StatusObject> => {
  if (error instanceof StatusError) return { code: error.code, details: error.details };
  if (error instanceof LimenError && error.code === "protocol") {
    return { code: Code.INVALID_ARGUMENT, details: "limen: protocol error" };
  }
  return { code: Code.INTERNAL, details: "limen: internal error" };
};

/** The peer's fault (its configuration included), no verdict in time, or a defect of ours. */
export function failureOf(error: unknown): "protocol" | "late" | "defect" {
  if (error instanceof StatusError) return error.code === Code.UNAVAILABLE ? "late" : "protocol";
  return error instanceof LimenError && error.code === "protocol" ? "protocol" : "defect";
}

/** Why `gone` is aborted. One value: without it every exchange would build an exception with its stack. */
const GONE = new Error("the call is over");

/**
 * Runs `talk` over a call.
 * @param failed told of every failure that is ours to know of, after the status has been sent
 */
export function serveStream<I, O>(
  call: ServerDuplexStream<I, O>,
  talk: Talk<I, O>,
  failed: (error: unknown) => void,
): void {
  const gone = new AbortController();
  let finished = false;
  const fail = (error: unknown): void => {
    if (finished || gone.signal.aborted) return;
    finished = true;
    call.emit("error", statusOf(error));
    gone.abort(GONE);
    failed(error);
  };
  const messages = new Inbox(call, gone.signal);
  call.once("cancelled", () => gone.abort(GONE));
  const send: Send<O> = async (reply) => {
    if (finished || gone.signal.aborted) return;
    if (!call.write(reply)) await once(call, "drain", { signal: gone.signal });
  };
  const run = async (): Promise<void> => {
    try {
      await talk(messages, { send, fail, gone: gone.signal });
      if (finished || gone.signal.aborted) return;
      if (!call.readableEnded) throw new Error("the handler returned before the peer half-closed");
      finished = true;
      call.end(); // The only OK close. Envoy reads OK as "go on without me", which is fail-open.
    } catch (error) {
      fail(error);
    }
  };
  void run(); // cannot reject: everything above is caught
}

/** Messages that are read ahead of the handler. */
const MAX_AHEAD = 4;

/**
 * The messages of a call until its peer has half-closed, or is gone. Not Node's own iterator: it builds an exception
 * with its stack for every stream that the peer resets, which is nearly every one, and it destroys the call when it
 * hears of a failure, before the status has been sent.
 */
class Inbox<I> implements AsyncIterableIterator<I> {
  readonly #call: ServerDuplexStream<I, unknown>;
  #messages: I[] = [];
  #isOver = false;
  /** Of the handler that waits for a message. */
  #wake: (() => void) | undefined;

  constructor(call: ServerDuplexStream<I, unknown>, gone: AbortSignal) {
    this.#call = call;
    const over = (): void => {
      this.#isOver = true;
      this.#wake?.();
    };
    call.on("data", (message: I) => {
      this.#messages.push(message);
      if (this.#messages.length >= MAX_AHEAD) call.pause();
      this.#wake?.();
    });
    call.once("end", over);
    gone.addEventListener("abort", over, { once: true });
  }

  async next(): Promise<IteratorResult<I>> {
    while (this.#messages.length === 0 && !this.#isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const value = this.#messages.shift();
    if (value === undefined) return { done: true, value };
    if (this.#messages.length === 0 && this.#call.isPaused()) this.#call.resume();
    return { done: false, value };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

export type UnaryOwner<I, O> = {
  /** @param gone aborted when nobody waits for the answer any more */
  readonly answer: (request: I, gone: AbortSignal) => Promise<O>;
  readonly clock: Clock;
  /** Longest time to the answer. */
  readonly deadlineMs: number;
  /** As in `serveStream`. */
  readonly failed: (error: unknown) => void;
};

/**
 * Answers a unary call once: with what `answer` gives, or with a failure. A peer that has gone gets nothing, and
 * `answer`, which hears of it, still runs to its end: what it records is recorded.
 */
export function serveUnary<I, O>(
  call: ServerUnaryCall<I, O>,
  reply: sendUnaryData<O>,
  { answer, clock, deadlineMs, failed }: UnaryOwner<I, O>,
): void {
  const gone = new AbortController();
  let finished = false;
  const fail = (error: unknown): void => {
    if (finished) return;
    finished = true;
    reply(statusOf(error));
    gone.abort(GONE);
    failed(error);
  };
  const stop = clock.after(deadlineMs, () =>
    fail(new StatusError(Code.UNAVAILABLE, "limen: no verdict in time")),
  );
  call.once("cancelled", () => {
    finished = true;
    gone.abort(GONE);
  });
  const run = async (): Promise<void> => {
    try {
      const answered = await answer(call.request, gone.signal);
      if (finished) return;
      finished = true;
      reply(null, answered); // grpc-js turns what it cannot serialize into INTERNAL
    } catch (error) {
      fail(error);
    } finally {
      stop();
    }
  };
  void run(); // cannot reject: `fail` and `stop` do not throw
}
