/**
 * What Limen adds to an exchange. One Envoy, one upstream, one client, three listeners with the shipped
 * configuration: without a filter, with the least possible filter (bench-passthrough.ts), with Limen and
 * a strict audit log. All take turns within each round, so that a busy machine is busy for all of them;
 * the first one runs twice per round, and how far it differs from itself is the noise.
 *
 * A strict exchange waits for two writes to be durable. That wait belongs to the disk, so the median
 * fdatasync of the same disk in the same rounds is measured too and taken off, twice.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  closeSync,
  fdatasyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { Agent, type IncomingMessage, request } from "node:http";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { stopProcess } from "../test/real/process.ts";
import { type Stack, startStack } from "../test/real/stack.ts";

const VARIANTS = ["plain", "floor", "limen"] as const;
type Variant = (typeof VARIANTS)[number];
/** `again` is `plain` a second time: A against A. */
type Turn = Variant | "again";
const TURNS: readonly Turn[] = ["plain", "floor", "limen", "again"];

const LOADS = [
  { form: "json", concurrency: 1, exchanges: 400 },
  { form: "json", concurrency: 8, exchanges: 1600 },
  { form: "stream", concurrency: 1, exchanges: 120 },
] as const;
type Form = (typeof LOADS)[number]["form"];
type Load = { readonly form: Form; readonly concurrency: number; readonly exchanges: number };
/** Events of a streamed answer. */
const EVENTS = 340;
const TITLES: Readonly<Record<Form, string>> = {
  json: "4 KB chat up, 2 KB JSON down",
  stream: `4 KB chat up, ${EVENTS} events down, as fast as they come`,
};
const SYNCS_PER_ROUND = 40;
/** Exchanges before anything is counted: until then the compilers are what costs. */
const WARM_UP = { form: "json", concurrency: 8, exchanges: 4800 } as const;

/** A chat of four kilobytes, of which the last message is new. */
const TURN =
  "The keeper wants to know how much water one lift takes when two barges share the chamber. ";
const bodyOf = (form: Form): string =>
  JSON.stringify({
    model: "demo-1",
    stream: form === "stream",
    messages: [
      { role: "system", content: "You answer questions about canals in plain words." },
      { role: "user", content: TURN.repeat(20) },
      { role: "assistant", content: TURN.repeat(18) },
      { role: "user", content: TURN.repeat(4) },
    ],
  });
const BODIES: Readonly<Record<Form, string>> = { json: bodyOf("json"), stream: bodyOf("stream") };

/** Milliseconds to the first byte of the body, and to its last. */
type Took = { readonly first: number; readonly last: number };
type Sample = { readonly p50: number; readonly p99: number; readonly first: number };
type Round = Record<Turn, Sample & { readonly cpuUs: number }> & { readonly syncMs: number };

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
const ascending = (values: readonly number[]): readonly number[] =>
  values.toSorted((a, b) => a - b);
const median = (values: readonly number[]): number => at(ascending(values), 0.5);

/** One exchange on a kept connection. */
async function exchange(url: string, agent: Agent, form: Form): Promise<Took> {
  const body = BODIES[form];
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
  let first: number | undefined;
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    first ??= performance.now() - start;
    chunks.push(chunk);
  }
  const last = performance.now() - start;
  const answer = Buffer.concat(chunks);
  assert.equal(incoming.statusCode, 200, `${incoming.statusCode} ${answer}`);
  assert.ok(answer.length > 2_000 && first !== undefined);
  return { first, last };
}

/** `exchanges` of them, `concurrency` at a time; each waits for its own before the next. */
async function load(url: string, kind: Load): Promise<Sample> {
  const { form, exchanges, concurrency } = kind;
  const agent = new Agent({ keepAlive: true, maxSockets: concurrency });
  const took: Took[] = [];
  const client = async (): Promise<void> => {
    for (let i = 0; i < exchanges / concurrency; i += 1) {
      took.push(await exchange(url, agent, form));
    }
  };
  await Promise.all(Array.from({ length: concurrency }, client));
  agent.destroy();
  const last = ascending(took.map((one) => one.last));
  return { p50: at(last, 0.5), p99: at(last, 0.99), first: median(took.map((one) => one.first)) };
}

