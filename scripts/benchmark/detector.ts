/**
 * What the learned detector adds for 256 new tokens, by what they are: the least possible filter, Limen by its rules
 * alone and Limen with one thread of the detector take turns within each round. Everything that is asked is new.
 */
import type { Stack } from "../../test/real/stack.ts";
import { load } from "./load.ts";
import { median, ms, print, progress, quantile } from "./measure.ts";
import { chatOf, conversation, type TextMaker, toolResultOf } from "./texts.ts";

/** The learned detector as it ships, and the same with no window ending early. */
type Learned = "learned" | "whole";
const TURNS = ["floor", "limen", "learned", "again"] as const;
type Turn = (typeof TURNS)[number];

const NEW_TOKENS = 256;
const CONVERSATION_TURNS = 50;
/** Of one turn of a round. */
const EXCHANGES = 80;
const GATE_P50_MS = 25;

type Case = {
  readonly title: string;
  readonly learned: Learned;
  readonly body: () => string;
};

function casesOf(make: TextMaker): readonly Case[] {
  const long = conversation(make, CONVERSATION_TURNS);
  const result = (): string => make("tool", NEW_TOKENS);
  return [
    {
      title: `a chat of ${NEW_TOKENS} new tokens`,
      learned: "learned",
      body: () => chatOf(make("chat", NEW_TOKENS)),
    },
    {
      title: `a tool's result of ${NEW_TOKENS} new tokens`,
      learned: "learned",
      body: () => toolResultOf(result()),
    },
    {
      title: `a suspicious result of ${NEW_TOKENS} new tokens: no window ends early`,
      learned: "whole",
      body: () => toolResultOf(result()),
    },
    {
      title: `a conversation of ${4 * CONVERSATION_TURNS} messages, the last ${NEW_TOKENS} tokens new`,
      learned: "learned",
      body: () => long(result()),
    },
  ];
}

type Times = Readonly<Record<Turn, readonly number[]>>;

async function round(stack: Stack, { learned, body }: Case, first: number): Promise<Times> {
  const times = new Map<Turn, readonly number[]>();
  for (let i = 0; i < TURNS.length; i += 1) {
    const turn = TURNS[(first + i) % TURNS.length] ?? "floor";
    const listener = { floor: "floor", again: "floor", limen: "limen", learned }[turn];
    const bodies = Array.from({ length: EXCHANGES }, body);
    const answers = await load(stack.envoy.url(listener), bodies, 1);
    times.set(
      turn,
      answers.map(({ lastMs }) => lastMs),
    );
  }
  stack.model.received.length = 0;
  return Object.fromEntries(times) as Times;
}

/** Windows that were read so far, and those of them that ended early. */
async function windows(stack: Stack, learned: Learned): Promise<{ all: number; early: number }> {
  const metrics = await stack.other(learned).limen.admin("/metrics");
  const count = (name: string): number =>
    Number(new RegExp(`^limen_detector_${name} (\\d+)$`, "m").exec(metrics)?.[1]);
  return { all: count("windows_total"), early: count("windows_cleared_total") };
}

function summarise(rounds: readonly Times[]) {
  const all = (turn: Turn): readonly number[] => rounds.flatMap((one) => one[turn]);
  const over = (turn: Turn, base: Turn): number =>
    median(rounds.map((one) => median(one[turn]) - median(one[base])));
  return {
    p50Ms: { floor: median(all("floor")), learned: median(all("learned")) },
    rulesOverFloorP50Ms: over("limen", "floor"),
    learnedOverFloorP50Ms: over("learned", "floor"),
    learnedOverFloorP99Ms: quantile(all("learned"), 0.99) - quantile(all("floor"), 0.99),
    learnedOverRulesP50Ms: over("learned", "limen"),
    noiseP50Ms: Math.abs(over("again", "floor")),
  };
}

/** Every case in `rounds` rounds. */
export async function measureDetector(stack: Stack, make: TextMaker, rounds: number) {
  const cases = [];
  for (const one of casesOf(make)) {
    await round(stack, one, 0); // what is old is known from now on
    const before = await windows(stack, one.learned);
    const done: Times[] = [];
    for (let i = 0; i < rounds; i += 1) {
      progress(`${one.title}: round ${i + 1} of ${rounds}`);
      done.push(await round(stack, one, i));
    }
    progress("");
    const after = await windows(stack, one.learned);
    const read = after.all - before.all;
    const summary = {
      ...summarise(done),
      windowsPerExchange: read / (rounds * EXCHANGES),
      endedEarly: (after.early - before.early) / read,
    };
    print(`${one.title}, one at a time`, [
      ["pass-through, p50", ms(summary.p50Ms.floor)],
      ["rules alone over pass-through, p50", ms(summary.rulesOverFloorP50Ms)],
      [
        "learned detector over pass-through, p50 / p99",
        `${ms(summary.learnedOverFloorP50Ms)} / ${ms(summary.learnedOverFloorP99Ms)}` +
          ` (p50 is to be at most ${GATE_P50_MS})`,
      ],
      ["learned detector over rules alone, p50", ms(summary.learnedOverRulesP50Ms)],
      [
        "windows an exchange; ended early",
        `${summary.windowsPerExchange.toFixed(1)}; ${(100 * summary.endedEarly).toFixed(0)} %`,
      ],
      ["noise: pass-through against itself, p50", ms(summary.noiseP50Ms)],
    ]);
    cases.push({ title: one.title, ...summary });
  }
  return cases;
}
