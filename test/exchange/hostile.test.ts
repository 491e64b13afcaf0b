/** What a hostile client or provider sends: each case once passed unjudged, or hurt. */
import assert from "node:assert/strict";
import { policyWith, runSession, type Seen, type Session } from "../envoy/ext-proc/session.ts";

const CANARY = "CANARY-7f3a91c2d4";
const strict = `
  egress: {pii: {action: redact, entities: [email]}, secrets: {action: redact}, promptLeak: {action: deny, canaries: [${CANARY}]}}
  action: {default: deny, rules: [{id: w, decision: allow, tools: [get_weather]}]}`;
const policies = policyWith(strict);
const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hello" }] });
const STREAM = { "content-type": "text/event-stream" };
const KEY = ["AKIA", "Q3EG7MZKPLX2WV5T"].join("");

const frame = (delta: object, finish_reason: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
const opens = (name: string): string =>
  frame({
    tool_calls: [{ index: 0, id: "c", type: "function", function: { name, arguments: "" } }],
  });
const args = (part: string): string =>
  frame({ tool_calls: [{ index: 0, function: { arguments: part } }] });

const chat = (response: Session["response"], own = policies): Promise<Seen> =>
  runSession({
    policies: own,
    request: { path: "/v1/chat/completions", body },
    ...(response && { response }),
  });
const streamOf = (chunks: readonly string[], own = policies): Promise<Seen> =>
  chat({ headers: STREAM, chunks }, own);

/** Milliseconds of the longest of `runs`, the machine's other work left out by taking the shorter of two. */
async function took(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 2; i += 1) {
    const before = process.cpuUsage();
    await run();
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 1_000);
  }
  return Math.min(...times);
}

