/** Clients of the benchmark: each waits for its own answer before it asks again, on a connection that is kept. */
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";

/** `firstMs` and `lastMs`: to the first byte of the body, and to its last. */
export type Answer = {
  readonly status: number;
  readonly body: Buffer;
  readonly firstMs: number;
  readonly lastMs: number;
};

/** One exchange. */
export async function exchange(url: string, agent: Agent, body: string): Promise<Answer> {
  const start = performance.now();
  const outgoing = request(`${url}/v1/chat/completions`, {
    method: "POST",
    agent,
    headers: {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      "x-scenario": "page",
    },
  });
  outgoing.end(body);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  let firstMs: number | undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    firstMs ??= performance.now() - start;
    chunks.push(chunk);
  }
  const lastMs = performance.now() - start;
  const { statusCode: status = 0 } = incoming;
  return { status, body: Buffer.concat(chunks), firstMs: firstMs ?? lastMs, lastMs };
}

/** Asks all of `bodies`, `concurrency` at a time; an answer that is not the whole page ends the benchmark. */
export async function load(
  url: string,
  bodies: readonly string[],
  concurrency: number,
): Promise<readonly Answer[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const answers: Answer[] = [];
  const rest = bodies.values();
  const client = async (): Promise<void> => {
    for (const body of rest) {
      const answer = await exchange(url, agent, body);
      if (answer.status !== 200 || answer.body.length < 2_000) {
        throw new Error(`an answer of the benchmark is ${answer.status}: ${answer.body}`);
      }
      answers.push(answer);
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  agent.destroy();
  return answers;
}
