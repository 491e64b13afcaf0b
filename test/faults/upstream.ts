/**
 * The provider of the fault suite. What it plays is named by the request's header `x-play`; every answer holds a
 * card number that Limen must take out, so bytes that reach a client past Limen are seen as such. It keeps what it
 * was sent and what it has said, exchange by exchange (`x-exchange`).
 */
import { hash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { jsonOf, writerOf } from "../real/model-wire.ts";
import { CARD } from "../real/scenarios.ts";

/** How an answer is given. */
export type Play =
  /** At once; `slow` in small pieces, `held` not before `release`. */
  | "prompt"
  | "slow"
  | "held"
  /** The first half; the rest after `release`, or never, because the connection is reset or closed. */
  | "half"
  | "reset"
  | "closed"
  /** A stream that goes on until `release`. */
  | "ticks"
  /** With as many headers, a header of so many bytes, a body of so many bytes. */
  | `headers=${number}`
  | `header=${number}`
  | `body=${number}`;

type Told = {
  /** SHA-256 of the request's body. */
  readonly request: string;
  /** Everything that was written of the answer's body. */
  answer: string;
  /** Whether the answer went out whole, or Envoy left before its end. */
  state: "open" | "said" | "left";
};

export type Upstream = {
  readonly port: number;
  /** What happened of an exchange; undefined: it never got here whole. */
  told(exchange: string): Told | undefined;
  /** For runs so long that what was told would not fit into memory. */
  forget(exchange: string): void;
  /** Exchanges that arrived whole. */
  arrivals(): number;
  /** Lets everything that waits go on to its regular end. */
  release(): void;
  close(): Promise<void>;
};

/** More than Envoy lets through: its limits are the ones to be seen. */
export const HEADER_BYTES = 128 * 1024;
const TICK_MS = 100;
const SENTENCES = Array.from({ length: 40 }, (_, i) => `n${i} paid with ${CARD}. `);

export const sha256 = (bytes: Uint8Array | string): string => hash("sha256", bytes);

export async function startUpstream(): Promise<Upstream> {
  const exchanges = new Map<string, Told>();
  let released = Promise.withResolvers<void>();
  const server = createServer({ maxHeaderSize: HEADER_BYTES }, (request, response) => {
    serve(request, response).catch(() => response.destroy());
  });

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = String(request.headers["x-exchange"] ?? "");
    const body = await bodyOf(request);
    if (request.method === "GET") {
      sendJson(response, '{"object":"list","data":[]}');
      return;
    }
    if (exchanges.has(name)) throw new Error("the exchange is here for the second time");
    const told: Told = { request: sha256(body), answer: "", state: "open" };
    exchanges.set(name, told);
    response.once("close", () => {
      told.state = response.writableFinished ? "said" : "left";
    });
    const play = String(request.headers["x-play"] ?? "prompt") as Play;
    const { stream } = JSON.parse(body.toString()) as { stream?: boolean };
    await perform({ response, told, play, stream: stream === true, go: () => released.promise });
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    told: (name) => exchanges.get(name),
    forget: (name) => {
      exchanges.delete(name);
    },
    arrivals: () => exchanges.size,
    release: () => {
      released.resolve();
      released = Promise.withResolvers<void>();
    },
    close: async () => {
      released.resolve();
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

type Part = {
  readonly response: ServerResponse;
  readonly told: Told;
  readonly play: Play;
  readonly stream: boolean;
  readonly go: () => Promise<void>;
};

async function perform(part: Part): Promise<void> {
  const { response, play, stream, go } = part;
  const [kind, number] = play.split("=");
  const released = go();
  if (kind === "held") await released;
  response.writeHead(200, headersOf(stream, kind, Number(number)));
  if (kind === "ticks") return ticks(part, released);
  const whole = stream ? streamBody() : jsonBody(kind === "body" ? Number(number) : 0);
  const middle = Math.floor(whole.length / 2);
  switch (kind) {
    case "half":
      say(part, whole.slice(0, middle));
      await released;
      say(part, whole.slice(middle));
      break;
    case "reset":
    case "closed":
      say(part, whole.slice(0, middle));
      // What was said has left for Envoy before the connection ends.
      await new Promise((resolve) => response.write("", resolve));
      if (kind === "reset") response.socket?.resetAndDestroy();
      else response.socket?.end();
      return;
    case "slow":
      for (let at = 0; at < whole.length; at += 64) {
        say(part, whole.slice(at, at + 64));
        await pause(1);
      }
      break;
    default:
      say(part, whole);
  }
  response.end();
}

function headersOf(stream: boolean, kind = "", number = 0): Record<string, string> {
  const headers: Record<string, string> = {
    "content-type": stream ? "text/event-stream" : "application/json",
  };
  if (kind === "headers") for (let i = 0; i < number; i += 1) headers[`x-many-${i}`] = "1";
  if (kind === "header") headers["x-long"] = "v".repeat(number);
  return headers;
}

function say({ response, told }: Part, text: string): void {
  told.answer += text;
  response.write(text);
}

async function ticks(part: Part, released: Promise<void>): Promise<void> {
  const { begin, end } = writerOf("openai", []);
  say(part, framesOf(begin));
  let over = false;
  void released.then(() => {
    over = true;
  });
  for (let i = 0; !over && !part.response.destroyed; i += 1) {
    const text = { kind: "text", pieces: [SENTENCES[i % SENTENCES.length] ?? ""] } as const;
    say(part, writerOf("openai", [text]).chunks.map(framesOf).join(""));
    await pause(TICK_MS);
  }
  if (part.response.destroyed) return;
  say(part, framesOf(end));
  part.response.end();
}

/** The pace of the provider is part of the play. */
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const framesOf = (events: readonly { readonly data: string }[]): string =>
  events.map(({ data }) => `data: ${data}\n\n`).join("");

function streamBody(): string {
  const { begin, chunks, end } = writerOf("openai", [{ kind: "text", pieces: SENTENCES }]);
  return [begin, ...chunks, end].map(framesOf).join("");
}

/** A whole answer; one of exactly `bytes` when that is more than nothing, and then without a card number. */
function jsonBody(bytes: number): string {
  const text = (content: string): string =>
    JSON.stringify(jsonOf("openai", [{ kind: "text", pieces: [content] }]));
  if (bytes === 0) return text(SENTENCES.join(""));
  return text("calm words. ".repeat(bytes / 12).slice(0, bytes - text("").length));
}

function sendJson(response: ServerResponse, body: string): void {
  response.writeHead(200, { "content-type": "application/json" }).end(body);
}
