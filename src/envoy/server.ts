/**
 * The gRPC server: binds, limits, health, drain. Envoy opens one stream per exchange and resets most of them when
 * it is done, so the server must not count resets as an attack, see `allowResets`.
 */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import {
  logVerbosity,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  setLogVerbosity,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import type { Clock } from "../core/clock.ts";
import { LimenError } from "../core/errors.ts";
import type { Trust } from "../core/identity.ts";
import { Exchange, type ExchangeDeps } from "../exchange/exchange.ts";
import { passGate } from "../exchange/gate.ts";
import { type Hold, holdOf } from "../exchange/hold-budget.ts";
import { serveStream, serveUnary } from "./call.ts";
import { decodeCheck } from "./ext-authz/check.ts";
import { type CheckResponse, encodeReply } from "./ext-authz/encode.ts";
import { processStream } from "./ext-proc/stream.ts";
import {
  authorization,
  checkProtos,
  EXT_AUTHZ_SERVICE,
  EXT_PROC_SERVICE,
  externalProcessor,
} from "./proto.ts";
import type { TlsPort } from "./tls-port.ts";

export type ServerDeps = {
  /** What a new exchange works with; asked once per exchange, so that it pins what is in force now. */
  readonly exchangeDeps: () => Omit<ExchangeDeps, "closed" | "hold" | "modes">;
  readonly clock: Clock;
  /** Told of calls that ended with a failure. */
  readonly callFailed: (error: unknown) => void;
  readonly maxExchanges: number;
  /** What all streams together may hold back, and as much again for bodies. */
  readonly maxHeldBytes: number;
  /** Largest message: Envoy's buffer limit plus what it may send beyond in one piece. */
  readonly maxMessageBytes: number;
  readonly replyDeadlineMs: number;
  /** What of the proxy's words about a sender is believed. */
  readonly trust: Trust;
};

/** Envoy asks for the health of one of them, by the filter that it has. */
const SERVICES = ["", EXT_PROC_SERVICE, EXT_AUTHZ_SERVICE] as const;
/** How long the drain waits before new streams are refused: Envoy looks at health every 2 s, twice. */
const HEALTH_NOTICE_MS = 4_500;

export class BoundaryServer {
  readonly #server: Server;
  readonly #health = new HealthImplementation();
  readonly #deps: ServerDeps;
  readonly #hold: Hold;
  readonly #tlsPorts: TlsPort[] = [];
  #open = 0;
  #draining = false;
  /** Set by `drain`, called when the last exchange has closed, its records included. */
  #idle: (() => void) | undefined;

  constructor(deps: ServerDeps) {
    checkProtos();
    setLogVerbosity(logVerbosity.NONE); // its lines are none of the diary's, and some quote the peer
    this.#deps = deps;
    this.#hold = holdOf(deps.maxHeldBytes);
    this.#server = new Server({
      "grpc.max_receive_message_length": deps.maxMessageBytes,
      // A peer that went without a word, frozen or cut off, would keep its exchanges open for ever. The time for the
      // answer is longer than the watchdog lets our own loop be busy.
      "grpc.keepalive_time_ms": 30_000,
      "grpc.keepalive_timeout_ms": 20_000,
      "grpc.enable_channelz": 0, // bookkeeping per stream that nobody reads
      "grpc.max_concurrent_streams": deps.maxExchanges + 1_024,
    });
    allowResets(this.#server);
    for (const service of SERVICES) this.#health.setStatus(service, "SERVING");
    this.#health.addToServer(this.#server);
    this.#server.addService(externalProcessor, {
      Process: (call: Parameters<typeof serveStream>[0]) => {
        serveStream(call, (from, owned) => this.#process(from, owned), deps.callFailed);
      },
    });
    this.#server.addService(authorization, {
      Check: (
        call: ServerUnaryCall<unknown, CheckResponse>,
        reply: sendUnaryData<CheckResponse>,
      ) => {
        serveUnary(call, reply, {
          answer: (message, gone) => this.#check(message, gone),
          clock: deps.clock,
          deadlineMs: deps.replyDeadlineMs,
          failed: deps.callFailed,
        });
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
        error === null ? resolve(bound) : reject(unavailable(address, causeIn(error))),
      );
    });
    limitConnections(this.#server);
    // Whoever can connect is believed: the group that Envoy runs in, nobody else.
    if (socket !== undefined) chmodSync(socket, 0o660);
    return socket === undefined ? `${address.slice(0, address.lastIndexOf(":"))}:${port}` : address;
  }

  /**
   * Serves what comes through a port that knows its callers.
   * @returns the address in use
   * @throws LimenError `port_unavailable`
   */
  async bindTls(port: TlsPort): Promise<string> {
    const injector = this.#server.createConnectionInjector(ServerCredentials.createInsecure());
    this.#tlsPorts.push(port);
    try {
      return await port.open((socket) => injector.injectConnection(socket));
    } catch (error) {
      throw unavailable(port.addressWith(), causeIn(error));
    }
  }

  /**
   * Stops in the order that loses least: health says no, Envoy sends its exchanges elsewhere, open ones finish; what
   * is left at the deadline is ended with a failure, never with OK.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true;
    for (const service of SERVICES) this.#health.setStatus(service, "NOT_SERVING");
    const [connected] = sessionsOf(this.#server);
    const noticeMs = connected === undefined ? 0 : Math.min(HEALTH_NOTICE_MS, deadlineMs / 2);
    if (noticeMs > 0) await this.#pause(noticeMs); // nobody connected: nobody to tell
    for (const port of this.#tlsPorts) port.close();
    const stopped = new Promise<void>((resolve) => {
      this.#server.tryShutdown(() => resolve());
    });
    const force = this.#deps.clock.after(deadlineMs - noticeMs, () => {
      for (const session of sessionsOf(this.#server)) session.destroy();
      for (const port of this.#tlsPorts) port.destroy();
    });
    await stopped;
    force();
    for (const port of this.#tlsPorts) port.destroy(); // what is left is idle, or a handshake
    if (this.#open > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
  }

  async #process(from: AsyncIterable<unknown>, owned: Parameters<typeof processStream>[1]) {
    await this.#admit(async (closed) => {
      await processStream(from, owned, {
        clock: this.#deps.clock,
        replyDeadlineMs: this.#deps.replyDeadlineMs,
        trust: this.#deps.trust,
        hold: this.#hold,
        openExchange: (modes) =>
          new Exchange({ ...this.#deps.exchangeDeps(), modes, hold: this.#hold, closed }),
      });
    });
  }

  #check(message: unknown, gone: AbortSignal): Promise<CheckResponse> {
    return this.#admit(async (closed) => {
      const request = decodeCheck(message, this.#deps.trust);
      const { bodies } = this.#hold;
      const bytes = request.body.kind === "whole" ? request.body.bytes.length : 0;
      bodies.change(bytes);
      try {
        const reason = closed ?? (bodies.isExceeded ? "overloaded" : undefined);
        const deps = { ...this.#deps.exchangeDeps(), hold: this.#hold, closed: reason } as const;
        return encodeReply(await passGate(request, deps, gone));
      } finally {
        bodies.change(-bytes);
      }
    });
  }

  async #admit<T>(run: (closed: "overloaded" | undefined) => Promise<T>): Promise<T> {
    this.#open += 1; // At admission: counted at completion, all concurrent exchanges would pass.
    try {
      return await run(this.#open > this.#deps.maxExchanges ? "overloaded" : undefined);
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
export function allowResets(server: Server): void {
  const internals: unknown = Reflect.get(server, "commonServerOptions");
  if (typeof internals !== "object" || internals === null) {
    throw new Error("this grpc-js has no commonServerOptions: stream resets cannot be allowed");
  }
  Object.assign(internals, { streamResetBurst: 1_000_000, streamResetRate: 1_000_000 });
}

/**
 * Connections of one address; above it a new one is closed as it comes. An Envoy opens one per worker; without an
 * end, idle ones take the descriptors that the log needs (4,096 are asked for in SECURITY.md).
 */
