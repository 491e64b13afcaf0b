/**
 * What a client was told is in the log, whatever happens to the process; and nothing is told before it is on disk.
 * `LIMEN_KILL_ROUNDS=50` for the long run.
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { Agent, type IncomingMessage, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { envoyBinary } from "../real/envoy.ts";
import { LIMEN } from "../real/limen.ts";
import { MODEL } from "../real/sdk.ts";
import { type Stack, startStack, untilServing } from "../real/stack.ts";

const ROUNDS = Number(process.env["LIMEN_KILL_ROUNDS"] ?? 4);
const CLIENTS = 8;
const ask = (content: string): string =>
  JSON.stringify({ model: MODEL, messages: [{ role: "user", content }] });
const CLEAN = ask("Good morning");
const MALFORMED = CLEAN.slice(0, -1);

type Told = { readonly status: number; readonly id: string | undefined };

/** One request; undefined when the connection broke. */
async function post(url: string, agent: Agent, body: string): Promise<Told | undefined> {
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const outgoing = request(`${url}/v1/chat/completions`, { method: "POST", agent, headers });
  outgoing.end(body);
  try {
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    incoming.resume();
    await once(incoming, "close");
    const id = incoming.headers["x-limen-decision-id"];
    return { status: incoming.statusCode ?? 0, id: typeof id === "string" ? id : undefined };
  } catch {
    return undefined;
  }
}

/** The ids of all decisions in a log's bundles; they stand in the entries as they are. */
function decisionsIn(auditDir: string): ReadonlySet<string> {
  const ids = new Set<string>();
  const files = readdirSync(join(auditDir, "tile", "entries"), {
    recursive: true,
    withFileTypes: true,
  });
  for (const file of files.filter((one) => one.isFile())) {
    const text = readFileSync(join(file.parentPath, file.name), "latin1");
    for (const [, id] of text.matchAll(/"id":"([0-9a-f-]{36})"/g)) if (id) ids.add(id);
  }
  return ids;
}

describe(`evidence over ${ROUNDS} kills under load`, function () {
  this.timeout(60_000 + ROUNDS * 20_000);
  let stack: Stack;
  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    stack = await startStack();
  });
  after(async () => {
    await stack?.close();
  });

  it("holds every decision id that a client ever got, and verifies", async () => {
    const told = new Set<string>();
    let answered = 0;
    for (let round = 0; round < ROUNDS; round += 1) {
      const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS });
      let isOver = false;
      const client = async (body: string): Promise<void> => {
        while (!isOver) {
          const one = await post(stack.url, agent, body);
          stack.model.received.length = 0;
          if (one?.id !== undefined) told.add(one.id);
          if (one?.status === 200 || one?.status === 400) answered += 1;
          if (one === undefined || one.status === 503) return; // Limen is gone
        }
      };
      const clients = Array.from({ length: CLIENTS }, (_, i) => client(i % 4 ? CLEAN : MALFORMED));
      const enough = answered + 150 + round * 37; // each kill comes at another point
      while (answered < enough) await post(stack.url, agent, CLEAN).then(() => (answered += 1));
      await stack.limen.kill();
      isOver = true;
      await Promise.all(clients);
      agent.destroy();
      await stack.limen.start();
      await untilServing(stack.url);
    }
    await stack.limen.stop();
    const recorded = decisionsIn(stack.limen.auditDir);
    const lost = [...told].filter((id) => !recorded.has(id));
    assert.deepEqual(lost, []);
    assert.ok(told.size > ROUNDS * 100, `${told.size} ids`);
    const { auditKey, auditDir } = stack.limen;
    const verified = spawnSync(LIMEN, ["audit", "verify", "--key", auditKey, auditDir]);
    assert.equal(verified.status, 0, String(verified.stderr));
    await stack.limen.start(); // so that closing finds it running
  });
});

describe("system calls of the service", function () {
  this.timeout(60_000);
  let dir: string;
  before(function () {
    const { status } = spawnSync("strace", ["-V"]);
    if (status !== 0 || envoyBinary() === undefined) this.skip();
    dir = mkdtempSync(join(tmpdir(), "limen-strace-"));
  });
  after(() => {
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });

  it("write and sync the record before the answer leaves, twice per exchange", async () => {
    const stack = await startStack();
    try {
      const trace = join(dir, "trace");
      const calls = "trace=write,writev,pwrite64,fdatasync,sendmsg";
      const pid = String(stack.limen.pid());
      const tracer = spawn("strace", ["-f", "-s", "4000", "-e", calls, "-o", trace, "-p", pid], {
        stdio: ["ignore", "ignore", "pipe"],
      });
      assert.ok(tracer.stderr);
      await once(tracer.stderr, "data"); // attached
      const agent = new Agent();
      const told = await post(stack.url, agent, CLEAN);
      agent.destroy();
      const ended = once(tracer, "exit");
      tracer.kill("SIGINT");
      await ended;
      assert.equal(told?.status, 200);
      const lines = readFileSync(trace, "utf8").split("\n");
      const at = (needle: RegExp, from: number): number => {
        const found = lines.findIndex((line, i) => i >= from && needle.test(line));
        assert.ok(found >= 0, `no ${needle} after line ${from} of the trace`);
        return found;
      };
      // The record in the log, its sync done, then the reply to Envoy that carries the id.
      const decision = at(/write.*request\.decision/, 0);
      const decisionDurable = at(/fdatasync.*= 0|fdatasync resumed.*= 0/, decision);
      const outcome = at(/write.*response\.outcome/, decisionDurable);
      const outcomeDurable = at(/fdatasync.*= 0|fdatasync resumed.*= 0/, outcome);
      const answers = lines.flatMap((line, i) =>
        /^\d+ +(write|writev|sendmsg)\(/.test(line) &&
        !/request\.decision|response\.outcome/.test(line)
          ? [i]
          : [],
      );
      const between = answers.filter((i) => i > decision && i < decisionDurable);
      assert.deepEqual(
        between.map((i) => lines[i]).filter((line) => /x-limen|HTTP/.test(line ?? "")),
        [],
      );
      assert.ok(
        answers.some((i) => i > decisionDurable && i < outcome),
        "the request is answered",
      );
      assert.ok(
        answers.some((i) => i > outcomeDurable),
        "the response is answered",
      );
    } finally {
      await stack.close();
    }
  });
});
