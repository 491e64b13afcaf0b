/**
 * One Process call: messages of Envoy in, replies out. Every direction is worked off in order by its own lane, so
 * that a slow verdict in one never blocks the other; both write through the same call. What the messages mean is
 * `exchange.ts`, which replies Envoy's mode asks for `side.ts`, what ends the call `call.ts`.
 */
import { status as Code } from "@grpc/grpc-js";
import type { Trust } from "../../core/identity.ts";
import type { Exchange } from "../../exchange/exchange.ts";
import type { Hold, HoldBudget } from "../../exchange/hold-budget.ts";
import type { BodyModes, RequestHead, ResponseHead } from "../../exchange/http.ts";
import { type Call, StatusError } from "../call.ts";
import { type Direction, decode, type EnvoyEvent } from "./decode.ts";
import type { Encoded } from "./encode.ts";
import { Lane, type LaneDeps, type Turn } from "./lane.ts";
import { Side } from "./side.ts";

export type ProcessDeps = LaneDeps & {
  readonly openExchange: (modes: BodyModes) => Exchange;
  /** What of Envoy's words about the sender is believed. */
  readonly trust: Trust;
  readonly hold: Hold;
};

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
      const busy = observed ? conversation.observe(event) : conversation.take(event);
      if (busy !== undefined) await busy;
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
  readonly #hold: HoldBudget;
  readonly #request: Side<RequestHead>;
  readonly #response: Side<ResponseHead>;
  readonly #lanes: Readonly<Record<Direction, Lane>>;
  /** Set by the reply that may have no other behind it (CVE-2026-47207). */
  #isOver = false;

  constructor(modes: BodyModes, call: Call<object>, deps: ProcessDeps) {
    const exchange = deps.openExchange(modes);
    this.#exchange = exchange;
    this.#call = call;
    this.#hold = deps.hold.bodies;
    this.#request = new Side("request", modes, {
      headers: (head) => exchange.requestHeaders(head),
      body: (chunk) => exchange.requestBody(chunk),
    });
    this.#response = new Side("response", modes, {
      headers: (head) => exchange.responseHeaders(head),
      body: (chunk) => exchange.responseBody(chunk),
    });
    const turn: Turn = {
      judge: (event) => this.#judge(event),
      send: (replies) => this.#send(replies),
    };
    this.#lanes = {
      request: new Lane(turn, call, deps),
      response: new Lane(turn, call, deps),
    };
  }

  /** Undefined while there is room for another event of its direction. */
  take(event: EnvoyEvent): Promise<void> | undefined {
    return this.#lanes[event.kind.startsWith("request") ? "request" : "response"].push(event);
  }

  /** Nothing that is said here is heard: the exchange is on record as one that nobody judged. */
  async observe(event: EnvoyEvent): Promise<void> {
    if (event.kind === "request_headers") await this.#exchange.observe(event.head);
  }

  async close(): Promise<void> {
    if (this.#call.gone.aborted) this.#exchange.giveUp();
    await this.#lanes.request.idle();
    await this.#lanes.response.idle();
    await this.#exchange.close();
  }

  /** How fast they leave is the client's affair: until they have, their bytes are held bytes. */
  async #send(replies: readonly Encoded[]): Promise<void> {
    for (const { bytes } of replies) this.#hold.change(bytes);
    try {
      for (const { message, last } of replies) {
        if (this.#isOver) return;
        this.#isOver = last;
        await this.#call.send(message);
      }
    } finally {
      for (const { bytes } of replies) this.#hold.change(-bytes);
    }
  }

  async #judge(event: EnvoyEvent): Promise<readonly Encoded[]> {
    if (this.#isOver) return [];
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