const MAX_CONNECTIONS = 1_024;

function limitConnections(server: Server): void {
  for (const one of http2ServersOf(server).keys())
    Object.assign(one, { maxConnections: MAX_CONNECTIONS });
}

/**
 * The connections of a server. Its `forceShutdown` does not end them while channelz is off, because only channelz
 * fills the list that it goes through; without an end, a drain would wait for the last stream for ever.
 */
function* sessionsOf(server: Server): Iterable<{ destroy(): void }> {
  for (const { sessions } of http2ServersOf(server).values()) yield* [...sessions];
}

function http2ServersOf(
  server: Server,
): Map<object, { readonly sessions: Iterable<{ destroy(): void }> }> {
  const servers: unknown = Reflect.get(server, "http2Servers");
  if (!(servers instanceof Map)) throw new Error("this grpc-js has no http2Servers");
  return servers;
}

/** The system's word for it; grpc-js has it only in its text: "errors: [Error: listen EADDRINUSE: ...]". */
const causeIn = (error: unknown): string =>
  /\bE[A-Z]{3,}\b/.exec(String(error))?.[0] ?? "no reason given";

function unavailable(address: string, cause: string): LimenError {
  const taken = cause === "EADDRINUSE";
  return new LimenError("port_unavailable", {
    where: `listen ${address}`,
    what: taken ? "something else listens there" : `it cannot be listened on (${cause})`,
    fix: taken
      ? "stop that process, or set `listen` to another address in limen.yaml"
      : "check that the address is this machine's, or that the socket's folder is there and writable",
  });
}

/**
 * A socket that nobody listens on is left over from a killed process and goes. One that somebody listens on, or that
 * we may not ask, is somebody's; what is no socket is a mistake in the configuration, and is not ours to delete.
 */
async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new LimenError("port_unavailable", {
      where: `listen unix://${path}`,
      what: "there is something that is no socket",
      fix: "set `listen` to a path of its own in limen.yaml",
    });
  }
  const cause = await new Promise<string>((resolve) => {
    const probe = connect(path);
    probe.once("error", (error) => resolve(causeIn(error)));
    probe.once("connect", () => {
      resolve("EADDRINUSE");
      probe.destroy();
    });
  });
  if (cause !== "ECONNREFUSED") throw unavailable(`unix://${path}`, cause);
  unlinkSync(path);
}
