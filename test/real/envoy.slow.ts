/** envoy/envoy.yaml by itself: valid, and transparent with a filter that agrees to everything. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Server } from "@grpc/grpc-js";
import { servePassthrough } from "../../scripts/bench-passthrough.ts";
import { profileFile } from "./bootstrap.ts";
import { type Envoy, envoyBinary, startEnvoy, validate } from "./envoy.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { until } from "./process.ts";
import { send } from "./raw.ts";
import { CARD, EMAIL } from "./scenarios.ts";
import { ask, openaiAt } from "./sdk.ts";

const FILES = (["envoy", "strict-stream", "ext-authz"] as const).map((profile) =>
  profileFile(profile),
);

describe("envoy/envoy.yaml", () => {
  let dir: string;
  let model: ModelServer;
  let filter: Server;
  let envoy: Envoy;
  /** Request headers that the filter has seen. */
  const names = new Set<string>();

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    dir = mkdtempSync(join(tmpdir(), "limen-envoy-"));
    model = await startModelServer();
    const path = join(dir, "filter.sock");
    filter = await servePassthrough(`unix:${path}`, (message) => {
      for (const { key } of message.request_headers?.headers?.headers ?? []) names.add(key);
    });
    envoy = await startEnvoy({
      dir,
      modelPort: model.port,
      listeners: { plain: undefined, filtered: { path }, dead: { path: join(dir, "nobody.sock") } },
    });
  });
  after(async () => {
    await envoy?.stop();
    filter?.forceShutdown();
    await model?.close();
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });
  beforeEach(() => {
    model.received.length = 0;
  });

  for (const file of FILES.map((url) => fileURLToPath(url))) {
    it(`${basename(file)} is accepted by Envoy as it is`, async () => {
      assert.deepEqual(await validate(file), {
        code: 0,
        output: `configuration '${file}' OK\n`,
      });
    });
  }

  for (const api of ["openai", "anthropic"] as const) {
    for (const form of ["json", "stream"] as const) {
      it(`carries ${api} as ${form}, with and without a filter that changes nothing`, async () => {
        const plain = await ask(api, form, envoy.url("plain"), "hello", "record");
        assert.equal(plain.text, `Customer 7: card ${CARD}, mail ${EMAIL}, paid.`);
        assert.deepEqual(await ask(api, form, envoy.url("filtered"), "hello", "record"), plain);
        const tools = await ask(api, form, envoy.url("filtered"), "hello", "tools");
        assert.deepEqual(
          tools.calls.map(({ name }) => name),
          ["lookup_order", "wire_transfer"],
        );
        assert.equal(model.received.length, 3);
      });
    }
  }

  it("hands the first chunk of a stream on before the last one exists", async () => {
    const stream = await openaiAt(envoy.url("filtered"), "live").chat.completions.create({
      model: "demo-1",
      messages: [{ role: "user", content: "hello" }],
      stream: true,
    });
    let chunks = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content === "tick ") chunks += 1;
      if (chunks === 3) model.finishLive();
    }
    assert.ok(chunks >= 3 && chunks < 50, `${chunks} chunks`);
  });

  it("lets nothing pass when nobody answers for the filter", async () => {
    const { status } = await send(`${envoy.url("dead")}/v1/chat/completions`, { body: "{}" });
    assert.equal(status, 503);
    assert.equal(model.received.length, 0);
  });

  it("keeps credentials from the filter and hands them to the provider", async () => {
    const secrets = ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"];
    const headers = Object.fromEntries(secrets.map((name) => [name, "not-for-limen"]));
    await send(`${envoy.url("filtered")}/v1/messages`, { body: "{}", headers });
    for (const name of secrets) {
      assert.ok(!names.has(name), name);
      assert.equal(model.received[0]?.headers[name], "not-for-limen");
    }
    assert.ok(names.has(":path") && names.has("content-type"));
  });

  it("refuses second spellings of a path or a header name before anybody reads them", async () => {
    const url = `${envoy.url("filtered")}/v1`;
    const body = '{"messages":[]}';
    assert.equal((await send(`${url}/chat/completions`, { body })).status, 200);
    assert.equal((await send(`${url}%2Fchat/completions`, { body })).status, 400);
    // Where a filter is installed, Envoy closes the connection without the 400 that it logs.
    const headers = { x_limen_tenant: "acme" };
    await assert.rejects(send(`${url}/chat/completions`, { body, headers }), {
      code: "ECONNRESET",
    });
    assert.equal(model.received.length, 1);
    await until(1_000, "the refusals in the access log", () => {
      const log = envoy.accessLog().join("\n");
      const both =
        log.includes("path_normalization_failed") && log.includes("unexpected_underscore");
      return both || undefined;
    });
  });
});
