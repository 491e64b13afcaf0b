/** One HTTP/1.1 request on a connection of its own, with exactly the bytes and headers given. */
import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request } from "node:http";

export type RawRequest = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Buffer;
};
export type RawResponse = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
};

/** @throws when the connection is cut before the response is complete */
export async function send(url: string, options: RawRequest = {}): Promise<RawResponse> {
  const outgoing = request(url, {
    method: options.method ?? "POST",
    headers: { "content-type": "application/json", ...options.headers },
    agent: false,
  });
  outgoing.end(options.body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return {
    status: incoming.statusCode ?? 0,
    headers: incoming.headers,
    body: Buffer.concat(chunks),
  };
}
