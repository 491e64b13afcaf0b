/**
 * The gRPC server: binds, limits, health, drain. Envoy opens one stream per exchange and resets most of them when
 * it is done, so the server must not count resets as an attack, see `allowResets`.
 */
import { chmodSync, existsSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import type { Clock } from "../core/clock.ts";
import { LimenError } from "../core/errors.ts";
import { Exchange, type ExchangeDeps } from "../exchange/exchange.ts";
import { HoldBudget } from "../exchange/hold-budget.ts";
import { serveStream } from "./call.ts";
import { processStream } from "./ext-proc/stream.ts";
import { checkProtos, EXT_PROC_SERVICE, externalProcessor } from "./proto.ts";

export type ServerDeps = {
  /** What a new exchange works with; asked once per exchange, so that it pins what is in force now. */
  readonly exchangeDeps: () => Omit<ExchangeDeps, "closed" | "hold">;
  readonly clock: Clock;
  /** Told of calls that ended with a failure. */
  readonly callFailed: (error: unknown) => void;
  readonly maxExchanges: number;
  /** What all streams together may hold back. */
  readonly maxHeldBytes: number;
  /** Largest message: Envoy's buffer limit plus what it may send beyond in one piece. */
  readonly maxMessageBytes: number;
  readonly replyDeadlineMs: number;
};

/** How long the drain waits before new streams are refused: Envoy looks at health every 2 s, twice. */
const HEALTH_NOTICE_MS = 4_500;

export class BoundaryServer {
  readonly #server: Server;
  readonly #health = new HealthImplementation({ "": "SERVING", [EXT_PROC_SERVICE]: "SERVING" });
  readonly #deps: ServerDeps;
  readonly #sockets: string[] = [];
  readonly #hold: HoldBudget;
  #open = 0;
  #draining = false;
  /** Set by `drain`, called when the last exchange has closed, its records included. */
  #idle: (() => void) | undefined;

  constructor(deps: ServerDeps) {
    checkProtos();
    this.#deps = deps;
    this.#hold = new HoldBudget(deps.maxHeldBytes);
    this.#server = new Server({
      "grpc.max_receive_message_length": deps.maxMessageBytes,
      "grpc.enable_channelz": 0, // bookkeeping per stream that nobody reads
      "grpc.max_concurrent_streams": deps.maxExchanges + 1_024,
    });
    allowResets(this.#server);
    this.#health.addToServer(this.#server);
    this.#server.addService(externalProcessor, {
      Process: (call: Parameters<typeof serveStream>[0]) => {
        serveStream(call, (from, owned) => this.#process(from, owned), deps.callFailed);
      },
    });
  }

  /** Exchanges that Envoy has open with us. */
  get open(): number {
    return this.#open;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /**
   * @param address `unix:///path` or `host:port`; port 0 takes a free one
   * @returns the address in use
   * @throws LimenError `port_unavailable`
   */
  async bind(address: string): Promise<string> {
    const socket = address.startsWith("unix:") ? address.replace(/^unix:(\/\/)?/, "") : undefined;
    if (socket !== undefined) await removeStaleSocket(socket);
    const target = socket === undefined ? address : `unix:${socket}`;
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(target, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(unavailable(address)),
      );
    });
    if (socket !== undefined) {
      // Whoever can connect is believed: the group that Envoy runs in, nobody else.
      chmodSync(socket, 0o660);
      this.#sockets.push(socket);
    }
    return socket === undefined ? `${address.slice(0, address.lastIndexOf(":"))}:${port}` : address;
  }

  /**
   * Stops in the order that loses least: health says no, Envoy sends its exchanges elsewhere, open ones finish; what
   * is left at the deadline is ended with a failure, never with OK.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    this.#health.setStatus("", "NOT_SERVING");
    this.#health.setStatus(EXT_PROC_SERVICE, "NOT_SERVING");
    await this.#pause(Math.min(HEALTH_NOTICE_MS, deadlineMs / 2));
    const stopped = new Promise<void>((resolve) => {
      this.#server.tryShutdown(() => resolve());
    });
    const force = this.#deps.clock.after(deadlineMs / 2, () => this.#server.forceShutdown());
    await stopped;
    force();
    if (this.#open > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    for (const socket of this.#sockets) if (existsSync(socket)) unlinkSync(socket);
  }

  async #process(from: AsyncIterable<unknown>, owned: Parameters<typeof processStream>[1]) {
    this.#open += 1; // At admission: counted at completion, all concurrent exchanges would pass.
    const closed = this.#open > this.#deps.maxExchanges ? "overloaded" : undefined;
    try {
      await processStream(from, owned, {
        clock: this.#deps.clock,
        replyDeadlineMs: this.#deps.replyDeadlineMs,
        openExchange: () =>
          new Exchange({ ...this.#deps.exchangeDeps(), hold: this.#hold, closed }),
      });
    } finally {
      this.#open -= 1;
      if (this.#open === 0) this.#idle?.();
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      this.#deps.clock.after(ms, resolve);
    });
  }
}

/**
 * Node's HTTP/2 server takes more than 1,000 stream resets in a burst (33 a second after that) for an attack and
 * closes the connection with everything on it; Envoy resets nearly every stream as it ends. The limit can only be
 * raised through options that grpc-js does not pass on, so they go into its private field: the pinned version has
 * it, and a version without it must not start.
 */
function allowResets(server: Server): void {
  const internals: unknown = Reflect.get(server, "commonServerOptions");
  if (typeof internals !== "object" || internals === null) {
    throw new Error("this grpc-js has no commonServerOptions: stream resets cannot be allowed");
  }
  Object.assign(internals, { streamResetBurst: 1_000_000, streamResetRate: 1_000_000 });
}

const unavailable = (address: string): LimenError =>
  new LimenError("port_unavailable", {
    where: `listen ${address}`,
    what: "the address cannot be bound",
    fix: "stop what uses it, or set another `listen` address",
  });

/** A socket file that nobody listens on is left over from a killed process; a live one is somebody's. */
async function removeStaleSocket(path: string): Promise<void> {
  if (!existsSync(path)) return;
  const live = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => resolve(true)).once("error", () => resolve(false));
    probe.once("close", () => probe.destroy());
  });
  if (live) throw unavailable(`unix://${path}`);
  unlinkSync(path);
}
