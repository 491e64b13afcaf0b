/** One request by HTTP/1.1 or HTTP/2, with the trailers of its answer. */
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:http2";

type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, unknown>>;
};

async function http1(url: string, body: string | Buffer, headers: object = {}): Promise<Answer> {
  const outgoing = request(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    agent: false,
  });
  // A refusal can come while the body is still on its way.
  outgoing.on("error", () => {});
  outgoing.end(body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return {
    status: incoming.statusCode ?? 0,
    headers: incoming.headers,
    body: Buffer.concat(chunks).toString(),
    trailers: incoming.trailers,
  };
}

async function http2(url: string, body: string | Buffer, headers: object = {}): Promise<Answer> {
  const { origin, pathname } = new URL(url);
  const session = connect(origin);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": pathname,
      "content-type": "application/json",
      ...headers,
    });
    let trailers: Record<string, unknown> = {};
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    const responded = once(stream, "response");
    stream.end(body);
    const [fields] = (await responded) as [Record<string, unknown>];
    const chunks: Buffer[] = [];
    for await (const chunk of stream as AsyncIterable<Buffer>) chunks.push(chunk);
    return {
      status: Number(fields[":status"]),
      headers: fields,
      body: Buffer.concat(chunks).toString(),
      trailers,
    };
  } finally {
    session.destroy();
  }
}
export const CLIENTS = { "HTTP/1.1": http1, "HTTP/2": http2 } as const;
