/** Many large bodies at once, through a real Envoy: every one has an answer with a name, and memory has an end. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { envoyBinary } from "./envoy.ts";
import { send } from "./raw.ts";
import { MODEL } from "./sdk.ts";
import { type Stack, startStack, untilServing } from "./stack.ts";

const BODIES = 64;
const BODY_BYTES = 4_000_000;
/** The limits of Limen's container and of its heap in istio/limen.yaml. */
const LIMIT_MIB = 2_048;
const HEAP_MIB = 768;
/** Passed, refused for what is in it, refused because there was no time; or Envoy's own word for that. */
const ANSWERS = /^(200|403 \w+|503 (detector_timeout|overloaded)|504)$/;

const WORDS = ["the", "harbour", "closes", "when", "tide", "and", "wind", "come", "together", "."];
function harmless(): string {
  const words: string[] = [];
  for (let units = 0, state = 1; units < BODY_BYTES - 200; ) {
    state = (state * 48_271) % 2_147_483_647;
    const word = WORDS[state % WORDS.length] ?? "";
    words.push(word);
    units += word.length + 1;
  }
  return words.join(" ");
}
const TEXT = harmless();
/** Another text for each number: what was read once is known. */
const prose = (number: number): string => TEXT.slice(number * 999) + TEXT.slice(0, number * 999);
const chat = (content: string, rest: object = {}): string =>
  JSON.stringify({ model: MODEL, messages: [{ role: "user", content }], ...rest });

const KINDS: Readonly<Record<string, (number: number) => string>> = {
  "text that is read": (number) => chat(prose(number)),
  "text in two bytes a letter": (number) => chat(`\u2713${prose(number)}`),
  "values that nobody asked for": () =>
    chat("hello", { metadata: Array(Math.floor(BODY_BYTES / 3)).fill([]) }),
  "places to redact": () => chat("jo@example.org ".repeat(BODY_BYTES / 16)),
  // What takes most memory for its bytes: 34, 9 and 6 times as much.
  "the shortest places to redact": () => chat("a@b.co ".repeat(BODY_BYTES / 8)),
  "mathematical letters": () => chat("\u{1d422}\u{1d420}\u{1d427} ".repeat(BODY_BYTES / 14)),
  "letters with nothing between": () => chat("a\u200b".repeat(BODY_BYTES / 5)),
};

describe(`${BODIES} bodies of ${BODY_BYTES / 1e6} MB at once`, function () {
  this.timeout(120_000);
  let stack: Stack;
  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    stack = await startStack({ config: { detection: { threads: 2 } }, heapMiB: HEAP_MIB });
  });
  after(async () => {
    await stack?.close();
  });

  for (const [name, bodyOf] of Object.entries(KINDS)) {
    it(`${name}: are answered or refused by name, in bounded memory, and Limen goes on`, async () => {
      const url = `${stack.url}/v1/chat/completions`;
      const asked = Array.from({ length: BODIES }, async (_, number) => {
        const { status, body } = await send(url, { body: bodyOf(number) });
        return `${status} ${/"code":"(\w+)"/.exec(body.toString())?.[1] ?? ""}`.trim();
      });
      for (const answer of await Promise.all(asked)) assert.match(answer, ANSWERS);
      stack.model.received.length = 0;
      assert.ok(peakMiB() < LIMIT_MIB, `${peakMiB()} MiB`);
      await untilServing(stack.url);
      assert.equal((await send(url, { body: chat("hello") })).status, 200);
    });
  }

  /** Most that Limen has had in memory since it started. */
  const peakMiB = (): number => {
    const status = readFileSync(`/proc/${stack.limen.pid()}/status`, "utf8");
    return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) / 1024;
  };
});
