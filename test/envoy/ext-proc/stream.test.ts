/** The promise "buffered and streamed agree, however bytes are cut", through the real stream handler. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { policyWith, runSession, type Seen, type Session } from "./session.ts";

const policies = policyWith(`
  egress:
    pii: {action: redact, entities: [credit_card, email, iban, us_ssn]}
    secrets: {action: redact}
    promptLeak: {action: deny, canaries: [CANARY-7f3a91c2d4]}
  action:
    default: deny
    rules: [{id: weather, decision: allow, tools: [get_weather]}]`);

const KEY = ["sk-ant-", "api03-", "Zk3vQ9".repeat(15), "-", "Ab1".repeat(2), "AA"].join("");
const AWS = ["AKIA", "Q3EG", "7MZK", "PLX2", "WV5T"].join("");

type Turn = {
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly args: string }[];
};
type Message = { readonly text: string; readonly calls: readonly { name: string; args: string }[] };

type Api = {
  readonly path: string;
  readonly request: object;
  whole(turn: Turn): string;
  /** @param deltas the text in pieces */
  stream(turn: Turn, deltas: readonly string[]): string;
  readWhole(body: string): Message;
  readStream(body: string): Message;
};

const openai: Api = {
  path: "/v1/chat/completions",
  request: { model: "m", messages: [{ role: "user", content: "Hello" }] },
  whole: ({ text, calls }) =>
    JSON.stringify({
      id: "x",
      model: "m",
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            content: text === "" ? null : text,
            ...(calls.length > 0 && { tool_calls: calls.map(openaiCall) }),
          },
          finish_reason: calls.length > 0 ? "tool_calls" : "stop",
        },
      ],
    }),
  stream({ calls }, deltas) {
    const frame = (delta: object, finish_reason: string | null = null): string =>
      `data: ${JSON.stringify({ id: "x", model: "m", choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
    const fragments = calls.flatMap((call, index) => [
      frame({ tool_calls: [{ index, ...openaiCall({ ...call, args: "" }, index) }] }),
      ...halves(call.args).map((part) =>
        frame({ tool_calls: [{ index, function: { arguments: part } }] }),
      ),
    ]);
    return [
      frame({ role: "assistant", content: "" }),
      ...deltas.map((content) => frame({ content })),
      ...fragments,
      frame({}, calls.length > 0 ? "tool_calls" : "stop"),
      "data: [DONE]\n\n",
    ].join("");
  },
  readWhole(body) {
    const { message } = JSON.parse(body).choices[0];
    const calls = (message.tool_calls ?? []).map(
      (call: { function: { name: string; arguments: string } }) => ({
        name: call.function.name,
        args: call.function.arguments,
      }),
    );
    return { text: message.content ?? "", calls };
  },
  readStream(body) {
    let text = "";
    const calls: { name: string; args: string }[] = [];
    for (const data of dataOf(body).filter((one) => one !== "[DONE]")) {
      const { delta } = JSON.parse(data).choices[0];
      text += delta.content ?? "";
      for (const part of delta.tool_calls ?? []) {
        calls[part.index] ??= { name: part.function.name, args: "" };
        const call = calls[part.index];
        if (call) call.args += part.function.arguments ?? "";
      }
    }
    assert.ok(!calls.includes(undefined as never), "no gap in the indexes");
    return { text, calls };
  },
};
const openaiCall = (call: { name: string; args: string }, index: number) => ({
  id: `c${index}`,
  type: "function",
  function: { name: call.name, arguments: call.args },
});

const anthropic: Api = {
  path: "/v1/messages",
  request: { model: "m", max_tokens: 64, messages: [{ role: "user", content: "Hello" }] },
  whole: ({ text, calls }) =>
    JSON.stringify({
      type: "message",
      role: "assistant",
      model: "m",
      content: [
        { type: "text", text },
        ...calls.map(({ name, args }, index) => ({
          type: "tool_use",
          id: `c${index}`,
          name,
          input: JSON.parse(args),
        })),
      ],
      stop_reason: calls.length > 0 ? "tool_use" : "end_turn",
    }),
  stream({ calls }, deltas) {
    const frame = (event: { type: string; [field: string]: unknown }): string =>
      `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
    const block = (index: number, content_block: object, pieces: readonly object[]): string[] => [
      frame({ type: "content_block_start", index, content_block }),
      ...pieces.map((delta) => frame({ type: "content_block_delta", index, delta })),
      frame({ type: "content_block_stop", index }),
    ];
    const texts = deltas.map((text) => ({ type: "text_delta", text }));
    return [
      frame({ type: "message_start", message: { role: "assistant", model: "m", content: [] } }),
      ...block(0, { type: "text", text: "" }, texts),
      ...calls.flatMap(({ name, args }, at) =>
        block(
          at + 1,
          { type: "tool_use", id: `c${at}`, name, input: {} },
          halves(args).map((partial_json) => ({ type: "input_json_delta", partial_json })),
        ),
      ),
      frame({
        type: "message_delta",
        delta: { stop_reason: calls.length > 0 ? "tool_use" : "end_turn" },
      }),
      frame({ type: "message_stop" }),
    ].join("");
  },
  readWhole: (body) => anthropicMessage(JSON.parse(body).content),
  readStream(body) {
    const blocks: { type: string; text?: string; name?: string; input?: unknown; json: string }[] =
      [];
    for (const data of dataOf(body)) {
      const event = JSON.parse(data);
      if (event.type === "content_block_start")
        blocks[event.index] = { ...event.content_block, json: "" };
      const block = blocks[event.index];
      if (event.type === "content_block_delta" && block) {
        if (event.delta.type === "text_delta") block.text += event.delta.text;
        else block.json += event.delta.partial_json;
      }
      if (event.type === "content_block_stop" && block?.type === "tool_use") {
        block.input = JSON.parse(block.json);
      }
    }
    assert.ok(!blocks.includes(undefined as never), "no gap in the indexes");
    return anthropicMessage(blocks);
  },
};
const anthropicMessage = (
  blocks: readonly { type: string; text?: string; name?: string; input?: unknown }[],
): Message => ({
  text: blocks.map(({ text }) => text ?? "").join("|"),
  calls: blocks
    .filter(({ type }) => type === "tool_use")
    .map(({ name, input }) => ({ name: name ?? "", args: JSON.stringify(input) })),
});

