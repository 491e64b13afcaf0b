/**
 * One Process call: messages of Envoy in, one reply to each out. Every direction is worked off in order by its own
 * lane, so that a slow verdict in one never blocks the other; both write through the same call. What the messages
 * mean is `exchange.ts`; what ends the call is `call.ts`.
 */
import { status as Code } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import type { Trust } from "../../core/identity.ts";
import type { Exchange } from "../../exchange/exchange.ts";
import { type Call, StatusError } from "../call.ts";
import { type BodyModes, type Direction, decode, type EnvoyEvent } from "./decode.ts";
import {
  type Encoded,
  encodeBodyReply,
  encodeHeadersReply,
  encodeTrailersReply,
} from "./encode.ts";

export type ProcessDeps = {
  readonly clock: Clock;
  readonly openExchange: () => Exchange;
  /** What of Envoy's words about the sender is believed. */
  readonly trust: Trust;
  /** Longest time from a message to its reply. Envoy's own timer does not protect streamed bodies. */
  readonly replyDeadlineMs: number;
};

/** Messages of one direction that may wait; the reader stops above it. */
const MAX_WAITING = 64;

export async function processStream(
  from: AsyncIterable<unknown>,
  call: Call<object>,
  deps: ProcessDeps,
): Promise<void> {
  const exchange = deps.openExchange();
  const answerer = new Answerer(exchange, call);
  const lanes = {
    request: new Lane(answerer, call, deps),
    response: new Lane(answerer, call, deps),
  };
  try {
    for await (const message of from) {
      const { event, modes, observed } = decode(message, deps.trust);
      if (modes !== undefined) checkModes(modes);
      if (event === undefined || observed) continue;
      await lanes[directionOf(event)].push(event);
    }
  } finally {
    // Cancelling stops the talk, never the record.
    await lanes.request.idle();
    await lanes.response.idle();
    await exchange.close();
  }
}

const directionOf = (event: EnvoyEvent): Direction =>
  event.kind.startsWith("request") ? "request" : "response";

/** A stream on which Envoy would not show us a body is refused: its exchange would pass unread. */
function checkModes({ request, response }: BodyModes): void {
  if (request === "BUFFERED" && response === "BUFFERED") return;
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    "limen: processing_mode must be BUFFERED for request and response bodies",
  );
}

/** Turns one event into one reply and writes it, unless the call is over. */
class Answerer {
  readonly #exchange: Exchange;
  readonly #call: Call<object>;
  /** Set by the reply that may have no other behind it (CVE-2026-47207). */
  #over = false;

  constructor(exchange: Exchange, call: Call<object>) {
    this.#exchange = exchange;
    this.#call = call;
  }

  async answer(event: EnvoyEvent): Promise<void> {
    if (this.#over) return;
    const reply = await this.#reply(event);
    if (reply === undefined || this.#over) return;
    this.#over = reply.last;
    await this.#call.send(reply.message);
  }

  async #reply(event: EnvoyEvent): Promise<Encoded | undefined> {
    switch (event.kind) {
      case "request_headers":
        return encodeHeadersReply("request", await this.#exchange.requestHeaders(event.head));
      case "request_body":
        return encodeBodyReply("request", await this.#exchange.requestBody(event.chunk));
      case "response_headers":
        return encodeHeadersReply("response", await this.#exchange.responseHeaders(event.head));
      case "response_body":
        return encodeBodyReply("response", await this.#exchange.responseBody(event.chunk));
      case "request_trailers":
        return encodeTrailersReply("request");
      case "response_trailers":
        return encodeTrailersReply("response");
    }
  }
}

/** The messages of one direction, in order. Owns their deadlines. */
class Lane {
  readonly #answerer: Answerer;
  readonly #call: Call<object>;
  readonly #deps: ProcessDeps;
  #waiting = 0;
  #tail: Promise<void> = Promise.resolve();
  #room: (() => void) | undefined;

  constructor(answerer: Answerer, call: Call<object>, deps: ProcessDeps) {
    this.#answerer = answerer;
    this.#call = call;
    this.#deps = deps;
  }

  /** Resolves at once while there is room, else when a message has been answered. */
  async push(event: EnvoyEvent): Promise<void> {
    this.#waiting += 1;
    // From the moment the message is here, also while it waits behind others.
    const cancel = this.#deps.clock.after(this.#deps.replyDeadlineMs, () =>
      this.#call.fail(new StatusError(Code.UNAVAILABLE, "limen: no verdict in time")),
    );
    this.#tail = this.#work(event, cancel);
    if (this.#waiting < MAX_WAITING) return;
    await new Promise<void>((resolve) => {
      this.#room = resolve;
    });
  }

  async idle(): Promise<void> {
    await this.#tail;
  }

  async #work(event: EnvoyEvent, cancel: () => void): Promise<void> {
    const before = this.#tail;
    try {
      await before;
      if (!this.#call.gone.aborted) await this.#answerer.answer(event);
    } catch (error) {
      this.#call.fail(error);
    } finally {
      cancel();
      this.#waiting -= 1;
      this.#room?.();
      this.#room = undefined;
    }
  }
}
