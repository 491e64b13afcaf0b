/** Listens between Envoy and Limen: passes every byte on, and notes what crosses on the streams of ext_proc. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { socketTo } from "./connection.ts";
import { contentOf, FLAG, type Frame, FrameReader, MessageReader, TYPE } from "./frames.ts";
import { HeaderDecoder } from "./hpack.ts";
import type { Crossing } from "./recording.ts";

type Side = Crossing["from"];
/** A stream of one call, with what both sides have begun to say. */
type Stream = {
  readonly crossings: Crossing[];
  readonly readers: Readonly<Record<Side, MessageReader>>;
};

export type Tap = {
  readonly port: number;
  /** The streams that have begun since the last call, in their order; those that go on go on being written. */
  take(): readonly (readonly Crossing[])[];
  close(): Promise<void>;
};

export async function openTap(address: string): Promise<Tap> {
  const sockets = new Set<Socket>();
  let taken: (readonly Crossing[])[] = [];
  const server: Server = createServer((envoy) => {
    const limen = socketTo(address);
    const notes = new Notes((crossings) => taken.push(crossings));
    for (const [from, to, side] of [
      [envoy, limen, "envoy"],
      [limen, envoy, "limen"],
    ] as const) {
      sockets.add(from);
      const frames = new FrameReader(side === "envoy" ? "client" : "server");
      from.on("data", (chunk: Buffer) => {
        // Noted first: what Limen answers is noted behind what it answers to.
        for (const one of frames.push(chunk)) notes.read(side, one);
        to.write(chunk);
      });
      from.on("error", () => undefined);
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    take: () => {
      const begun = taken;
      taken = [];
      return begun;
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** What crosses one connection. */
class Notes {
  readonly #began: (crossings: readonly Crossing[]) => void;
  readonly #streams = new Map<number, Stream>();
  readonly #headers = { envoy: new HeaderDecoder(), limen: new HeaderDecoder() };
  readonly #blocks: Record<Side, Frame[]> = { envoy: [], limen: [] };

  constructor(began: (crossings: readonly Crossing[]) => void) {
    this.#began = began;
  }

  read(from: Side, one: Frame): void {
    if (one.type === TYPE.HEADERS || one.type === TYPE.CONTINUATION) this.#readHeaders(from, one);
    const stream = this.#streams.get(one.stream);
    if (stream === undefined) return;
    if (one.type === TYPE.DATA) {
      for (const message of stream.readers[from].push(contentOf(one)))
        stream.crossings.push({ from, message: message.toString("base64") });
    }
    const ends = one.type === TYPE.DATA || one.type === TYPE.HEADERS;
    if (ends && (one.flags & FLAG.END_STREAM) !== 0) stream.crossings.push({ from, end: true });
    if (one.type === TYPE.RST_STREAM)
      stream.crossings.push({ from, reset: one.payload.readUInt32BE(0) });
  }

  #readHeaders(from: Side, one: Frame): void {
    const block = this.#blocks[from];
    block.push(one);
    if ((one.flags & FLAG.END_HEADERS) === 0) return;
    this.#blocks[from] = [];
    const headers = this.#headers[from].decode(Buffer.concat(block.map(contentOf)));
    const opens = headers.some(
      ([name, value]) => name === ":path" && value.endsWith(".ExternalProcessor/Process"),
    );
    if (!opens) return;
    const crossings: Crossing[] = [];
    const readers = { envoy: new MessageReader(), limen: new MessageReader() };
    this.#streams.set(one.stream, { crossings, readers });
    this.#began(crossings);
  }
}
