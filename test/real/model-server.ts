/**
 * A loopback stand-in for a model provider: OpenAI's chat completions and Anthropic's messages, as JSON
 * and as event streams, by script. It keeps every request that reached it, so that a test can say that
 * none did. Nothing in Limen knows it.
 */
import { once } from "node:events";
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync, gzipSync } from "node:zlib";
import { jsonOf, type Wire, type WireEvent, writerOf } from "./model-wire.ts";
import { SCENARIOS, type Script, scenarioOf } from "./scenarios.ts";

/** Far above what Envoy lets through. */
const BODY_LIMIT_BYTES = 64 << 20;

type Received = {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

export type ModelServer = {
  readonly port: number;
  /** Inference requests in the order of their arrival. */
  readonly received: Received[];
  /** Ends the streams of the scenario `live` with their regular last events. */
  finishLive(): void;
  close(): Promise<void>;
};

type Answer = Extract<Script, { kind: "answer" }>;

export async function startModelServer(port = 0): Promise<ModelServer> {
  const received: Received[] = [];
  const live = new Set<() => void>();
  const server = createServer((request, response) => {
    answer(request, response, received, live).catch((error: unknown) =>
      response.destroy(error as Error),
    );
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    received,
    finishLive: () => {
      for (const finish of live) finish();
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  received: Received[],
  live: Set<() => void>,
): Promise<void> {
  const { method = "", url = "", headers } = request;
  const path = url.split("?")[0] ?? "";
  const body = (await read(request)).toString("utf8");
  if (method === "GET" && path === "/v1/models") {
    sendJson(response, 200, { object: "list", data: [{ id: "demo-1", object: "model" }] });
    return;
  }
  received.push({ method, path: url, headers, body });
  const wire: Wire | undefined = path.endsWith("/chat/completions")
    ? "openai"
    : path.endsWith("/messages")
      ? "anthropic"
      : undefined;
  const scenario = scenarioOf(headers["x-scenario"]?.toString(), body);
  if (wire === undefined || scenario === undefined || (scenario === "live" && wire !== "openai")) {
    sendJson(response, 404, {
      error: { type: "not_found_error", message: "no such path or scenario" },
    });
    return;
  }
  const script: Script = SCENARIOS[scenario];
  const form = formOf(body);
  if (script.kind === "error") sendError(response, wire, script);
  else if (form === "unreadable")
    sendJson(response, 400, { error: { type: "invalid_request_error" } });
  else if (form === "stream") await stream(response, wire, script, live);
  else sendAnswer(response, wire, script);
}

function formOf(body: string): "json" | "stream" | "unreadable" {
  try {
    return (JSON.parse(body) as { stream?: boolean }).stream ? "stream" : "json";
  } catch {
    return "unreadable";
  }
}

async function read(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > BODY_LIMIT_BYTES) throw new Error("request above the limit of the model server");
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  return request.headers["content-encoding"] === "gzip" ? gunzipSync(body) : body;
}

function sendJson(response: ServerResponse, status: number, value: unknown, headers = {}): void {
  response
    .writeHead(status, { "content-type": "application/json", ...headers })
    .end(JSON.stringify(value));
}

function sendError(
  response: ServerResponse,
  wire: Wire,
  script: Extract<Script, { kind: "error" }>,
): void {
  const { status, headers, body } = script;
  if ("html" in body) {
    response.writeHead(status, { "content-type": "text/html", ...headers }).end(body.html);
  } else {
    const outer = wire === "anthropic" ? { type: "error" } : {};
    sendJson(response, status, { ...outer, error: body }, headers);
  }
}

function sendAnswer(response: ServerResponse, wire: Wire, script: Answer): void {
  const value = jsonOf(wire, script.steps);
  if (script.encoding === "gzip") {
    const headers = { "content-type": "application/json", "content-encoding": "gzip" };
    response.writeHead(200, headers).end(gzipSync(JSON.stringify(value)));
  } else {
    sendJson(response, 200, value);
  }
}

async function stream(
  response: ServerResponse,
  wire: Wire,
  script: Answer,
  live: Set<() => void>,
): Promise<void> {
  const { begin, chunks, end } = writerOf(wire, script.steps);
  let finished = false;
  const finish = (): void => {
    finished = true;
  };
  if (script.live) live.add(finish);
  response.once("close", finish);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  write(response, begin);
  for (let sent = 0; !finished && (script.live || sent < chunks.length); sent += 1) {
    if (script.cutAfter === sent) {
      response.destroy();
      break;
    }
    write(response, chunks[sent % chunks.length] ?? []);
    if (script.gapMs !== undefined) await pause(script.gapMs);
  }
  live.delete(finish);
  if (response.destroyed) return;
  write(response, end);
  response.end();
}

/** The pace of the provider is part of the script: some answers take their time. */
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function write(response: ServerResponse, events: readonly WireEvent[]): void {
  let text = "";
  for (const { event, data } of events) {
    text += `${event === undefined ? "" : `event: ${event}\n`}data: ${data}\n\n`;
  }
  response.write(text);
}