/** CPU time of a process in microseconds, all threads. The ticks of /proc/PID/stat are too coarse for a round. */
function cpuUs(pid: number): number {
  const threads = `/proc/${pid}/task`;
  const times = readdirSync(threads).map((thread) =>
    Number.parseInt(readFileSync(join(threads, thread, "schedstat"), "utf8"), 10),
  );
  return times.reduce((sum, ns) => sum + ns, 0) / 1000;
}

/** Resident memory in MiB. */
const rssMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

/** Times of appending one record's bytes to a file of its own and making them durable. */
function syncTimes(dir: string): readonly number[] {
  const file = openSync(join(dir, "sync-probe"), "a");
  const record = Buffer.alloc(700, "x");
  const times: number[] = [];
  for (let i = 0; i < SYNCS_PER_ROUND; i += 1) {
    const start = performance.now();
    writeSync(file, record);
    fdatasyncSync(file);
    times.push(performance.now() - start);
  }
  closeSync(file);
  return times;
}

type Bench = { readonly stack: Stack; readonly pids: Readonly<Record<Variant, number>> };

async function round(bench: Bench, turn: number, kind: (typeof LOADS)[number]): Promise<Round> {
  const { stack, pids } = bench;
  const results = new Map<Turn, Sample & { cpuUs: number }>();
  // Each round starts with another one: nobody always follows the same neighbour.
  for (let i = 0; i < TURNS.length; i += 1) {
    const name = TURNS[(turn + i) % TURNS.length] ?? "plain";
    const variant = name === "again" ? "plain" : name;
    const before = cpuUs(pids[variant]);
    const sample = await load(stack.envoy.url(variant), kind);
    const spent = (cpuUs(pids[variant]) - before) / kind.exchanges;
    results.set(name, { ...sample, cpuUs: spent });
  }
  const syncMs = median(syncTimes(stack.dir));
  return { ...(Object.fromEntries(results) as Omit<Round, "syncMs">), syncMs };
}

function summarise(rounds: readonly Round[]) {
  const of = (turn: Turn, key: "p50" | "p99" | "first" | "cpuUs"): number =>
    median(rounds.map((one) => one[turn][key]));
  const syncMs = median(rounds.map((one) => one.syncMs));
  const added = median(rounds.map((one) => one.limen.p50 - one.floor.p50));
  return {
    p50Ms: { plain: of("plain", "p50"), floor: of("floor", "p50"), limen: of("limen", "p50") },
    p99Ms: { plain: of("plain", "p99"), floor: of("floor", "p99"), limen: of("limen", "p99") },
    firstByteMs: {
      plain: of("plain", "first"),
      floor: of("floor", "first"),
      limen: of("limen", "first"),
    },
    floorOverPlainP50Ms: median(rounds.map((one) => one.floor.p50 - one.plain.p50)),
    limenOverFloorP50Ms: added,
    limenOverFloorP99Ms: median(rounds.map((one) => one.limen.p99 - one.floor.p99)),
    fdatasyncMs: syncMs,
    limenOverFloorWithoutTwoSyncsP50Ms: added - 2 * syncMs,
    cpuUsPerExchange: { floor: of("floor", "cpuUs"), limen: of("limen", "cpuUs") },
    cpuLimenOverFloor: median(rounds.map((one) => one.limen.cpuUs / one.floor.cpuUs)),
    noiseP50Ms: median(rounds.map((one) => Math.abs(one.plain.p50 - one.again.p50))),
  };
}
type Summary = ReturnType<typeof summarise>;

