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
const counts = (seen: Seen): Readonly<Record<string, number>> =>
  Object.fromEntries([...seen].map(([word, times]) => [word, times.length]));
const told = (seen: Seen): string =>
  [...seen]
    .map(([word, t]) => `${t.length} x ${word} in ${ms(median(t))} / ${ms(quantile(t, 0.99))}`)
    .join(", ");

/** Requests so far of which all was inspected. */
async function inspected(stack: Stack): Promise<number> {
  const metrics = await stack.other("learned").limen.admin("/metrics");
  const full = /^limen_coverage_requests_total\{[^}]*direction="request"[^}]*\} \d+$/gm;
  return (metrics.match(full) ?? [])
    .filter((line) => line.includes('state="full"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

export async function measureOverload(stack: Stack, make: TextMaker) {
  const url = stack.envoy.url("learned");
  const pid = stack.other("learned").limen.pid();
  const agent = new Agent({ keepAlive: true, maxSockets: CLIENTS + 1 });
  const short = (): Promise<Answer> => exchange(url, agent, chatOf(make("chat", SHORT_TOKENS)));
  const calm: number[] = [];
  for (let i = 0; i < 40; i += 1) calm.push((await short()).lastMs);
  // Counting pieces would keep a core busy that is not the clients'.
  const result = make("tool", TOKENS);
  let results = 0;
  const large = (): Promise<Answer> => {
    results += 1;
    return exchange(url, agent, toolResultOf(`${results}\n${result}`));
  };

  const before = { rss: rssMiB(pid), inspected: await inspected(stack) };
  stack.model.received.length = 0;
  const [crowd, beside]: [Seen, Seen] = [new Map(), new Map()];
  const end = performance.now() + SECONDS * 1_000;
  let peak = before.rss;
  const until = async (act: () => Promise<void>): Promise<void> => {
    while (performance.now() < end) await act();
  };
  await Promise.all([
    ...Array.from({ length: CLIENTS }, () => until(async () => note(crowd, await large()))),
    until(async () => {
      note(beside, await short());
      await pause(SAMPLE_MS);
    }),
    until(async () => {
      peak = Math.max(peak, rssMiB(pid));
      await pause(SAMPLE_MS);
    }),
  ]);
  const reached = stack.model.received.length;
  const wholly = (await inspected(stack)) - before.inspected;

  const over = performance.now();
  let [first, tries] = [Number.NaN, 0];
  for (let took = Number.POSITIVE_INFINITY; took > RECOVERED * median(calm); tries += 1) {
    if (tries === RECOVERY_LIMIT) throw new Error("the detector does not recover");
    took = (await short()).lastMs;
    if (tries === 0) first = took;
  }
  const recovery = { firstMs: first, calmAgainMs: performance.now() - over, calmMs: median(calm) };
  agent.destroy();

  const rss = { beforeMiB: before.rss, peakMiB: peak, afterMiB: rssMiB(pid) };
  const answered = [crowd, beside].reduce((sum, seen) => sum + (seen.get("200")?.length ?? 0), 0);
  print(`${CLIENTS} clients with new results of ${TOKENS} tokens for ${SECONDS} s, one thread`, [
    ["they see, p50 / p99", told(crowd)],
    [`${SHORT_TOKENS} tokens of a user beside them, p50 / p99`, told(beside)],
    ["answered; reached the model; read to the end", `${answered}; ${reached}; ${wholly}`],
    [
      "memory before / at most / after",
      `${rss.beforeMiB.toFixed(0)} / ${rss.peakMiB.toFixed(0)} / ${rss.afterMiB.toFixed(0)} MiB`,
    ],
    [
      "afterwards: first answer; as before it all",
      `${ms(recovery.firstMs)}; after ${ms(recovery.calmAgainMs)} (${ms(recovery.calmMs)})`,
    ],
  ]);
  if (reached !== answered || reached > wholly)
    throw new Error("a request passed that was not read");
  return { crowd: counts(crowd), beside: counts(beside), answered, reached, wholly, rss, recovery };
}
