/** One request of the fault suite over HTTP/1.1, on a connection of its own, in the hands of the test. */
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { HEADER_BYTES } from "./upstream.ts";

/** The part that an exchange plays in a fault: also the model that it asks, so that the log tells them apart. */
export type Role =
  /** Has sent half of its request; waits for the model; has half of its answer; reads a stream. */
  | "upload"
  | "thinking"
  | "answer"
  | "stream"
  /** Holds a secret, and is refused whenever it is read. */
  | "secret"
  /** Begins while the fault lasts, and when it is over. */
  | "during"
  | "after"
  /** Has a body of the size that the fault is about. */
  | "large";

/** What a client has seen of an exchange when it is over. */
export type Seen = {
  /** Undefined: no answer ever came. */
  readonly status: number | undefined;
  readonly id: string | undefined;
  /** The code of a refusal by Limen. */
  readonly code: string | undefined;
  readonly body: Buffer;
  readonly end: "whole" | "cut";
};

export type Exchange = {
  readonly role: Role;
  readonly name: string;
  readonly body: Buffer;
  /** What it asked the provider to play. */
  readonly play: string;
  /** The answer's headers are here; also when there will be none. */
  readonly head: Promise<void>;
  /** Never rejects. */
  readonly done: Promise<Seen>;
  /** Bytes of the answer's body until now. */
  received(): number;
  readonly outgoing: ClientRequest;
  incoming(): IncomingMessage | undefined;
};

export type Asked = Pick<Exchange, "role" | "name" | "body" | "play"> & {
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** "half": so much of the body is sent, the rest is the test's. */
  readonly send?: "all" | "half";
};

export function open(asked: Asked): Exchange {
  const { role, name, body, play } = asked;
  const outgoing = request(`${asked.url}/v1/chat/completions`, {
    method: "POST",
    agent: false,
    maxHeaderSize: HEADER_BYTES,
    headers: {
      "content-type": "application/json",
      "content-length": body.length,
      "x-play": play,
      "x-exchange": name,
      ...asked.headers,
    },
  });
  const head = Promise.withResolvers<void>();
  const done = Promise.withResolvers<Seen>();
  const chunks: Buffer[] = [];
  let size = 0;
  let answer: IncomingMessage | undefined;
  const over = (end: Seen["end"]): void => {
    head.resolve();
    done.resolve({ ...readHead(answer, chunks), body: Buffer.concat(chunks), end });
  };
  outgoing.once("response", (incoming) => {
    answer = incoming;
    head.resolve();
    incoming.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
    });
    incoming.once("close", () => over(incoming.complete ? "whole" : "cut"));
    incoming.on("error", () => {}); // told by "close"
  });
  outgoing.on("error", () => {
    if (answer === undefined) over("cut");
  });
  if (asked.send === "half") outgoing.write(body.subarray(0, body.length / 2));
  else outgoing.end(body);
  return {
    ...{ role, name, body, play, outgoing },
    head: head.promise,
    done: done.promise,
    received: () => size,
    incoming: () => answer,
  };
}

/** What was seen, or undefined when it is not over in time. */
export async function seenWithin({ done }: Exchange, limitMs: number): Promise<Seen | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), limitMs);
  const seen = await Promise.race([done, late.promise]);
  clearTimeout(timer);
  return seen;
}

function readHead(
  answer: IncomingMessage | undefined,
  chunks: readonly Buffer[],
): Pick<Seen, "status" | "id" | "code"> {
  const id = answer?.headers["x-limen-decision-id"]?.toString();
  const refused = ["deny", "ask"].includes(String(answer?.headers["x-limen-decision"]));
  const code = refused
    ? /"code":"([a-z_]+)"/.exec(Buffer.concat(chunks).toString())?.[1]
    : undefined;
  return { status: answer?.statusCode, id, code };
}