function print(kind: (typeof LOADS)[number], summary: Summary): void {
  const ms = (value: number): string => `${value.toFixed(2)} ms`;
  const rows: readonly (readonly [string, string])[] = [
    ["no filter           p50 / p99", `${ms(summary.p50Ms.plain)} / ${ms(summary.p99Ms.plain)}`],
    ["pass-through        p50 / p99", `${ms(summary.p50Ms.floor)} / ${ms(summary.p99Ms.floor)}`],
    ["Limen               p50 / p99", `${ms(summary.p50Ms.limen)} / ${ms(summary.p99Ms.limen)}`],
    [
      "first byte, p50: no filter / pass-through / Limen",
      `${ms(summary.firstByteMs.plain)} / ${ms(summary.firstByteMs.floor)} / ${ms(summary.firstByteMs.limen)}`,
    ],
    ["pass-through over no filter, p50", ms(summary.floorOverPlainP50Ms)],
    [
      "Limen over pass-through, p50 / p99",
      `${ms(summary.limenOverFloorP50Ms)} / ${ms(summary.limenOverFloorP99Ms)}`,
    ],
    ["fdatasync of this disk, median", ms(summary.fdatasyncMs)],
    [
      "Limen over pass-through without two of them, p50",
      ms(summary.limenOverFloorWithoutTwoSyncsP50Ms),
    ],
    ["CPU per exchange, pass-through", `${summary.cpuUsPerExchange.floor.toFixed(0)} us`],
    ["CPU per exchange, Limen", `${summary.cpuUsPerExchange.limen.toFixed(0)} us`],
    ["CPU, Limen / pass-through", `${summary.cpuLimenOverFloor.toFixed(2)} x`],
    ...(kind.form === "stream" ? [perEvent(summary)] : []),
    ["noise: no filter against itself, p50", ms(summary.noiseP50Ms)],
  ];
  console.log(`\n${TITLES[kind.form]}, ${kind.concurrency} at a time`);
  for (const [name, value] of rows) console.log(`  ${name.padEnd(50)} ${value}`);
}

function perEvent({ cpuUsPerExchange: cpu }: Summary): readonly [string, string] {
  return ["CPU per event over pass-through", `${((cpu.limen - cpu.floor) / EVENTS).toFixed(1)} us`];
}

/** One line that overwrites itself, for people only. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

/** The pass-through filter in a process of its own, as Limen is. */
async function startFloor(socket: string): Promise<ReturnType<typeof spawn>> {
  const script = fileURLToPath(new URL("./bench-passthrough.ts", import.meta.url));
  const child = spawn(process.execPath, [script, `unix:${socket}`], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  assert.ok(child.stdout);
  await once(child.stdout, "data"); // "ready"
  return child;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "7" },
      json: { type: "string", default: ".cache/bench.json" },
    },
  });
  const rounds = Number(values.rounds);
  assert.ok(Number.isInteger(rounds) && rounds >= 1, "--rounds takes a number of at least 1");
  const dir = mkdtempSync(join(tmpdir(), "limen-floor-"));
  const floor = await startFloor(join(dir, "floor.sock"));
  const stack = await startStack({ listeners: { floor: { path: join(dir, "floor.sock") } } });
  try {
    const pids = { plain: stack.envoy.pid, floor: floor.pid ?? 0, limen: stack.limen.pid() };
    const bench = { stack, pids };
    // Compilers and caches warm up before anything is counted.
    for (const variant of VARIANTS) {
      await load(stack.envoy.url(variant), WARM_UP);
      for (const kind of LOADS) await load(stack.envoy.url(variant), kind);
    }
    const rssBefore = rssMiB(pids.limen);
    const loads = [];
    for (const kind of LOADS) {
      const done: Round[] = [];
      for (let i = 0; i < rounds; i += 1) {
        progress(`${TITLES[kind.form]}: round ${i + 1} of ${rounds}`);
        done.push(await round(bench, i, kind));
        stack.model.received.length = 0;
      }
      progress("");
      const summary = summarise(done);
      print(kind, summary);
      loads.push({ ...kind, ...summary, rounds: done });
    }
    const exchanges = rounds * LOADS.reduce((sum, { exchanges: count }) => sum + count, 0);
    const rss = {
      exchanges,
      beforeMiB: rssBefore,
      afterMiB: rssMiB(pids.limen),
      floorMiB: rssMiB(pids.floor),
    };
    console.log(
      `\nmemory of Limen: ${rss.beforeMiB.toFixed(0)} MiB, after ${exchanges} exchanges ${rss.afterMiB.toFixed(0)} MiB` +
        ` (pass-through ${rss.floorMiB.toFixed(0)} MiB)`,
    );
    mkdirSync(dirname(values.json), { recursive: true });
    const machine = { cpus: cpus().length, node: process.version };
    writeFileSync(values.json, `${JSON.stringify({ machine, loads, rss }, null, 2)}\n`);
    console.log(`all rounds: ${values.json}`);
  } finally {
    await stack.close();
    await stopProcess(floor);
    rmSync(dir, { recursive: true });
  }
}

await main();
