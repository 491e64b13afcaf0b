/**
 * Envoy ends one stream per exchange, on one connection for all. An HTTP/2 server that takes that for an
 * attack (Node's does, after about a thousand resets) cuts everything that is open on it.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import { envoyBinary } from "./envoy.ts";
import { MODEL, openaiAt } from "./sdk.ts";
import { type Stack, startStack } from "./stack.ts";

const REQUESTS = 5_000;
const BODY = JSON.stringify({ model: MODEL, messages: [{ role: "user", content: "hello" }] });

async function post(url: string, agent: Agent): Promise<number> {
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(BODY) };
  const outgoing = request(`${url}/v1/chat/completions`, { method: "POST", agent, headers });
  outgoing.end(BODY);
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
  incoming.resume();
  await once(incoming, "end");
  return incoming.statusCode ?? 0;
}

for (const gracefulClose of ["off", "on"] as const) {
  describe(`${REQUESTS} requests with the graceful close of streams ${gracefulClose}`, function () {
    this.timeout(180_000);
    let stack: Stack;
    before(async function () {
      if (envoyBinary() === undefined) this.skip();
      stack = await startStack({ gracefulClose });
    });
    after(async () => {
      await stack?.close();
    });

    it("all succeed on one connection, and a stream beside them is never cut", async () => {
      const stream = await openaiAt(stack.url, "live").chat.completions.create({
        model: MODEL,
        messages: [{ role: "user", content: "hello" }],
        stream: true,
      });
      let ticks = 0;
      const readToTheEnd = async (): Promise<string> => {
        try {
          for await (const chunk of stream) {
            if (chunk.choices[0]?.delta.content === "tick ") ticks += 1;
            if (chunk.choices[0]?.finish_reason === "stop") return "finished";
          }
        } catch {
          // told by the return value
        }
        return "cut";
      };
      const beside = readToTheEnd();
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const statuses = new Map<number, number>();
      for (let i = 0; i < REQUESTS; i += 1) {
        const status = await post(stack.url, agent);
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        stack.model.received.length = 0;
      }
      agent.destroy();
      stack.model.finishLive();
      assert.equal(await beside, "finished");
      assert.ok(ticks > 50, `${ticks} ticks`);
      assert.deepEqual([...statuses], [[200, REQUESTS]]);
      const resets = await stack.envoy.stat("cluster.limen-limen.upstream_rq_tx_reset");
      // So that "on" and "off" cannot mean the same.
      assert.equal(
        gracefulClose === "off" ? resets > REQUESTS * 0.9 : resets < REQUESTS * 0.1,
        true,
        `${resets} resets`,
      );
      assert.equal(await stack.envoy.stat("cluster.limen-limen.upstream_cx_total"), 1);
    });
  });
}
