/**
 * More than one thread of the detector can read: many clients at once, each with a new result of a tool as soon as it
 * has an answer, and one beside them that asks short questions. What is not read in the policy's time must be refused
 * and never pass; the detector must be as it was when they are gone.
 */
import { Agent } from "node:http";
import { setTimeout as pause } from "node:timers/promises";
import type { Stack } from "../../test/real/stack.ts";
import { type Answer, exchange } from "./load.ts";
import { median, ms, print, quantile, rssMiB } from "./measure.ts";
import { chatOf, type TextMaker, toolResultOf } from "./texts.ts";

const CLIENTS = 64;
const TOKENS = 2_000;
const SECONDS = 10;
const SHORT_TOKENS = 64;
const SAMPLE_MS = 100;
/** Answers before it begins. */
const CALM = 40;
/** Calm again is an answer that takes at most so many times as long as then, within so many answers. */
const RECOVERED = 2;
const RECOVERY_LIMIT = 100;

/** "200", or the status and code of a refusal. */
const wordOf = ({ status, body }: Answer): string => {
  const code = /"code":"([a-z_]+)"/.exec(body.toString())?.[1];
  return status === 200 || code === undefined ? `${status}` : `${status} ${code}`;
};

type Seen = Map<string, number[]>;
function note(seen: Seen, answer: Answer): void {
  const times = seen.get(wordOf(answer)) ?? [];
  times.push(answer.lastMs);
  seen.set(wordOf(answer), times);
}
const summaryOf = (seen: Seen) =>
  Object.fromEntries(
    [...seen].map(([word, times]) => [
      word,
      { count: times.length, p50Ms: median(times), p99Ms: quantile(times, 0.99) },
    ]),
  );
const told = (seen: Seen): string =>
  Object.entries(summaryOf(seen))
    .map(([word, { count, p50Ms, p99Ms }]) => `${count} x ${word} in ${ms(p50Ms)} / ${ms(p99Ms)}`)
    .join(", ");

/** Requests so far of which all was inspected. */
async function inspected(stack: Stack): Promise<number> {
  const metrics = await stack.other("learned").limen.admin("/metrics");
  const full = /^limen_coverage_requests_total\{[^}]*direction="request"[^}]*\} \d+$/gm;
  return (metrics.match(full) ?? [])
    .filter((line) => line.includes('state="full"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

/** Clients of one listener that is told more than it can read. */
type Crowd = {
  readonly stack: Stack;
  readonly make: TextMaker;
  readonly ask: (body: string) => Promise<Answer>;
};

const short = ({ make, ask }: Crowd): Promise<Answer> => ask(chatOf(make("chat", SHORT_TOKENS)));

/** Everybody at once, each again and again, and what it came to. */
async function crowd(all: Crowd) {
  const pid = all.stack.other("learned").limen.pid();
  // Counting pieces would keep a core busy that is not the clients'.
  const result = all.make("tool", TOKENS);
  let results = 0;
  const large = (): Promise<Answer> => {
    results += 1;
    return all.ask(toolResultOf(result.replaceAll(/^No\. \d+$/gm, `No. ${results}`)));
  };
  const before = { rss: rssMiB(pid), inspected: await inspected(all.stack) };
  let peakMiB = before.rss;
  all.stack.model.received.length = 0;
  const [seen, beside]: [Seen, Seen] = [new Map(), new Map()];
  const end = performance.now() + SECONDS * 1_000;
  const again = async (act: () => Promise<void>): Promise<void> => {
    while (performance.now() < end) await act();
  };
  await Promise.all([
    ...Array.from({ length: CLIENTS }, () => again(async () => note(seen, await large()))),
    again(async () => {
      note(beside, await short(all));
      await pause(SAMPLE_MS);
    }),
    again(async () => {
      peakMiB = Math.max(peakMiB, rssMiB(pid));
      await pause(SAMPLE_MS);
    }),
  ]);
  return {
    seen,
    beside,
    answered: [seen, beside].reduce((sum, one) => sum + (one.get("200")?.length ?? 0), 0),
    reached: all.stack.model.received.length,
    wholly: (await inspected(all.stack)) - before.inspected,
    rss: { beforeMiB: before.rss, peakMiB, afterMiB: rssMiB(pid) },
  };
}

/** How long the next answer takes, and when answers take as long again as in calm. */
async function recovery(all: Crowd, calmMs: number) {
  const start = performance.now();
  const { lastMs: firstMs } = await short(all);
  let tookMs = firstMs;
  for (let tries = 1; tookMs > RECOVERED * calmMs; tries += 1) {
    if (tries > RECOVERY_LIMIT) throw new Error("the detector does not recover");
    tookMs = (await short(all)).lastMs;
  }
  return { firstMs, calmAgainMs: performance.now() - start, calmMs };
}

export async function measureOverload(stack: Stack, make: TextMaker) {
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS + 1 });
  const url = stack.envoy.url("learned");
  const all: Crowd = { stack, make, ask: (body) => exchange(url, agent, body) };
  const calm: number[] = [];
  for (let i = 0; i < CALM; i += 1) calm.push((await short(all)).lastMs);
  const { seen, beside, answered, reached, wholly, rss } = await crowd(all);
  const after = await recovery(all, median(calm));
  agent.destroy();
  print(`${CLIENTS} clients with new results of ${TOKENS} tokens for ${SECONDS} s, one thread`, [
    ["they see, p50 / p99", told(seen)],
    [`${SHORT_TOKENS} tokens of a user beside them, p50 / p99`, told(beside)],
    ["answered; reached the model; read to the end", `${answered}; ${reached}; ${wholly}`],
    [
      "memory before / at most / after",
      `${rss.beforeMiB.toFixed(0)} / ${rss.peakMiB.toFixed(0)} / ${rss.afterMiB.toFixed(0)} MiB`,
    ],
    [
      "afterwards: first answer; as in calm",
      `${ms(after.firstMs)}; after ${ms(after.calmAgainMs)} (calm ${ms(after.calmMs)})`,
    ],
  ]);
  if (reached !== answered || reached > wholly) {
    throw new Error("a request passed that was not read");
  }
  const [clients, user] = [summaryOf(seen), summaryOf(beside)];
  return { clients, user, answered, reached, wholly, rss, recovery: after };
}
