/**
 * What a real Envoy says on its streams, taken down between it and the server, and played again: the same messages
 * get the same replies, without Envoy. To write the recordings that `replay.test.ts` plays everywhere:
 *
 *   for version in 1.36.4 1.40.0; do
 *     LIMEN_ENVOY=.../envoy-$version-x86_64 UPDATE_GOLDEN=1 npx mocha --no-package --timeout 60000 \
 *       test/envoy/simulator/record.slow.ts
 *   done
 */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Envoy, envoyBinary, envoyVersion, startEnvoy } from "../../real/envoy.ts";
import { type ModelServer, startModelServer } from "../../real/model-server.ts";
import { until } from "../../real/process.ts";
import { send } from "../../real/raw.ts";
import { type Boundary, startBoundary } from "./boundary.ts";
import { INJECTION_JSON, PROMPT_JSON } from "./phrases.ts";
import { type Crossing, replay, repliesOf } from "./recording.ts";
import { openTap, type Tap } from "./tap.ts";
import { VECTORS } from "./vectors.ts";

const CHAT = "/v1/chat/completions";
const LIMIT_MS = 5_000;
const stream = JSON.stringify({ ...JSON.parse(PROMPT_JSON), stream: true });

type Scenario = {
  readonly listener: "portable" | "strict";
  readonly path?: string;
  readonly body: string;
  readonly says?: string;
  readonly status: number;
};
const scenarios: Readonly<Record<string, Scenario>> = {
  json: { listener: "portable", body: PROMPT_JSON, says: "record", status: 200 },
  sse: { listener: "portable", body: stream, says: "clean", status: 200 },
  denied: { listener: "portable", body: INJECTION_JSON, status: 403 },
  "provider-error": { listener: "portable", body: PROMPT_JSON, says: "limited", status: 429 },
  "strict-json": { listener: "strict", body: PROMPT_JSON, says: "record", status: 200 },
  "strict-sse": { listener: "strict", body: stream, says: "clean", status: 200 },
};

describe("what Envoy says", function () {
  this.timeout(60_000);
  let dir: string;
  let boundary: Boundary;
  let tap: Tap;
  let model: ModelServer;
  let envoy: Envoy;

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    dir = mkdtempSync(join(tmpdir(), "limen-record-"));
    boundary = await startBoundary();
    tap = await openTap(boundary.address);
    model = await startModelServer();
    const endpoints = [{ port: tap.port }];
    envoy = await startEnvoy({
      dir,
      modelPort: model.port,
      listeners: {
        portable: { endpoints },
        strict: { profile: "strict-stream", endpoints },
      },
    });
  });
  after(async () => {
    await envoy?.stop();
    await tap?.close();
    await model?.close();
    await boundary?.close();
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });

  const record = async (scenario: Scenario): Promise<readonly Crossing[]> => {
    tap.take();
    const response = await send(`${envoy.url(scenario.listener)}${CHAT}`, {
      body: scenario.body,
      headers: scenario.says === undefined ? {} : { "x-scenario": scenario.says },
    });
    assert.equal(response.status, scenario.status);
    const [crossings, ...more] = tap.take();
    assert.ok(crossings && more.length === 0, "one stream");
    await until(
      LIMIT_MS,
      "Envoy to end its stream",
      () => crossings.some((one) => one.from === "envoy" && !("message" in one)) || undefined,
    );
    return crossings;
  };

  const check = async (name: string, crossings: readonly Crossing[]): Promise<void> => {
    const recording = { envoy: envoyVersion(), crossings };
    assert.ok(repliesOf(recording).length > 0);
    assert.deepEqual(await replay(boundary, recording), repliesOf(recording));
    if (process.env["UPDATE_GOLDEN"] !== "1") return;
    mkdirSync(VECTORS, { recursive: true });
    const file = join(VECTORS, `${recording.envoy}-${name}.json`);
    writeFileSync(file, `${JSON.stringify(recording, null, 1)}\n`);
  };

  for (const [name, scenario] of Object.entries(scenarios)) {
    it(`gets the same replies when it is said again: ${name}`, async () => {
      await check(name, await record(scenario));
    });
  }

  it("gets the same replies when it is said again: local-reply", async () => {
    await model.close();
    const local = { listener: "portable", body: PROMPT_JSON, status: 503 } as const;
    await check("local-reply", await record(local));
    model = await startModelServer(model.port);
  });
});
