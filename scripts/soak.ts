/**
 * Mixed load for a long time: JSON and streams, refusals, clients that leave, a provider that breaks off, policies
 * that change, two processes of Limen restarted one after the other. Prints a line each half minute and ends with 1
 * when memory grows over the second half, when any exchange ends otherwise than its kind does, or when a log does
 * not verify.
 */
import {
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Exchange, open, type Seen, seenWithin } from "../test/faults/client.ts";
import { checkMetrics, exchangesOf, untilSettled, verify } from "../test/faults/evidence.ts";
import { startUpstream, type Upstream } from "../test/faults/upstream.ts";
import type { Limen } from "../test/real/limen.ts";
import { until } from "../test/real/process.ts";
import { API_KEY, CARD } from "../test/real/scenarios.ts";
import { type Stack, startStack } from "../test/real/stack.ts";

const POLICY = fileURLToPath(new URL("../test/faults/policy.yaml", import.meta.url));
const CLIENTS = 6;
/** Between two exchanges of one client: the machine is not full, so that nothing is late for want of it. */
const PACE_MS = 25;
const SAMPLE_MS = 30_000;
const RELOAD_MS = 20_000;
const EXCHANGE_LIMIT_MS = 15_000;
const DRAIN_SECONDS = 15;
/** Of the mean, over the second half. */
const MAX_GROWTH = 0.1;

/** What a client asks, and how that must end, in the words of `endOf`. */
const KINDS = [
  { name: "JSON", play: "prompt", form: "json", text: "hello", end: "200" },
  { name: "stream", play: "prompt", form: "stream", text: "hello", end: "200" },
  {
    name: "refused",
    play: "prompt",
    form: "json",
    text: `Use ${API_KEY}`,
    end: "403 secret_detected",
  },
  { name: "slow stream", play: "slow", form: "stream", text: "hello", end: "200" },
  { name: "client leaves", play: "ticks", form: "stream", text: "hello", end: "200, cut" },
  { name: "provider breaks off", play: "reset", form: "json", text: "hello", end: "502" },
] as const;
type Kind = (typeof KINDS)[number];

type Sample = {
  readonly seconds: number;
  readonly rss: readonly number[];
  readonly heap: readonly number[];
};

class Soak {
  readonly #stack: Stack;
  readonly #upstream: Upstream;
  readonly #policy: string;
  /** Ids of decisions that clients were told. */
  readonly #told = new Set<string>();
  readonly #counts = new Map<string, number>();
  readonly #failures: string[] = [];
  readonly #samples: Sample[] = [];
  readonly #started = performance.now();
  #isOver = false;
  #restarting = false;
  #asked = 0;

  constructor(stack: Stack, upstream: Upstream, policy: string) {
    this.#stack = stack;
    this.#upstream = upstream;
    this.#policy = policy;
  }

