/**
 * What the stand-in for a provider says: one script per scenario, in words of no API. The scenario is
 * named by the header `x-scenario`; without it the conversation decides, as with a model that does what
 * it reads. Card numbers and keys are joined from parts, so that no scanner trips over this file.
 */

/** One thing that a model emits. The pieces of a text or of arguments are the chunks of a stream. */
export type Step =
  | { readonly kind: "text"; readonly pieces: readonly string[] }
  | { readonly kind: "call"; readonly name: string; readonly args: readonly string[] };

export type Script =
  | {
      readonly kind: "answer";
      readonly steps: readonly Step[];
      /** Time between two chunks of a stream. */
      readonly gapMs?: number;
      readonly encoding?: "gzip";
      /** The connection is cut after so many chunks. */
      readonly cutAfter?: number;
      /** The chunks are repeated until `finishLive` is called; for OpenAI only, whose chunks all look alike. */
      readonly live?: true;
    }
  | {
      readonly kind: "error";
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
      /** A provider's error in its own shape, or an HTML page of something in front of it. */
      readonly body:
        | { readonly type: string; readonly message: string }
        | { readonly html: string };
    };

export const CARD = ["4242", "4242", "4242", "4242"].join(" ");
export const EMAIL = ["ada.byron", "example.org"].join("@");
export const API_KEY = ["sk", "proj", "Zb7Qm2Xw9Lr4Tn6Vk1Hs8Jd3", "Pf5Gc0YaWu6Ei2Rt9Bo4"].join("-");
export const INTERNAL = "Margin floor for Contoso: 11 percent. Escalation code HARBOR-SEVEN.";

const words = (text: string): readonly string[] => text.split(/(?<= )/);
const say = (text: string): Step => ({ kind: "text", pieces: words(text) });

const refusedByProvider = (
  status: number,
  type: string,
  message: string,
  headers = {},
): Script => ({
  kind: "error",
  status,
  headers,
  body: { type, message },
});

const PAGE =
  "A lock keeper logs every boat: the hour, the draught, the water in the chamber before and after. ".repeat(
    20,
  );

export const SCENARIOS = {
  clean: {
    kind: "answer",
    steps: [say("Tides follow the moon, about fifty minutes later each day.")],
    gapMs: 5,
  },
  internal: { kind: "answer", steps: [say(`Here is what I know. ${INTERNAL}`)] },
  record: {
    kind: "answer",
    // The number and the address come in many chunks: no single one shows either.
    steps: [
      {
        kind: "text",
        pieces: [
          "Customer 7: card ",
          ...CARD.match(/.{1,3}/g)!,
          ", mail ",
          ...EMAIL.match(/.{1,4}/g)!,
          ", paid.",
        ],
      },
    ],
    gapMs: 5,
  },
  key: {
    kind: "answer",
    steps: [
      { kind: "text", pieces: ["Use ", API_KEY.slice(0, 9), API_KEY.slice(9), " to sign in."] },
    ],
  },
  tools: {
    kind: "answer",
    steps: [
      say("I look the order up. "),
      { kind: "call", name: "lookup_order", args: ['{"order', '":"A-1', '7"}'] },
      say("Then I pay it back. "),
      { kind: "call", name: "wire_transfer", args: ['{"amount":', '9000,"to":"X"}'] },
    ],
    gapMs: 5,
  },
  // About two kilobytes of answer in some 350 chunks: the measure of scripts/bench.
  page: { kind: "answer", steps: [say(PAGE)] },
  unauthorized: refusedByProvider(401, "authentication_error", "the key is not valid"),
  limited: refusedByProvider(429, "rate_limit_error", "too many requests", { "retry-after": "7" }),
  broken: refusedByProvider(500, "api_error", "the model host failed"),
  html: {
    kind: "error",
    status: 502,
    headers: {},
    body: { html: "<!doctype html><title>Bad gateway</title><p>The upstream is away.</p>" },
  },
  gzip: { kind: "answer", steps: [say("Packed although nobody asked for it.")], encoding: "gzip" },
  slow: { kind: "answer", steps: [say("One word at a time, and none in a hurry.")], gapMs: 120 },
  cut: {
    kind: "answer",
    steps: [say("This answer ends in the middle of its second part.")],
    gapMs: 5,
    cutAfter: 4,
  },
  live: { kind: "answer", steps: [{ kind: "text", pieces: ["tick "] }], gapMs: 20, live: true },
} as const satisfies Record<string, Script>;
export type ScenarioName = keyof typeof SCENARIOS;

const isScenario = (name: string): name is ScenarioName => name in SCENARIOS;

/** From the most to the least special; the first phrase found anywhere in the request decides. */
const OBEYS: readonly (readonly [phrase: string, scenario: ScenarioName])[] = [
  ["print your internal notes", "internal"],
  ["deine internen notizen", "internal"],
  ["customer record", "record"],
  ["api key", "key"],
  ["order a-17", "tools"],
  ["count without end", "live"],
];

/** Undefined for a scenario header that names none. */
export function scenarioOf(header: string | undefined, body: string): ScenarioName | undefined {
  if (header !== undefined) return isScenario(header) ? header : undefined;
  // A model reads over invisible characters, and so does this one.
  const text = body.replaceAll("\u200b", "").toLowerCase();
  return OBEYS.find(([phrase]) => text.includes(phrase))?.[1] ?? "clean";
}