describe("a hostile provider", () => {
  it("cannot hide a frame behind a byte order mark", async () => {
    const hidden = `\uFEFF${opens("delete_all")}`;
    const seen = await streamOf([frame({ content: "ok. " }), hidden]);
    assert.ok(!seen.client.body.includes("delete_all"));
    assert.equal(seen.outcomes[0]?.verdict.action, "failed_closed");
  });

  it("cannot announce a whole answer as a stream", async () => {
    const message = { content: CANARY };
    const seen = await streamOf([JSON.stringify({ choices: [{ index: 0, message }] })]);
    assert.ok(!seen.client.body.includes(CANARY));
    assert.equal(seen.outcomes[0]?.verdict.action, "failed_closed");
  });

  it("cannot send a client elsewhere", async () => {
    const headers = { location: "http://elsewhere.example/v1/chat/completions" };
    for (const chunks of [["{}"], []]) {
      const seen = await chat({ status: 307, headers, chunks });
      assert.equal(seen.client.status, 400);
      assert.equal(seen.client.headers["location"], undefined);
    }
  });

  it("cannot name another charset than the one that was judged", async () => {
    const headers = { "content-type": "application/json; charset=utf-7" };
    assert.equal((await chat({ headers, chunks: ["{}"] })).client.status, 415);
  });

  it("cannot speak in the name of a tool", async () => {
    const seen = await streamOf([
      opens(CANARY),
      args("{}"),
      frame({}, "tool_calls"),
      "data: [DONE]\n\n",
    ]);
    assert.ok(!seen.client.body.includes(CANARY));
    assert.ok(seen.client.body.includes("The call to a tool was refused"));
  });

  it("gets its own error through in the middle of a call, and not the call", async () => {
    const error = 'data: {"error":{"message":"overloaded","type":"server_error","code":null}}\n\n';
    const seen = await streamOf([
      frame({ content: "Hm. " }),
      opens("get_weather"),
      args('{"a'),
      error,
    ]);
    assert.ok(seen.client.body.endsWith(error));
    assert.ok(!seen.client.body.includes("get_weather"));
    assert.equal(seen.outcomes[0]?.verdict.action, "provider_error");
  });

  for (const [failure, parts] of [
    ["malformedArguments", [opens("delete_all"), args('{"a":')]],
    ["holdExceeded", [opens("delete_all"), args("x".repeat(6000)), args("y"), frame({}, "stop")]],
  ] as const) {
    it(`cannot use ${failure}: allow for a tool that the rules deny`, async () => {
      const own = policyWith(
        `${strict.replace("egress: {", "egress: {toolHoldBytes: 4096, ")}\n  failure: {${failure}: allow}`,
      );
      const seen = await streamOf(parts, own);
      assert.ok(!seen.client.body.includes("delete_all"));
      assert.equal(seen.outcomes[0]?.tools[0]?.verdict, "deny");
      const allowed = await streamOf(
        parts.map((part) => part.replace("delete_all", "get_weather")),
        own,
      );
      assert.ok(allowed.client.body.includes("get_weather"));
      assert.equal(allowed.outcomes[0]?.verdict.action, "failed_open");
    });
  }

  for (const [how, first, second] of [
    ["a finish", frame({ content: "CANARY-7f3a" }, "stop"), frame({ content: "91c2d4" })],
    ["an empty finish", frame({ content: "CANARY-7f3a" }, ""), frame({ content: "91c2d4" }, "")],
    [
      "a call",
      frame({
        content: "CANARY-7f3a",
        tool_calls: [{ index: 0, id: "c", function: { name: "t" } }],
      }),
      frame({ content: "91c2d4" }),
    ],
  ] as const) {
    it(`cannot cut a text in two by ${how} in its first frame`, async () => {
      const seen = await streamOf([first, second, "data: [DONE]\n\n"]);
      assert.ok(!seen.client.body.includes("91c2d4"));
      assert.notEqual(seen.outcomes[0]?.verdict.action, "allowed");
    });
  }

  it("is read although it writes an empty finish in every chunk", async () => {
    const whole = [
      frame({ content: "Hel" }, ""),
      frame({ content: "lo. " }, ""),
      frame({}, "stop"),
    ];
    const seen = await streamOf([...whole, "data: [DONE]\n\n"]);
    assert.equal(seen.client.body, [...whole, "data: [DONE]\n\n"].join(""));
    assert.equal(seen.outcomes[0]?.verdict.action, "allowed");
  });

  it("adds nothing behind the last event, however that is cut", async () => {
    const done = "data: [DONE]\n\n";
    const tail = "data: {}\n\nnonsense\n\n";
    const answer = frame({ content: "Hi. " }, "stop") + done;
    for (const chunks of [[answer + tail], [answer, tail]]) {
      const seen = await streamOf(chunks);
      assert.equal(seen.client.body, answer);
      assert.equal(seen.outcomes[0]?.verdict.action, "allowed");
    }
  });

  it("gets an error through whose chunk also has a piece of a call", async () => {
    const both = `data: ${JSON.stringify({
      error: { message: "overloaded" },
      choices: [{ index: 0, delta: { tool_calls: [{ index: 0, function: { arguments: "b" } }] } }],
    })}\n\n`;
    const seen = await streamOf([opens("get_weather"), args('{"a'), both]);
    assert.ok(seen.client.body.includes("overloaded"));
    assert.ok(!seen.client.body.includes("get_weather"));
    assert.equal(seen.outcomes[0]?.verdict.action, "provider_error");
  });

  it("keeps the status of an error that nobody can read, and not its body", async () => {
    const latin = { "content-type": "text/html; charset=iso-8859-1" };
    const page = Buffer.from("<p>Passerelle d\u00e9faillante</p>", "latin1");
    const hidden = Buffer.from(CANARY, "utf16le");
    const wide = { "content-type": "application/json; charset=utf-16le" };
    for (const [headers, chunk] of [
      [latin, page],
      [wide, hidden],
      [{ "content-type": "text/html" }, page],
    ] as const) {
      const seen = await chat({ status: 502, headers, chunks: [chunk] });
      assert.equal(seen.client.status, 502);
      assert.equal(JSON.parse(seen.client.body).error.code, "unsupported_media_type");
      assert.equal(seen.client.headers["content-type"], "application/json");
      assert.equal(seen.outcomes[0]?.verdict.action, "provider_error");
    }
  });

  it("cannot make held redactions expensive", async () => {
    const other = (delta: object, finish: string | null = null) =>
      `data: ${JSON.stringify({ choices: [{ index: 1, delta, finish_reason: finish }] })}\n\n`;
    const open = other({
      tool_calls: [
        { index: 0, id: "c", type: "function", function: { name: "get_weather", arguments: "{}" } },
      ],
    });
    const text = frame({ content: "a@bc.de " }).repeat(12_000);
    const ms = await took(() => streamOf([open + text + other({}, "tool_calls")]));
    assert.ok(ms < 1_500, `${ms} ms`);
  });

  it("may call a tool with long arguments in short fragments", async () => {
    const parts = Array.from({ length: 5_000 }, () => args("abcd "));
    const all = [
      opens("get_weather"),
      args('{"text":"'),
      ...parts,
      args('"}'),
      frame({}, "tool_calls"),
    ];
    const seen = await streamOf([...all, "data: [DONE]\n\n"]);
    assert.equal(seen.outcomes[0]?.verdict.action, "allowed");
    assert.equal(seen.client.body, [...all, "data: [DONE]\n\n"].join(""));
  });

  it("cannot make many frames behind a held one expensive", async () => {
    const pieces = Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`f${i}`, "x"]));
    const head = frame({
      ...pieces,
      tool_calls: [
        { index: 0, id: "c", type: "function", function: { name: "get_weather", arguments: "" } },
      ],
    });
    const ms = await took(() => streamOf([head + ":\n\n".repeat(60_000)]));
    assert.ok(ms < 1_500, `${ms} ms`);
  });

  it("cannot make a candidate that stays open expensive", async () => {
    const begin = frame({ content: "-----BEGIN RSA PRIVATE KEY-----\n" });
    const cycle = begin + frame({ content: "A" }).repeat(3_900) + frame({ content: "!!! " });
    const ms = await took(() => streamOf([cycle.repeat(2)]));
    assert.ok(ms < 1_500, `${ms} ms`);
  });
});

describe("a hostile client", () => {
  it("cannot make many secrets in one request expensive", async () => {
    const own = policyWith("{ingress: {secrets: {action: redact}}}");
    const request = {
      path: "/v1/chat/completions",
      body: JSON.stringify({ model: "m", messages: [], x: Array(12_000).fill(KEY) }),
    };
    const ms = await took(() =>
      runSession({ policies: own, request, response: { status: 204, chunks: [] } }),
    );
    assert.ok(ms < 1_500, `${ms} ms`);
  });

  it("gets one outcome less, not a false one, when the log did not take its decision", async () => {
    const seen = await runSession({
      policies,
      request: { path: "/v1/chat/completions", body },
      durable: ({ type }) => type !== "request.decision",
    });
    assert.equal(seen.client.status, 503);
    assert.deepEqual(seen.outcomes, []);
  });
});
