/**
 * One Process call: messages of Envoy in, replies out. Every direction is worked off in order by its own lane, so
 * that a slow verdict in one never blocks the other; both write through the same call. What the messages mean is
 * `exchange.ts`, which replies Envoy's mode asks for `side.ts`, what ends the call `call.ts`.
 */
import { status as Code } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import type { Trust } from "../../core/identity.ts";
import type { Exchange } from "../../exchange/exchange.ts";
import type { BodyModes, RequestHead, ResponseHead } from "../../exchange/http.ts";
import { type Call, StatusError } from "../call.ts";
import { type Direction, decode, type EnvoyEvent } from "./decode.ts";
import type { Encoded } from "./encode.ts";
import { Side } from "./side.ts";

export type ProcessDeps = {
  readonly clock: Clock;
  readonly openExchange: (modes: BodyModes) => Exchange;
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
  let conversation: Conversation | undefined;
  try {
    for await (const message of from) {
      const { event, modes, observed } = decode(message, deps.trust);
      if (event === undefined) continue;
      conversation ??= new Conversation(modes ?? (observed ? UNSEEN : unknownModes()), call, deps);
      await (observed ? conversation.observe(event) : conversation.take(event));
    }
  } finally {
    // Cancelling stops the talk, never the record.
    await conversation?.close();
  }
}

/** In observability mode Envoy does not say how it sends bodies, and it does not matter. */
const UNSEEN: BodyModes = { request: "hidden", response: "hidden" };

/** Without them nobody knows whether a body will come: the exchange could pass unread. */
function unknownModes(): never {
  throw new StatusError(
    Code.FAILED_PRECONDITION,
    "limen: protocol_config is missing: use Envoy 1.36 or newer",
  );
}

/** The two directions of one stream, over one exchange and one call. */
class Conversation {
  readonly #exchange: Exchange;
  readonly #call: Call<object>;
  readonly #request: Side<RequestHead>;
  readonly #response: Side<ResponseHead>;
  readonly #lanes: Readonly<Record<Direction, Lane>>;
  /** Set by the reply that may have no other behind it (CVE-2026-47207). */
  #isOver = false;

  constructor(modes: BodyModes, call: Call<object>, deps: ProcessDeps) {
    const exchange = deps.openExchange(modes);
    this.#exchange = exchange;
    this.#call = call;
    this.#request = new Side("request", modes, {
      headers: (head) => exchange.requestHeaders(head),
      body: (chunk) => exchange.requestBody(chunk),
    });
    this.#response = new Side("response", modes, {
      headers: (head) => exchange.responseHeaders(head),
      body: (chunk) => exchange.responseBody(chunk),
    });
    const answer = (event: EnvoyEvent): Promise<void> => this.#answer(event);
    this.#lanes = {
      request: new Lane(answer, call, deps),
      response: new Lane(answer, call, deps),
    };
  }

  /** Resolves when there is room for another event of its direction. */
  take(event: EnvoyEvent): Promise<void> {
    return this.#lanes[event.kind.startsWith("request") ? "request" : "response"].push(event);
  }

  /** Nothing that is said here is heard: the exchange is on record as one that nobody judged. */
  async observe(event: EnvoyEvent): Promise<void> {
    if (event.kind === "request_headers") await this.#exchange.observe(event.head);
  }

  async close(): Promise<void> {
    await this.#lanes.request.idle();
    await this.#lanes.response.idle();
    await this.#exchange.close();
  }

  async #answer(event: EnvoyEvent): Promise<void> {
    if (this.#isOver) return;
    for (const { message, last } of await this.#replies(event)) {
      if (this.#isOver) return;
      this.#isOver = last;
      await this.#call.send(message);
    }
  }

  #replies(event: EnvoyEvent): Promise<readonly Encoded[]> {
    switch (event.kind) {
      case "request_headers":
        return this.#request.headers(event.head);
      case "request_body":
        return this.#request.body(event.chunk);
      case "request_trailers":
        return this.#request.trailers();
      case "response_headers":
        return this.#response.headers(event.head);
      case "response_body":
        return this.#response.body(event.chunk);
      case "response_trailers":
        return this.#response.trailers();
    }
  }
}

/** The messages of one direction, in order. Owns their deadlines. */
class Lane {
  readonly #answer: (event: EnvoyEvent) => Promise<void>;
  readonly #call: Call<object>;
  readonly #deps: ProcessDeps;
  #waiting = 0;
  #tail: Promise<void> = Promise.resolve();
  #room: (() => void) | undefined;

  constructor(answer: (event: EnvoyEvent) => Promise<void>, call: Call<object>, deps: ProcessDeps) {
    this.#answer = answer;
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
      if (!this.#call.gone.aborted) await this.#answer(event);
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
