/** What clients and the provider do: slow, gone in the middle, half closed, many at once. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import type { Bootstrap } from "../real/bootstrap.ts";
import { managerOf, routesOf } from "../real/bootstrap.ts";
import type { Fault } from "./fault.ts";
import type { Rig } from "./rig.ts";

const IDLE_SECONDS = 4;
const FLOOD = 20_000;

/** The file's timers, short enough for a test. */
function shortTimers({ static_resources: { listeners } }: Bootstrap): void {
  for (const listener of listeners) {
    const manager = managerOf(listener);
    manager["request_timeout"] = `${IDLE_SECONDS}s`;
    // The route's timer stands in the place of the manager's `stream_idle_timeout`.
    for (const { route } of routesOf(manager)) route["idle_timeout"] = `${IDLE_SECONDS}s`;
  }
}

export const TRAFFIC_FAULTS: readonly Fault[] = [
  {
    name: "the provider writes in small pieces",
    limitMs: 10_000,
    by: "nothing ends: all goes on",
    tier: "sample",
    async run(rig) {
      rig.ask("answer", { play: "slow" });
      rig.ask("stream", { play: "slow", form: "stream" });
    },
  },
  {
    name: "the client reads nothing for 2 s",
    limitMs: 10_000,
    by: "nothing ends: all waits for the client",
    tier: "full",
    async run(rig) {
      const paused = [rig.ask("answer"), rig.ask("stream", { form: "stream" })];
      const live = rig.ask("stream", { play: "ticks", form: "stream" });
      for (const one of [...paused, live]) {
        await one.head;
        one.incoming()?.pause();
      }
      await pause(2_000); // the length of the pause is the point
      for (const one of [...paused, live]) one.incoming()?.resume();
      rig.release();
    },
  },
  {
    name: "the client sends its request in small pieces",
    limitMs: 10_000,
    by: "nothing ends: all goes on",
    tier: "full",
    async run(rig) {
      const slow = rig.ask("large", { send: "half" });
      for (const byte of slow.body.subarray(slow.body.length / 2)) {
        slow.outgoing.write(Uint8Array.of(byte));
        await pause(5); // each byte is a packet, and a message
      }
      slow.outgoing.end();
    },
  },
  {
    name: "the client stops in the middle of its request",
    limitMs: (IDLE_SECONDS + 2) * 1_000,
    by: `\`request_timeout\` (here ${IDLE_SECONDS} s)`,
    tier: "full",
    stack: { edit: shortTimers },
    async run(rig) {
      rig.ask("upload", { send: "half" });
    },
  },
  {
    name: "the provider never answers, or stops in the middle",
    limitMs: (IDLE_SECONDS + 2) * 1_000,
    by: `the route's \`idle_timeout\` (here ${IDLE_SECONDS} s)`,
    tier: "full",
    stack: { edit: shortTimers },
    async run(rig) {
      rig.ask("thinking", { play: "held" });
      rig.ask("answer", { play: "half" });
      rig.ask("stream", { play: "half", form: "stream" });
    },
  },
  ...(["reset", "closed"] as const).map(
    (play): Fault => ({
      name: `the provider's connection is ${play} in the middle of its answer`,
      limitMs: 2_000,
      by: "Envoy, when the connection ends",
      tier: "core",
      // The headers may have left by then, or not.
      either: {
        stream: {
          client: "200, then cut; 502",
          upstream: "asked, then left",
          record: "allow, then allowed, broken off",
        },
      },
      async run(rig) {
        rig.ask("answer", { play });
        rig.ask("stream", { play, form: "stream" });
      },
    }),
  ),
  {
    name: "the client goes away",
    limitMs: 2_000,
    by: "Envoy, when the connection ends",
    tier: "core",
    async run(rig) {
      await rig.askEveryPhase();
      rig.strike();
      rig.leaveAll();
    },
  },
  {
    name: "the client closes its half of the connection",
    limitMs: 5_000,
    by: "Envoy, when the connection ends",
    tier: "sample",
    async run(rig) {
      const answer = rig.ask("answer", { play: "half" });
      const stream = rig.ask("stream", { play: "ticks", form: "stream" });
      await rig.untilAsked(answer.name);
      await rig.untilReceived(stream, 500);
      rig.strike();
      for (const { outgoing } of [answer, stream]) outgoing.socket?.end();
      await pause(500); // Envoy has seen it
      rig.release();
    },
  },
  {
    name: `${FLOOD} exchanges on one connection of Envoy`,
    profiles: ["envoy"],
    limitMs: 240_000,
    by: "nothing ends: Limen takes no reset for an attack",
    tier: "full",
    async run(rig) {
      const stream = rig.ask("stream", { play: "ticks", form: "stream" });
      await rig.untilReceived(stream, 500);
      const ended = (): Promise<number> =>
        rig.stack.envoy.stat("cluster.limen-limen.upstream_cx_destroy");
      const before = await ended();
      await flood(rig);
      assert.equal(await ended(), before, "Limen closed its connection");
      rig.release();
    },
  },
  {
    name: "bytes that are no HTTP, on the clients' and on Limen's side",
    limitMs: 5_000,
    by: "Envoy and Limen, at once",
    tier: "full",
    stack: { listen: "tcp" },
    async run(rig) {
      const stream = rig.ask("stream", { play: "ticks", form: "stream" });
      await rig.untilReceived(stream, 500);
      const { endpoint } = rig.stack.limen;
      assert.ok("port" in endpoint);
      for (const port of [Number(new URL(rig.stack.url).port), endpoint.port]) {
        const closed = Promise.withResolvers<void>();
        const socket = connect(port, "127.0.0.1").on("close", () => closed.resolve());
        socket.on("error", () => {}); // a reset is an answer
        socket.end(Buffer.alloc(4096, "\u0000\u0001PRI"));
        socket.resume();
        await closed.promise;
      }
      rig.ask("during");
      rig.release();
    },
  },
];

/** Short exchanges over a few connections that are kept, past the rig's own client: it is the number that counts. */
async function flood(rig: Rig): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const body = JSON.stringify({ model: "during", messages: [{ role: "user", content: "hello" }] });
  let left = FLOOD;
  const client = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      const outgoing = request(`${rig.stack.url}/v1/chat/completions`, {
        method: "POST",
        agent,
        headers: {
          "content-type": "application/json",
          "content-length": body.length,
          "x-exchange": `flood-${left}`,
          "x-play": "body=1000",
        },
      });
      outgoing.end(body);
      const [incoming] = await once(outgoing, "response");
      incoming.resume();
      await once(incoming, "end");
      assert.equal(incoming.statusCode, 200);
    }
  };
  await Promise.all(Array.from({ length: 4 }, client));
  agent.destroy();
}
