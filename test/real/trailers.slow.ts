/** Requests that end by trailers, through the shipped files: a real client needs none, a hostile one sends nothing else. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:http2";
import { envoyBinary } from "./envoy.ts";
import { type Stack, startStack } from "./stack.ts";

const chat = JSON.stringify({ model: "gpt-4o", messages: [{ role: "user", content: "Hello" }] });

/** @param body undefined: trailers follow the headers at once; "": behind an empty piece */
async function ask(origin: string, body: string | undefined): Promise<number> {
  const session = connect(origin);
  try {
    const stream = session.request(
      { ":method": "POST", ":path": "/v1/chat/completions", "content-type": "application/json" },
      { waitForTrailers: true, endStream: false },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-checksum": "0" }));
    const responded = once(stream, "response");
    if (body !== undefined) stream.write(body);
    stream.end();
    const [fields] = (await responded) as [Record<string, unknown>];
    stream.resume();
    await once(stream, "close");
    return Number(fields[":status"]);
  } finally {
    session.destroy();
  }
}

for (const profile of ["envoy", "strict-stream"] as const) {
  describe(`a request with trailers, through ${profile}.yaml`, function () {
    this.timeout(60_000);
    let stack: Stack;

    before(async function () {
      if (envoyBinary() === undefined) this.skip();
      stack = await startStack({ profile });
    });
    after(() => stack?.close());

    it("reaches the provider when there is a body to judge", async () => {
      assert.equal(await ask(stack.url, chat), 200);
      assert.equal(stack.model.received.length, 1);
    });

    it("is refused before the provider hears of it when there is none", async () => {
      stack.model.received.length = 0;
      assert.equal(await ask(stack.url, undefined), 400);
      assert.equal(await ask(stack.url, ""), 400);
      assert.equal(stack.model.received.length, 0);
    });
  });
}
