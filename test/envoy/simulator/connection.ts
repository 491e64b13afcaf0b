/**
 * A connection as an Envoy worker opens it, over raw HTTP/2: it can do what a client library cannot, END_STREAM and
 * RST_STREAM in one segment, any authority, frames cut anywhere, and bytes that are no HTTP/2 at all. Windows are
 * kept in both directions; everything the server says is an event of its stream.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import {
  contentOf,
  dataFrame,
  ERROR,
  FLAG,
  type Frame,
  FrameReader,
  frame,
  grpcFrame,
  MessageReader,
  PREFACE,
  resetFrame,
  SETTING,
  settings,
  TYPE,
  windowUpdate,
} from "./frames.ts";
import { encodeHeaders, HeaderDecoder } from "./hpack.ts";

const PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const FIRST_WINDOW = 65_535; // section 6.9.2
const MAX_WINDOW = 2 ** 31 - 1;
const MAX_FRAME_BYTES = 16_384;

/** What the server did with a stream. The last three end it. */
export type StreamEvent =
  | { readonly kind: "message"; readonly bytes: Buffer }
  | { readonly kind: "status"; readonly code: number; readonly details: string }
  | { readonly kind: "reset"; readonly code: number }
  | { readonly kind: "lost" };

export type StreamOptions = { readonly authority?: string; readonly path?: string };

/** The frame that opens a Process call. */
export function openCall(stream: number, options: StreamOptions = {}): Buffer {
  const block = encodeHeaders([
    [":method", "POST"],
    [":scheme", "http"],
    [":path", options.path ?? PROCESS],
    [":authority", options.authority ?? "limen.local"],
    ["te", "trailers"],
    ["content-type", "application/grpc"],
  ]);
  return frame(TYPE.HEADERS, FLAG.END_HEADERS, stream, block);
}

/** @param address `host:port` */
export function socketTo(address: string): Socket {
  const colon = address.lastIndexOf(":");
  return connect(Number(address.slice(colon + 1)), address.slice(0, colon));
}

export class EnvoyConnection {
  readonly #socket: Socket;
  readonly #frames = new FrameReader("server");
  readonly #headers = new HeaderDecoder();
  readonly #streams = new Map<number, EnvoyStream>();
  readonly #pings: (() => void)[] = [];
  /** Headers that go on in CONTINUATION frames. */
  #block: Frame[] = [];
  #nextId = 1;
  #window = FIRST_WINDOW;
  #streamWindow = FIRST_WINDOW;
  #waiting: (() => void)[] = [];
  /** The error code of a GOAWAY. */
  goaway: number | undefined;
  lost = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      for (const one of this.#frames.push(chunk)) this.#read(one);
    });
    socket.on("error", () => undefined); // a close follows
    socket.on("close", () => {
      this.lost = true;
      for (const stream of this.#streams.values()) stream.hear({ kind: "lost" });
      for (const answered of this.#pings.splice(0)) answered();
      this.#wake();
    });
  }

  /** @returns when the server's settings are known */
  static async open(address: string): Promise<EnvoyConnection> {
    const socket = socketTo(address);
    await once(socket, "connect");
    const connection = new EnvoyConnection(socket);
    const own = settings([[SETTING.INITIAL_WINDOW_SIZE, MAX_WINDOW]]);
    connection.write(PREFACE, own, windowUpdate(0, MAX_WINDOW - FIRST_WINDOW));
    await connection.ping();
    return connection;
  }

  /** Opens a Process call. */
  open(options: StreamOptions = {}): EnvoyStream {
    assert.ok(!this.lost, "the server has closed the connection");
    const id = this.#nextId;
    this.#nextId += 2;
    const stream = new EnvoyStream(this, id);
    this.#streams.set(id, stream);
    this.write(openCall(id, options));
    return stream;
  }

  /** Sends bytes as they are, in one segment where the system lets them. */
  write(...parts: readonly Uint8Array[]): void {
    if (!this.lost) this.#socket.write(Buffer.concat(parts));
  }

  /** @returns when the server has read all that was sent before */
  async ping(): Promise<void> {
    if (this.lost) return;
    this.write(frame(TYPE.PING, 0, 0, Buffer.alloc(8)));
    await new Promise<void>((resolve) => this.#pings.push(resolve));
  }

  /** @returns when all of `data` has been written under the server's windows, or the connection is gone */
  async sendData(stream: EnvoyStream, data: Buffer): Promise<void> {
    for (let at = 0; at < data.length && !this.lost && !stream.over; ) {
      const room = Math.min(this.#window, this.#streamWindow + stream.credit, MAX_FRAME_BYTES);
      if (room <= 0) {
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
        continue;
      }
      const piece = data.subarray(at, at + room);
      this.spend(stream, piece.length);
      this.write(dataFrame(stream.id, piece));
      at += piece.length;
    }
  }

  /** For those who write DATA frames themselves. */
  spend(stream: EnvoyStream, size: number): void {
    this.#window -= size;
    stream.credit -= size;
  }

  close(): void {
    this.#socket.destroy();
  }

  /** Ends the connection in order; what was written before arrives. */
  async end(): Promise<void> {
    if (this.lost) return;
    const closed = once(this.#socket, "close");
    this.#socket.end();
    await closed;
  }

  forget(id: number): void {
    this.#streams.delete(id);
  }

  #wake(): void {
    for (const go of this.#waiting.splice(0)) go();
  }

  #read(one: Frame): void {
    const stream = this.#streams.get(one.stream);
    switch (one.type) {
      case TYPE.SETTINGS:
        if ((one.flags & FLAG.ACK) === 0) this.#readSettings(one.payload);
        break;
      case TYPE.PING:
        if ((one.flags & FLAG.ACK) !== 0) this.#pings.shift()?.();
        else this.write(frame(TYPE.PING, FLAG.ACK, 0, one.payload));
        break;
      case TYPE.WINDOW_UPDATE:
        if (one.stream === 0) this.#window += one.payload.readUInt32BE(0);
        else if (stream !== undefined) stream.credit += one.payload.readUInt32BE(0);
        this.#wake();
        break;
      case TYPE.GOAWAY:
        this.goaway = one.payload.readUInt32BE(4);
        break;
      case TYPE.RST_STREAM:
        stream?.hear({ kind: "reset", code: one.payload.readUInt32BE(0) });
        break;
      case TYPE.DATA:
        // Our windows are as large as they can be: what was read is given back at once.
        if (one.payload.length > 0) this.write(windowUpdate(0, one.payload.length));
        stream?.data(contentOf(one));
        break;
      case TYPE.HEADERS:
      case TYPE.CONTINUATION:
        this.#block.push(one);
        if ((one.flags & FLAG.END_HEADERS) !== 0) this.#readHeaders(stream);
        break;
    }
  }

  #readSettings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) === SETTING.INITIAL_WINDOW_SIZE)
        this.#streamWindow = payload.readUInt32BE(at + 2);
    }
    this.write(frame(TYPE.SETTINGS, FLAG.ACK, 0));
    this.#wake();
  }

  #readHeaders(stream: EnvoyStream | undefined): void {
    const fields = new Map(this.#headers.decode(Buffer.concat(this.#block.map(contentOf))));
    this.#block = [];
    const status = fields.get("grpc-status");
    if (status === undefined) assert.equal(fields.get(":status"), "200");
    else {
      const details = decodeURIComponent(fields.get("grpc-message") ?? "");
      stream?.hear({ kind: "status", code: Number(status), details });
    }
  }
}

