/**
 * What the filter costs: no filter, the least possible one, Limen by its rules alone. All take turns within each
 * round, so that a busy machine is busy for all of them; the first one runs twice per round, and how far it differs
 * from itself is the noise.
 *
 * A strict exchange waits for two writes to be durable. That wait belongs to the disk, so the median fdatasync of
 * the same disk in the same rounds is measured too and taken off, twice.
 */
import type { Stack } from "../../test/real/stack.ts";
import { load } from "./load.ts";
import { cpuUs, median, ms, print, progress, quantile, syncMs } from "./measure.ts";

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
type Load = (typeof LOADS)[number];
type Form = Load["form"];
/** Events of a streamed answer. */
const EVENTS = 340;
const TITLES: Readonly<Record<Form, string>> = {
  json: "4 KB chat up, 2 KB JSON down",
  stream: `4 KB chat up, ${EVENTS} events down, as fast as they come`,
};
/** Exchanges before anything is counted: until then the compilers are what costs. */
const WARM_UP = { form: "json", concurrency: 8, exchanges: 4800 } as const;

/** A chat of four kilobytes. */
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

type Sample = {
  readonly p50: number;
  readonly p99: number;
  readonly first: number;
  readonly cpuUs: number;
};
type Round = Record<Turn, Sample> & { readonly syncMs: number };

export type FilterBench = {
  readonly stack: Stack;
  readonly pids: Readonly<Record<Variant, number>>;
};

const ask = (
  { stack }: FilterBench,
  variant: Variant,
  { form, exchanges, concurrency }: Load | typeof WARM_UP,
) =>
  load(
    stack.envoy.url(variant),
    Array.from({ length: exchanges }, () => BODIES[form]),
    concurrency,
  );

async function sampleOf(bench: FilterBench, variant: Variant, kind: Load): Promise<Sample> {
  const pid = bench.pids[variant];
  const before = cpuUs(pid);
  const answers = await ask(bench, variant, kind);
  const last = answers.map(({ lastMs }) => lastMs);
  return {
    p50: quantile(last, 0.5),
    p99: quantile(last, 0.99),
    first: median(answers.map(({ firstMs }) => firstMs)),
    cpuUs: (cpuUs(pid) - before) / kind.exchanges,
  };
}

async function round(bench: FilterBench, turn: number, kind: Load): Promise<Round> {
  const results = new Map<Turn, Sample>();
  // Each round starts with another one: nobody always follows the same neighbour.
  for (let i = 0; i < TURNS.length; i += 1) {
    const name = TURNS[(turn + i) % TURNS.length] ?? "plain";
    results.set(name, await sampleOf(bench, name === "again" ? "plain" : name, kind));
  }
  bench.stack.model.received.length = 0;
  return {
    ...(Object.fromEntries(results) as Record<Turn, Sample>),
    syncMs: syncMs(bench.stack.dir),
  };
}

function summarise(rounds: readonly Round[]) {
  const of = (turn: Turn, key: keyof Sample): number => median(rounds.map((one) => one[turn][key]));
  const all = (key: keyof Sample) => ({
    plain: of("plain", key),
    floor: of("floor", key),
    limen: of("limen", key),
  });
  const sync = median(rounds.map((one) => one.syncMs));
  const added = median(rounds.map((one) => one.limen.p50 - one.floor.p50));
  return {
    p50Ms: all("p50"),
    p99Ms: all("p99"),
    firstByteMs: all("first"),
    floorOverPlainP50Ms: median(rounds.map((one) => one.floor.p50 - one.plain.p50)),
    limenOverFloorP50Ms: added,
    limenOverFloorP99Ms: median(rounds.map((one) => one.limen.p99 - one.floor.p99)),
    fdatasyncMs: sync,
    limenOverFloorWithoutTwoSyncsP50Ms: added - 2 * sync,
    cpuUsPerExchange: { floor: of("floor", "cpuUs"), limen: of("limen", "cpuUs") },
    cpuLimenOverFloor: median(rounds.map((one) => one.limen.cpuUs / one.floor.cpuUs)),
    noiseP50Ms: median(rounds.map((one) => Math.abs(one.plain.p50 - one.again.p50))),
  };
}
type Summary = ReturnType<typeof summarise>;

function show({ form, concurrency }: Load, summary: Summary): void {
  const { p50Ms, p99Ms, firstByteMs, cpuUsPerExchange } = summary;
  const perEventUs = (cpuUsPerExchange.limen - cpuUsPerExchange.floor) / EVENTS;
  const perEvent = [["CPU per event over pass-through", `${perEventUs.toFixed(1)} us`]] as const;
  print(`${TITLES[form]}, ${concurrency} at a time, rules alone`, [
    ["no filter           p50 / p99", `${ms(p50Ms.plain)} / ${ms(p99Ms.plain)}`],
    ["pass-through        p50 / p99", `${ms(p50Ms.floor)} / ${ms(p99Ms.floor)}`],
    ["Limen               p50 / p99", `${ms(p50Ms.limen)} / ${ms(p99Ms.limen)}`],
    [
      "first byte, p50: no filter / pass-through / Limen",
      `${ms(firstByteMs.plain)} / ${ms(firstByteMs.floor)} / ${ms(firstByteMs.limen)}`,
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
    ["CPU per exchange, pass-through", `${cpuUsPerExchange.floor.toFixed(0)} us`],
    ["CPU per exchange, Limen", `${cpuUsPerExchange.limen.toFixed(0)} us`],
    ["CPU, Limen / pass-through", `${summary.cpuLimenOverFloor.toFixed(2)} x`],
    ...(form === "stream" ? perEvent : []),
    ["noise: no filter against itself, p50", ms(summary.noiseP50Ms)],
  ]);
}

/** Compilers and caches warm up before anything is counted. */
export async function warmUp(bench: FilterBench): Promise<void> {
  for (const variant of VARIANTS) {
    await ask(bench, variant, WARM_UP);
    for (const kind of LOADS) await ask(bench, variant, kind);
  }
}

/** Every load in `rounds` rounds; exchanges of each process are what `exchanges` says. */
export async function measureFilter(bench: FilterBench, rounds: number) {
  const loads = [];
  for (const kind of LOADS) {
    const done: Round[] = [];
    for (let i = 0; i < rounds; i += 1) {
      progress(`${TITLES[kind.form]}: round ${i + 1} of ${rounds}`);
      done.push(await round(bench, i, kind));
    }
    progress("");
    const summary = summarise(done);
    show(kind, summary);
    loads.push({ ...kind, ...summary, rounds: done });
  }
  return { loads, exchanges: rounds * LOADS.reduce((sum, kind) => sum + kind.exchanges, 0) };
}
