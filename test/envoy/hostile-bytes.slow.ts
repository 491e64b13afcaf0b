/**
 * Hostile bytes on the gRPC port, for LIMEN_FUZZ_SECONDS (20 by default), by the seed in LIMEN_FUZZ_SEED or a new one:
 * after every attack the server answers a good exchange in time, nothing hostile was decided as allowed, memory
 * stays where it was, and the process lives.
 */
import assert from "node:assert/strict";
import { type ChildProcess, fork } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { stopProcess } from "../real/process.ts";
import type { Condition } from "./hostile-child.ts";
import { ATTACKS, attack } from "./simulator/attacks.ts";
import { EnvoyConnection } from "./simulator/connection.ts";
import { bodyMessage, headersMessage } from "./simulator/messages.ts";
import { ANSWER_JSON, answerHead, BUFFERED, CHAT_HEADERS, prompt } from "./simulator/phrases.ts";
import { Random } from "./simulator/random.ts";

const SECONDS = Number(process.env["LIMEN_FUZZ_SECONDS"] ?? 20);
const SEED = Number(process.env["LIMEN_FUZZ_SEED"] ?? randomInt(2 ** 31));
const CHILD = fileURLToPath(new URL("hostile-child.ts", import.meta.url));
/** Connections of one attack at a time. */
const AT_A_TIME = 8;
const PROBE_LIMIT_MS = 5_000;
const HEAP_LIMIT_BYTES = 48 << 20;
/** V8 keeps pages that a flood of 40,000 streams once took: each attack alone comes to rest at 120 to 410 MiB. */
const RSS_LIMIT_BYTES = 768 << 20;

const probeHead = headersMessage("request", CHAT_HEADERS, {
  attributes: { "xds.route_name": "probe" },
  modes: BUFFERED,
});

describe(`hostile bytes (seed ${SEED})`, function () {
  this.timeout((SECONDS + 120) * 1_000);
  let child: ChildProcess;
  let address: string;
  let probes = 0;

  /** Rejects when the server ends before the test does. */
  let ended: Promise<never>;
  const heard = async <T>(): Promise<T> => {
    const [said] = (await Promise.race([once(child, "message"), ended])) as [T];
    return said;
  };
  const condition = async (): Promise<Condition> => {
    child.send("how are you?");
    return heard<Condition>();
  };
  /** A whole good exchange on a connection of its own, in time. */
  const probe = async (after: string): Promise<void> => {
    const began = performance.now();
    const connection = await EnvoyConnection.open(address);
    const stream = connection.open();
    // What waits hears that the connection is gone.
    const late = setTimeout(() => connection.close(), PROBE_LIMIT_MS);
    for (const message of [
      probeHead,
      prompt,
      answerHead(),
      bodyMessage("response", ANSWER_JSON, true),
    ]) {
      await stream.send(message);
      assert.equal((await stream.next()).kind, "message", `no answer after ${after}`);
    }
    stream.halfCloseAndReset();
    probes += 1;
    await connection.end();
    clearTimeout(late);
    const tookMs = performance.now() - began;
    assert.ok(tookMs < PROBE_LIMIT_MS, `${Math.round(tookMs)} ms after ${after}`);
  };

  before(async () => {
    child = fork(CHILD, [], { execArgv: ["--expose-gc"] });
    ended = new Promise((_, reject) => {
      child.once("exit", (code) => reject(new Error(`the server ended (${code})`)));
    });
    ended.catch(() => undefined); // at the end of the test it does
    address = await heard<string>();
  });
  after(async () => {
    await stopProcess(child);
  });

  it("neither stop the server, nor swell it, nor pass", async () => {
    const random = new Random(SEED);
    const names = Object.keys(ATTACKS);
    const round = async (name: string): Promise<void> => {
      const bytes = Array.from({ length: AT_A_TIME }, () => ATTACKS[name]?.(random) ?? []);
      await Promise.all(bytes.map((one) => attack(address, one)));
      await probe(name);
      const { rssBytes } = await condition(); // it also forgets its records, which are the test's and not the server's
      assert.ok(rssBytes < RSS_LIMIT_BYTES, `${rssBytes} bytes after ${name}`);
    };
    // Once round, so that what is compiled and cached by then is not taken for a leak.
    for (const name of names) await round(name);
    const before = await condition();
    let rounds = names.length;
    for (const end = performance.now() + SECONDS * 1_000; performance.now() < end; rounds += 1) {
      await round(random.pick(names));
    }
    const now = await condition();
    console.log(
      `      ${rounds} rounds, heap ${before.heapBytes >> 20} -> ${now.heapBytes >> 20} MiB, rss ${before.rssBytes >> 20} -> ${now.rssBytes >> 20} MiB, ${JSON.stringify(now.enforced)}`,
    );
    assert.equal(now.enforced.allowed, probes);
    assert.equal(now.enforced.mutated ?? 0, 0);
    assert.equal(now.enforced.not_inference ?? 0, 0);
    assert.ok((now.enforced.failed_closed ?? 0) > names.length, "hostile exchanges were decided");
    assert.ok(now.heapBytes - before.heapBytes < HEAP_LIMIT_BYTES);
    assert.equal(now.open, 0);
  });
});
