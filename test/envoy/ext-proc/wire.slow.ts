/**
 * Messages as a real Envoy sends them. `UPDATE_GOLDEN=1` writes those of two exchanges to test/vectors/ext-proc.json,
 * which `wire.test.ts` reads; every run compares the two decoders on what the Envoy at hand sends.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceDefinition,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { EXT_PROC_SERVICE, externalProcessor } from "../../../src/envoy/proto.ts";
import { type Envoy, envoyBinary, startEnvoy } from "../../real/envoy.ts";
import { type ModelServer, startModelServer } from "../../real/model-server.ts";
import { ask } from "../../real/sdk.ts";
import { agreeTo, bothReadings, VECTORS } from "./readings.ts";

describe("ext_proc on the wire", () => {
  const recorded: Buffer[] = [];
  let dir: string;
  let model: ModelServer;
  let server: Server;
  let envoy: Envoy;

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    const { Process } = externalProcessor;
    assert.ok(Process);
    const raw: ServiceDefinition = {
      Process: { ...Process, requestDeserialize: (bytes) => bytes },
    };
    dir = mkdtempSync(join(tmpdir(), "limen-wire-"));
    server = new Server();
    new HealthImplementation({ "": "SERVING", [EXT_PROC_SERVICE]: "SERVING" }).addToServer(server);
    server.addService(raw, {
      Process(call: ServerDuplexStream<Buffer, object>) {
        call.on("data", (bytes: Buffer) => {
          recorded.push(bytes);
          call.write(agreeTo(bytes));
        });
        call.on("end", () => call.end());
        call.on("error", () => undefined);
      },
    });
    const path = join(dir, "filter.sock");
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    model = await startModelServer();
    envoy = await startEnvoy({ dir, modelPort: model.port, listeners: { filtered: { path } } });
  });
  after(async () => {
    await envoy?.stop();
    server?.forceShutdown();
    await model?.close();
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });

  it("reads the same with two decoders, for whole and streamed exchanges", async () => {
    await ask("openai", "json", envoy.url("filtered"), "Good morning");
    await ask("openai", "stream", envoy.url("filtered"), "Good morning");
    const kinds = new Set(recorded.map((bytes) => bothReadings(bytes).kind));
    assert.deepEqual([...kinds].sort(), [
      "request_body",
      "request_headers",
      "response_body",
      "response_headers",
    ]);
    if (process.env["UPDATE_GOLDEN"] === "1") {
      const vectors = recorded.map((bytes) => bytes.toString("base64"));
      writeFileSync(VECTORS, `${JSON.stringify(vectors, null, 2)}\n`);
    }
  });
});
