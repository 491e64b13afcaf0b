/** Answers take minutes. What happens to a stream after its first minute is seen nowhere else. */
import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { envoyBinary } from "./envoy.ts";
import { MODEL, openaiAt } from "./sdk.ts";
import { type Stack, startStack } from "./stack.ts";

/** Envoy's graceful close of the filter's stream kills it from about 50 seconds on. */
const LONG_MS = 56_000;

describe("a stream that lives for a minute", function () {
  this.timeout(120_000);
  let stack: Stack;
  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    stack = await startStack();
  });
  after(async () => {
    await stack?.close();
  });

  it("ends whole, and Envoy goes on", async () => {
    const messages = [{ role: "user" as const, content: "hello" }];
    const stream = await openaiAt(stack.url, "live").chat.completions.create({
      model: MODEL,
      messages,
      stream: true,
    });
    const read = (async () => {
      let finish: string | null | undefined;
      for await (const chunk of stream) finish = chunk.choices[0]?.finish_reason ?? finish;
      return finish;
    })();
    await pause(LONG_MS); // the length is the point: no event tells that a stream has become old
    stack.model.finishLive();
    assert.equal(await read, "stop");
    const next = await openaiAt(stack.url).chat.completions.create({ model: MODEL, messages });
    assert.equal(next.choices[0]?.finish_reason, "stop");
    process.kill(stack.envoy.pid, 0); // throws when it is gone
  });
});