/** One Process call. */
export class EnvoyStream {
  readonly id: number;
  readonly #connection: EnvoyConnection;
  readonly #messages = new MessageReader();
  readonly #events: StreamEvent[] = [];
  #heard: () => void = () => undefined;
  /** What the server lets us send here beyond the window that every stream begins with. */
  credit = 0;
  /** Ended by one side or the other. */
  over = false;

  constructor(connection: EnvoyConnection, id: number) {
    this.#connection = connection;
    this.id = id;
  }

  /** Sends messages one behind the other, however large. */
  async send(...messages: readonly Uint8Array[]): Promise<void> {
    const data = Buffer.concat(messages.map((message) => grpcFrame(message)));
    await this.#connection.sendData(this, data);
  }

  /** Sends one DATA frame as it is: part of a message, padding, flags. */
  raw(data: Uint8Array, flags = 0, padding?: number): void {
    this.#connection.spend(this, data.length + (padding === undefined ? 0 : padding + 1));
    this.#connection.write(dataFrame(this.id, data, flags, padding));
  }

  halfClose(): void {
    this.#connection.write(dataFrame(this.id, Buffer.alloc(0), FLAG.END_STREAM));
  }

  reset(code: number = ERROR.CANCEL): void {
    this.#connection.write(resetFrame(this.id, code));
    this.finish();
  }

  /** As Envoy ends a stream that it needs no longer: both frames in one segment. */
  halfCloseAndReset(): void {
    const end = dataFrame(this.id, Buffer.alloc(0), FLAG.END_STREAM);
    this.#connection.write(end, resetFrame(this.id, ERROR.NO_ERROR));
    this.finish();
  }

  /** What the server did next. */
  async next(): Promise<StreamEvent> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) return event;
      await new Promise<void>((resolve) => {
        this.#heard = resolve;
      });
    }
  }

  /** What the server did that nobody has asked for yet. */
  unread(): readonly StreamEvent[] {
    return this.#events;
  }

  data(bytes: Buffer): void {
    for (const message of this.#messages.push(bytes))
      this.hear({ kind: "message", bytes: message });
  }

  hear(event: StreamEvent): void {
    // What follows the end is housekeeping: a reset behind a status says that nothing more need be sent.
    if (this.over) return;
    this.#events.push(event);
    this.#heard();
    if (event.kind !== "message") this.finish();
  }

  finish(): void {
    this.over = true;
    this.#connection.forget(this.id);
  }
}