const dataOf = (body: string): string[] =>
  body.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice(6)] : []));
const halves = (text: string): string[] => [
  text.slice(0, text.length / 2),
  text.slice(text.length / 2),
];

const cut = <T extends readonly string[] | Buffer>(whole: T, sizes: readonly number[]): T[] => {
  const pieces: T[] = [];
  for (let at = 0, i = 0; at < whole.length; i += 1) {
    const size = sizes[i % sizes.length] || 1;
    pieces.push(whole.slice(at, at + size) as unknown as T);
    at += size;
  }
  return pieces;
};

/** Ids of decisions differ from run to run, nothing else may. */
const withoutIds = (text: string): string =>
  text.replace(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, "ID");

const word = fc.constantFrom(
  "card ",
  "4111 1111 1111 1111",
  "4111-1111-1111-1112",
  " jo.doe@example.org",
  "DE89 3704 0044 0532 0130 00",
  "SSN 219-09-9999 ",
  "12345",
  " and ",
  ". ",
  "é€😀",
  "\n",
  '"',
  "\\",
  KEY,
  AWS,
  "@",
  "CANARY-",
  "x",
);
const turn = fc.record({
  text: fc.array(word, { maxLength: 12 }).map((parts) => parts.join("")),
  calls: fc.array(
    fc.record({
      name: fc.constantFrom("get_weather", "delete_all", "send_mail"),
      args: fc.constantFrom("{}", '{"city":"Paris"}', '{"to":"x","n":[1,2]}'),
    }),
    { maxLength: 3 },
  ),
});
const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 });

type Modes = NonNullable<Session["modes"]>;
const mode = fc.constantFrom("BUFFERED", "STREAMED", "FULL_DUPLEX_STREAMED");
const modes: fc.Arbitrary<Modes> = fc.record({ request: mode, response: mode });

const run = (
  api: Api,
  chunks: readonly (string | Buffer)[],
  type: string,
  by?: Modes,
): Promise<Seen> =>
  runSession({
    policies,
    request: { path: api.path, body: cut(Buffer.from(JSON.stringify(api.request)), [7, 30]) },
    response: { headers: { "content-type": type }, chunks },
    ...(by && { modes: by }),
  });

