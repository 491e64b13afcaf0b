/**
 * Runs the story and prints it as a table, a row per act. Every cell is what happened in this run; an act
 * that ends differently than it says is marked, and the exit code is 1.
 */
import { once } from "node:events";
import type { Limen } from "../test/real/limen.ts";
import { type Stack, startStack } from "../test/real/stack.ts";
import { ACTS, type Act } from "./acts.ts";
import { killed, tampered } from "./endings.ts";
import { formatRow, HEAD, type Row, RULE } from "./table.ts";

const RUNS = 5;

/** What says in the service's own metrics that a control has not let everything pass as it was. */
const TRACES: readonly (readonly [metric: RegExp, layer: string])[] = [
  [/^limen_control_verdicts_total\{layer="ingress",.*verdict="(deny|mutate)"/, "ingress"],
  [/^limen_findings_total\{.*direction="response",disposition="(masked|blocked)"/, "egress"],
  [/^limen_control_verdicts_total\{layer="action",.*verdict="(deny|mutate)"/, "action"],
  [/^limen_tool_calls_total\{.*verdict="(deny|ask)".*phase="call"/, "action"],
];

/** How often each control has acted so far. */
async function traces(limen: Limen): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  for (const line of (await limen.admin("/metrics")).split("\n")) {
    const layer = TRACES.find(([metric]) => metric.test(line))?.[1];
    if (layer === undefined) continue;
    counts.set(layer, (counts.get(layer) ?? 0) + Number(line.slice(line.lastIndexOf(" "))));
  }
  return counts;
}

async function timed(act: Act, url: string): Promise<{ told: string; ms: number }> {
  const start = performance.now();
  const told = await act.run(url);
  return { told, ms: performance.now() - start };
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

type Played = { readonly row: Row; readonly ok: boolean };

const RULES_ALONE = "rules";
const boundaryOf = ({ boundary }: Act, stack: Stack): { limen: Limen; url: string } =>
  boundary === undefined ? stack : stack.other(RULES_ALONE);

/** Both ways by turns, a few times, so that the difference of the medians is about Limen. */
async function play(act: Act, stack: Stack): Promise<Played> {
  const { limen, url } = boundaryOf(act, stack);
  const before = await traces(limen);
  const plain: number[] = [];
  const through: number[] = [];
  const without = new Set<string>();
  const within = new Set<string>();
  let upstream = 0;
  for (let i = 0; i < RUNS; i += 1) {
    const past = await timed(act, stack.plainUrl);
    stack.model.received.length = 0;
    const filtered = await timed(act, url);
    upstream += stack.model.received.length;
    const reached = stack.model.received.map(({ body }) => act.reached?.(body) ?? "");
    stack.model.received.length = 0;
    plain.push(past.ms);
    through.push(filtered.ms);
    without.add(past.told);
    within.add([filtered.told, ...reached].filter((words) => words !== "").join("; "));
  }
  const after = await traces(limen);
  const layers = [...after]
    .filter(([layer, count]) => count > (before.get(layer) ?? 0))
    .map(([layer]) => layer);
  // No control of its own: the exchange refuses by itself what it cannot read.
  const decided =
    layers.length > 0 ? layers.join(" and ") : act.decides === "validation" ? "validation" : "-";
  const ok =
    [...without].join() === act.without &&
    [...within].join() === act.with &&
    upstream === act.upstream * RUNS &&
    decided === act.decides;
  const asked = upstream === 0 ? "; the model was not asked" : "";
  const added = `${(median(through) - median(plain)).toFixed(1)} ms`;
  return {
    row: [
      act.number,
      act.asked,
      [...without].join(" or "),
      [...within].join(" or ") + asked,
      decided,
      added,
    ],
    ok,
  };
}

function show({ row, ok }: Played): boolean {
  console.log(formatRow(row));
  if (!ok) console.log(`    ^ this is not how act ${row[0]} was to end`);
  return ok;
}

async function keep(stack: Stack): Promise<void> {
  console.log(`\nEverything is running, in ${stack.dir}. Past Limen: ${stack.plainUrl}`);
  console.log(`
  curl -i ${stack.url}/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model":"demo-1","messages":[{"role":"user","content":"Show the customer record number 7."}]}'

Ctrl-C ends it.`);
  await Promise.race([once(process, "SIGINT"), once(process, "SIGTERM")]);
}

async function main(): Promise<number> {
  const args = process.argv.slice(2);
  if (args.some((arg) => arg !== "--keep")) {
    console.error("usage: scripts/demo [--keep]");
    return 2;
  }
  const others = { [RULES_ALONE]: { config: { detection: { model: "off" } } } };
  const stack = await startStack({ others });
  try {
    for (const act of ACTS) await act.run(boundaryOf(act, stack).url); // warm
    await ACTS[0]?.run(stack.plainUrl);
    console.log(`${formatRow(HEAD)}\n${RULE}`);
    let ok = true;
    for (const act of ACTS) ok = show(await play(act, stack)) && ok;
    for (const end of [killed, tampered]) ok = show(await end(stack)) && ok;
    console.log(ok ? "\nEvery act ended as it says." : "\nNot every act ended as it says.");
    if (args.includes("--keep")) await keep(stack);
    return ok ? 0 : 1;
  } finally {
    await stack.close();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`scripts/demo: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 3;
}