  async run(minutes: number): Promise<readonly string[]> {
    const clients = Array.from({ length: CLIENTS }, (_, i) => this.#client(i));
    try {
      await Promise.all([
        ...clients,
        this.#every(SAMPLE_MS, () => this.#sample()),
        this.#every(RELOAD_MS, (turn) => this.#reload(turn)),
        this.#restartAll(), // in the first half: what grows is looked for in the second
        pause(minutes * 60_000).then(() => {
          this.#isOver = true;
        }),
      ]);
    } finally {
      this.#isOver = true;
    }
    await this.#checkEvidence();
    this.#checkGrowth();
    return this.#failures;
  }

  async #every(ms: number, act: (turn: number) => Promise<void>): Promise<void> {
    for (let turn = 1; !this.#isOver; turn += 1) {
      const next = this.#started + turn * ms;
      while (!this.#isOver && performance.now() < next) await pause(200);
      if (!this.#isOver) await act(turn);
    }
  }

  async #client(first: number): Promise<void> {
    for (let turn = first; !this.#isOver; turn += 1) {
      const kind = KINDS[turn % KINDS.length] ?? KINDS[0];
      const end = await this.#exchange(kind);
      this.#counts.set(kind.name, (this.#counts.get(kind.name) ?? 0) + 1);
      if (end !== kind.end) this.#failures.push(`${kind.name} ended as ${end}`);
      await pause(PACE_MS);
    }
  }

  async #exchange({ play, form, text }: Kind): Promise<string> {
    this.#asked += 1;
    const role = "during";
    // Nothing is asked twice, so that detectors read it.
    const messages = [{ role: "user", content: `${text} ${this.#asked}` }];
    const body = Buffer.from(JSON.stringify({ model: role, stream: form === "stream", messages }));
    const exchange = open({ role, name: `soak-${this.#asked}`, body, play, url: this.#stack.url });
    if (play === "ticks") {
      await exchange.head; // and what has arrived with it
      exchange.outgoing.destroy();
    }
    const seen = await seenWithin(exchange, EXCHANGE_LIMIT_MS);
    const end = seen === undefined ? "hung" : this.#endOf(exchange, seen);
    this.#upstream.forget(exchange.name);
    return end;
  }

  #endOf({ name }: Exchange, { status, id, code, body, end }: Seen): string {
    if (id !== undefined) this.#told.add(id);
    if (body.includes(CARD)) return "a card number in clear";
    if (status === 200 && id === undefined) return "an answer without a decision";
    if (status === 403 && this.#upstream.told(name) !== undefined) return "refused, and passed on";
    return `${status}${code === undefined ? "" : ` ${code}`}${end === "cut" ? ", cut" : ""}`;
  }

  /** A policy that says the same in other words, by file and by signal in turn. */
  async #reload(turn: number): Promise<void> {
    const next = `${this.#policy}.next`;
    const name = turn % 2 === 0 ? "faults" : "faults-again";
    writeFileSync(next, readFileSync(POLICY, "utf8").replace("name: faults", `name: ${name}`));
    renameSync(next, this.#policy);
    if (turn % 4 === 0) for (const limen of this.#stack.limens) limen.signal("SIGHUP");
  }

  async #restartAll(): Promise<void> {
    this.#restarting = true;
    for (const limen of this.#stack.limens) {
      await pause(5_000); // under load
      limen.signal("SIGTERM");
      const code = await limen.exited();
      if (code !== 0) this.#failures.push(`a drained process ended with ${code}`);
      await limen.start();
      await until(15_000, "Envoy to find both", async () => {
        const healthy = await this.#stack.envoy.stat("cluster.limen-limen.membership_healthy");
        return healthy === 2 || undefined;
      });
    }
    this.#restarting = false;
  }

  async #sample(): Promise<void> {
    if (this.#restarting) return;
    const { limens, envoy } = this.#stack;
    const heap = await Promise.all(limens.map(heapOf));
    const rss = limens.map((limen) => rssOf(limen.pid()));
    const seconds = Math.round((performance.now() - this.#started) / 1_000);
    this.#samples.push({ seconds, rss, heap });
    const cells = [seconds, this.#asked, ...rss.map(mib), ...heap.map(mib), mib(rssOf(envoy.pid))];
    console.log(row([...cells, this.#failures.length]));
  }

  async #checkEvidence(): Promise<void> {
    const recorded = new Set<string>();
    for (const limen of this.#stack.limens) {
      await untilSettled(limen);
      await checkMetrics(limen);
      for (const { id } of exchangesOf(limen.auditDir)) recorded.add(id);
      if (!/^limen_policy_reload_failed 0$/m.test(await limen.admin("/metrics"))) {
        this.#failures.push("a policy was not taken");
      }
    }
    const lost = [...this.#told].filter((id) => !recorded.has(id)).length;
    if (lost > 0) this.#failures.push(`${lost} decisions that clients were told are in no log`);
    for (const [name, count] of this.#counts) console.log(`${name}: ${count}`);
    console.log(`recorded: ${recorded.size} exchanges`);
  }

  #checkGrowth(): void {
    const half = this.#samples.slice(Math.floor(this.#samples.length / 2));
    for (const i of this.#stack.limens.keys()) {
      const growth = growthOf(half.map(({ seconds, rss }) => [seconds, rss[i] ?? 0]));
      console.log(
        `process ${i + 1}: ${(growth * 100).toFixed(1)} % of its memory over the second half`,
      );
      if (growth > MAX_GROWTH) this.#failures.push(`the memory of process ${i + 1} grows`);
    }
  }
}

/** What a straight line through the points gains from the first to the last, in parts of their mean. */
function growthOf(points: readonly (readonly [number, number])[]): number {
  const mean = (of: (point: readonly [number, number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [x, y] = [mean(([at]) => at), mean(([, value]) => value)];
  const slope = mean(([at, value]) => (at - x) * (value - y)) / mean(([at]) => (at - x) ** 2);
  const [first, last] = [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 0];
  return points.length < 3 ? 0 : (slope * (last - first)) / y;
}

const rssOf = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1_024;

const heapOf = async (limen: Limen): Promise<number> =>
  Number(/^nodejs_heap_size_used_bytes (\S+)$/m.exec(await limen.admin("/metrics"))?.[1]);

const mib = (bytes: number): string => (bytes / 1_048_576).toFixed(0);
const row = (cells: readonly (string | number)[]): string =>
  cells.map((cell) => String(cell).padStart(10)).join("");

function minutesOf([flag, value, ...rest]: readonly string[]): number {
  if (flag === undefined) return 30;
  const minutes = Number(value);
  if (flag === "--minutes" && minutes >= 1 && rest.length === 0) return minutes;
  console.error("usage: scripts/soak [--minutes N]   (1 or more)");
  process.exit(2);
}

async function main(): Promise<number> {
  const minutes = minutesOf(process.argv.slice(2));
  const dir = mkdtempSync(join(tmpdir(), "limen-soak-"));
  const policy = join(dir, "policy.yaml");
  copyFileSync(POLICY, policy);
  const upstream = await startUpstream();
  const shape = { processes: 2, listen: "tcp", drainSeconds: DRAIN_SECONDS } as const;
  const stack = await startStack({ ...shape, policy, modelPort: upstream.port });
  try {
    const processes = ["rss 1", "rss 2", "heap 1", "heap 2", "envoy"];
    console.log(row(["seconds", "asked", ...processes, "failures"]));
    const failures = await new Soak(stack, upstream, policy).run(minutes);
    for (const limen of stack.limens) {
      await limen.stop();
      verify(limen);
    }
    for (const failure of failures.slice(0, 20)) console.log(`FAILED: ${failure}`);
    console.log(`${failures.length} failures; both logs verify`);
    return failures.length === 0 ? 0 : 1;
  } finally {
    await stack.close();
    await upstream.close();
    rmSync(dir, { recursive: true });
  }
}

process.exitCode = await main();