for (const [name, api] of Object.entries({ openai, anthropic })) {
  describe(`a response of ${name}`, () => {
    it("gives the same verdict, text and calls whole and streamed, cut anywhere", async () => {
      let mutated = 0;
      await fc.assert(
        fc.asyncProperty(turn, sizes, sizes, modes, async (spoken, deltaSizes, byteSizes, by) => {
          const deltas = cut([...spoken.text], deltaSizes).map((points) => points.join(""));
          const bytes = Buffer.from(api.stream(spoken, deltas));
          const whole = await run(api, [api.whole(spoken)], "application/json");
          const once = await run(api, [bytes], "text/event-stream");
          const many = await run(api, cut(bytes, byteSizes), "text/event-stream", by);
          const pieces = cut(Buffer.from(api.whole(spoken)), byteSizes);
          const inPieces = await run(api, pieces, "application/json", by);
          assert.equal(withoutIds(inPieces.client.body), withoutIds(whole.client.body));
          assert.deepEqual(verdictOf(inPieces), verdictOf(whole));
          assert.equal(many.upstream?.body, JSON.stringify(api.request));
          assert.equal(withoutIds(many.client.body), withoutIds(once.client.body));
          assert.deepEqual(verdictOf(many), verdictOf(once));
          assert.deepEqual(verdictOf(once), verdictOf(whole));
          const streamed = api.readStream(many.client.body);
          const buffered = api.readWhole(whole.client.body);
          assert.equal(withoutIds(streamed.text), withoutIds(buffered.text));
          assert.deepEqual(streamed.calls, buffered.calls);
          mutated += whole.outcomes[0]?.verdict.action === "mutated" ? 1 : 0;
        }),
        { numRuns: Number(process.env["RUNS"] ?? 150) },
      );
      assert.ok(mutated > 50, `the runs mutate (${mutated})`);
    });

    it("forwards a clean stream frame by frame, with its own bytes", async () => {
      const deltas = ["It is ", "sunny. ", "Not 12, but 14 degrees. "];
      const frames = api
        .stream({ text: "", calls: [] }, deltas)
        .split(/(?<=\n\n)/)
        .map((frame) => Buffer.from(frame));
      const seen = await run(api, frames, "text/event-stream");
      assert.deepEqual(seen.client.parts, [...frames.map(String), ""]);
    });

    it("holds every fragment of a call until it is complete", async () => {
      const call = { name: "get_weather", args: '{"city":"Paris"}' };
      const frames = api.stream({ text: "", calls: [call] }, ["Look. "]).split(/(?<=\n\n)/);
      const seen = await run(api, frames, "text/event-stream");
      const isHeld = (part: string): boolean => part === "";
      const opens = frames.findIndex((frame) => frame.includes("get_weather"));
      assert.ok(isHeld(seen.client.parts[opens] ?? "?"));
      assert.ok(isHeld(seen.client.parts[opens + 1] ?? "?"));
      assert.equal(seen.client.body, frames.join(""));
    });

    it("ends a stream that leaks a canary with the API's own error, and lets nothing follow", async () => {
      const spoken = { text: "", calls: [] };
      const bytes = api.stream(spoken, ["fine. ", "CANARY-7f3a", "91c2d4 and more. ", "tail. "]);
      const seen = await run(api, bytes.split(/(?<=\n\n)/), "text/event-stream");
      assert.ok(seen.client.body.includes("fine. "));
      assert.ok(seen.client.body.includes("prompt_leak"));
      assert.ok(!seen.client.body.includes("7f3a"));
      assert.ok(!seen.client.body.includes("tail"));
      const released = seen.client.body.slice(0, seen.outcomes[0]?.output.released_bytes);
      assert.ok(released.endsWith("\n\n") && !released.includes("prompt_leak"));
      assert.equal(seen.outcomes[0]?.verdict.action, "denied");
    });

    it("refuses a stream that ends inside a call, and never lets the call out", async () => {
      const call = { name: "get_weather", args: '{"city":"Paris"}' };
      const frames = api.stream({ text: "", calls: [call] }, []).split(/(?<=\n\n)/);
      const opens = frames.findIndex((frame) => frame.includes("get_weather"));
      const seen = await run(api, frames.slice(0, opens + 2), "text/event-stream");
      assert.ok(!seen.client.body.includes("get_weather"));
      assert.ok(seen.client.body.includes("malformed_arguments"));
      assert.equal(seen.outcomes[0]?.verdict.action, "failed_closed");
    });

    it("takes away what follows the last event", async () => {
      const whole = api.stream({ text: "", calls: [] }, ["Done. "]);
      const seen = await run(api, [whole, 'data: {"more": 1}\n\n'], "text/event-stream");
      assert.equal(seen.client.body, whole);
      assert.equal(seen.outcomes.length, 1);
    });
  });
}

const verdictOf = ({ outcomes, decisions }: Seen): unknown => {
  assert.equal(decisions.length, 1);
  assert.equal(outcomes.length, 1);
  const [outcome] = outcomes;
  const findings = outcome?.findings.map(({ rule, count }) => `${rule} ${count}`).sort();
  const tools = outcome?.tools.map(({ name, verdict }) => `${name} ${verdict}`);
  return { verdict: outcome?.verdict, findings, tools };
};
