/** The server's drain, on a clock that the test turns: who is told, and how long open exchanges may take. */
import assert from "node:assert/strict";
import { Client, status as Code, credentials, type StatusObject } from "@grpc/grpc-js";
import { systemClock } from "../../src/cli/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import { RULES_ALONE } from "../../src/core/record.ts";
import { EXT_PROC_SERVICE } from "../../src/envoy/proto.ts";
import { BoundaryServer } from "../../src/envoy/server.ts";
import { policyWith } from "./ext-proc/session.ts";
import { NO_TRUST } from "./trust.ts";

const policies = policyWith("{}");
const plain = (value: Buffer): Buffer => value;

/** A server whose timers fire when the test says so. */
async function opened() {
  const timers: { ms: number; fire: () => void }[] = [];
  const asked: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock(),
    after: (ms, fire) => {
      timers.push({ ms, fire });
      for (const tell of asked.splice(0)) tell();
      return () => undefined;
    },
  };
  const recorder = { append: () => Promise.resolve(true) };
  const server = new BoundaryServer({
    clock,
    exchangeDeps: () => ({
      policies,
      recorder,
      clock,
      detector: RULES_ALONE,
      recorded: () => undefined,
    }),
    callFailed: () => undefined,
    maxExchanges: 8,
    maxHeldBytes: 2 ** 20,
    maxMessageBytes: 2 ** 20,
    replyDeadlineMs: 4_000,
    trust: NO_TRUST,
  });
  const address = await server.bind("127.0.0.1:0");
  return {
    server,
    timers,
    /** The next timer that is asked for. */
    async timer() {
      while (timers.length === 0) await new Promise<void>((resolve) => asked.push(resolve));
      return timers.shift()!;
    },
    /** An exchange that has begun and says nothing. */
    async exchange() {
      const client = new Client(address, credentials.createInsecure());
      const call = client.makeBidiStreamRequest(`/${EXT_PROC_SERVICE}/Process`, plain, plain);
      call.on("error", () => undefined).on("data", () => undefined);
      const status = new Promise<StatusObject>((resolve) => call.on("status", resolve));
      while (server.open === 0) await new Promise(setImmediate);
      return { status, close: () => client.close() };
    },
  };
}

describe("the server's drain", () => {
  it("gives open exchanges all of its time, the notice to Envoy included, and no more", async () => {
    const { server, timer, exchange } = await opened();
    const { status, close } = await exchange();
    const drained = server.drain(30_000);
    const notice = await timer();
    notice.fire();
    const end = await timer();
    assert.deepEqual([notice.ms, notice.ms + end.ms], [4_500, 30_000]);
    end.fire();
    assert.notEqual((await status).code, Code.OK);
    await drained;
    close();
  });

  it("waits for nobody when nobody is connected", async () => {
    const { server, timers } = await opened();
    await server.drain(30_000); // no timer fires here
    assert.deepEqual(
      timers.map(({ ms }) => ms),
      [30_000],
    );
  });
});
