/** Many large bodies at once, through a real Envoy: every one has an answer with a name, and memory has an end. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import { type Bootstrap, managerOf } from "./bootstrap.ts";
import { envoyBinary } from "./envoy.ts";
import { until } from "./process.ts";
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
};

/** One more listener, where Limen gets the pieces of a body as they come: of all bodies it can have all but the end. */
function withPieces({ static_resources: { listeners } }: Bootstrap): void {
  const pieces = structuredClone(listeners.find(({ name }) => name === "limen"));
  const filter =
    pieces && managerOf(pieces).http_filters.find(({ name }) => name === "limen.ext_proc");
  assert.ok(pieces && filter);
  pieces.name = "pieces";
  Object.assign(filter.typed_config["processing_mode"] as object, {
    request_body_mode: "FULL_DUPLEX_STREAMED",
    request_trailer_mode: "SEND",
  });
  listeners.push(pieces);
}

/** A request whose body has left but for its last byte. */
async function begin(url: string, body: Buffer): Promise<ClientRequest> {
  const headers = { "content-type": "application/json", "content-length": body.length };
  const begun = request(url, { method: "POST", headers, agent: false });
  await new Promise((resolve) => begun.write(body.subarray(0, -1), resolve));
  return begun;
}

async function finish(begun: ClientRequest): Promise<string> {
  begun.end("}");
  const [incoming] = (await once(begun, "response")) as [IncomingMessage];
  return said(incoming.statusCode, await text(incoming));
}

const said = (status: number | undefined, body: string): string =>
  `${status} ${/"code":"(\w+)"/.exec(body)?.[1] ?? ""}`.trim();

describe(`${BODIES} bodies of ${BODY_BYTES / 1e6} MB at once`, function () {
  this.timeout(120_000);
  let stack: Stack;
  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    const config = { detection: { threads: 2 } };
    stack = await startStack({ config, heapMiB: HEAP_MIB, edit: withPieces });
  });
  after(async () => {
    await stack?.close();
  });

  it("whose ends come together: few are judged at a time, the others refused by name", async () => {
    const url = `${stack.envoy.url("pieces")}/v1/chat/completions`;
    // Zero-width spaces: judged, a body takes six times its bytes.
    const body = Buffer.from(chat("a\u200b".repeat(BODY_BYTES / 4)));
    const beforeMiB = memoryMiB("VmRSS");
    const begun = await Promise.all(Array.from({ length: BODIES }, () => begin(url, body)));
    const comeMiB = (BODIES * body.length * 0.9) / 2 ** 20;
    await until(30_000, "Limen to have nearly all of them", () => {
      return memoryMiB("VmRSS") - beforeMiB > comeMiB || undefined;
    });
    await answered(Promise.all(begun.map(finish)));
  });

  for (const [name, bodyOf] of Object.entries(KINDS)) {
    it(`${name}: are answered or refused by name, in bounded memory, and Limen goes on`, async () => {
      const url = `${stack.url}/v1/chat/completions`;
      const asked = Array.from({ length: BODIES }, async (_, number) => {
        const { status, body } = await send(url, { body: bodyOf(number) });
        return said(status, body.toString());
      });
      await answered(Promise.all(asked));
    });
  }

  async function answered(answers: Promise<readonly string[]>): Promise<void> {
    for (const answer of await answers) assert.match(answer, ANSWERS);
    stack.model.received.length = 0;
    const peakMiB = memoryMiB("VmHWM");
    assert.ok(peakMiB < LIMIT_MIB, `${peakMiB} MiB`);
    await untilServing(stack.url);
    const hello = await send(`${stack.url}/v1/chat/completions`, { body: chat("hello") });
    assert.equal(hello.status, 200);
  }

  /** What Limen has in memory, or most that it has had since it started. */
  function memoryMiB(field: "VmRSS" | "VmHWM"): number {
    const status = readFileSync(`/proc/${stack.limen.pid()}/status`, "utf8");
    return Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(status)?.[1]) / 1024;
  }
});
