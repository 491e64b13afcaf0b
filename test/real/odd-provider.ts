/** A provider that trails, answers early, breaks off or never ends, as the header `x-answer` of a request says. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const MiB = 1024 * 1024;
/** What its answers leak: a policy of the test protects it. */
export const CANARY = "CANARY-5d1e88b0aa";

export type Upstream = {
  readonly port: number;
  /** What arrived of each request, whole or not. */
  readonly received: { bytes: number; sha256: string; complete: boolean }[];
  close(): Promise<void>;
};
export const frame = (content: string): string =>
  `data: ${JSON.stringify({ id: "x", model: "m", choices: [{ index: 0, delta: { content }, finish_reason: null }] })}\n\n`;
export const LAST = `data: ${JSON.stringify({ id: "x", model: "m", choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`;
export const answer = (content: string): string =>
  JSON.stringify({
    id: "x",
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }],
  });

/** Answers by the header `x-answer`; keeps what reached it. */
export async function startUpstream(): Promise<Upstream> {
  const received: Upstream["received"][number][] = [];
  const server = createServer((incoming, response) => {
    response.on("error", () => {});
    serve(incoming, response, received).catch(() => response.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    received,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function serve(
  incoming: IncomingMessage,
  response: ServerResponse,
  received: Upstream["received"][number][],
): Promise<void> {
  const how = String(incoming.headers["x-answer"] ?? "json");
  if (how === "early") {
    response.writeHead(401, { "content-type": "application/json" });
    response.end('{"error":{"message":"no key","type":"auth"}}');
  }
  const hash = createHash("sha256");
  const seen = { bytes: 0, sha256: "", complete: false };
  received.push(seen);
  for await (const chunk of incoming) {
    hash.update(chunk);
    seen.bytes += chunk.length;
  }
  seen.complete = incoming.complete;
  seen.sha256 = hash.digest("hex");
  if (how === "busy-twice" && received.length < 3) {
    response.writeHead(503, { "content-type": "application/json" });
    response.end('{"error":{"message":"busy","type":"overloaded"}}');
    return;
  }
  const trailers = how.startsWith("trailers");
  const sse = how.endsWith("sse") || how === "leak-first" || how === "leak-late";
  if (trailers) response.setHeader("trailer", "x-usage");
  response.writeHead(200, { "content-type": sse ? "text/event-stream" : "application/json" });
  if (trailers) response.addTrailers({ "x-usage": "42" });
  const text = `Card ${["4111", "1111", "1111", "1111"].join(" ")}.`;
  if (how === "early") return;
  if (!sse) {
    response.end(answer(how === "leak" ? CANARY : how === "large" ? "word ".repeat(MiB) : text));
    return;
  }
  if (how === "leak-first") response.write(frame(CANARY));
  response.write(frame(`${text} `));
  // In a message of its own: the headers have left by then.
  if (how === "leak-late") await new Promise((resume) => setTimeout(resume, 100));
  if (how === "leak-late") response.write(frame(`${CANARY} and more`));
  if (how.startsWith("leak")) {
    // Goes on until somebody stops it.
    while (!response.destroyed) {
      if (!response.write(frame(`tail ${"x".repeat(500)}`))) {
        await Promise.race([once(response, "drain"), once(response, "close")]);
      } else await new Promise(setImmediate);
    }
    return;
  }
  // An address that may go on is held: it is redacted, or leaves with what follows.
  if (how === "trailers-unfinished-sse") response.end(frame("jo@example.org"));
  else response.end(LAST);
}
