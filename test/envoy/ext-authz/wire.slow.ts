/**
 * Checks as a real Envoy sends them. `UPDATE_GOLDEN=1` writes them to test/vectors/ext-authz.json, which
 * `wire.test.ts` reads; every run compares the two decoders on what the Envoy at hand sends, and shows that Envoy
 * understands the replies.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServiceDefinition,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { decisionId } from "../../../src/core/brand.ts";
import { encodeReply } from "../../../src/envoy/ext-authz/encode.ts";
import { authorization, EXT_AUTHZ_SERVICE } from "../../../src/envoy/proto.ts";
import { type Bootstrap, managerOf } from "../../real/bootstrap.ts";
import { type Envoy, envoyBinary, startEnvoy } from "../../real/envoy.ts";
import { type ModelServer, startModelServer } from "../../real/model-server.ts";
import { send } from "../../real/raw.ts";
import { bothReadings, VECTORS } from "./readings.ts";

const PATH = "/v1/chat/completions?q=1";
const PASS = encodeReply({
  kind: "pass",
  id: decisionId("0198"),
  reason: undefined,
  removeHeaders: ["x-limen-a"],
});
/** The listeners beside the file as it is, each with one thing changed. */
type Filter = { with_request_body?: Record<string, unknown>; [field: string]: unknown };
const CHANGES: Readonly<Record<string, (filter: Filter) => void>> = {
  whole: () => {},
  text: (filter) => {
    filter["encode_raw_headers"] = false;
    filter.with_request_body = { ...filter.with_request_body, pack_as_bytes: false };
  },
  part: (filter) => {
    const limits = { max_request_bytes: 8, allow_partial_message: true };
    filter.with_request_body = { ...filter.with_request_body, ...limits };
  },
  unread: (filter) => {
    delete filter.with_request_body;
  },
};

function edit({ static_resources: { listeners } }: Bootstrap): void {
  for (const listener of listeners) {
    const [filter] = managerOf(listener).http_filters;
    CHANGES[listener.name]?.(filter?.typed_config ?? {});
  }
}

describe("ext_authz on the wire", () => {
  const recorded: Buffer[] = [];
  /** How long the stand-in for Limen takes. */
  let thinkMs = 0;
  let dir: string;
  let model: ModelServer;
  let server: Server;
  let envoy: Envoy;

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    const { Check } = authorization;
    assert.ok(Check);
    const raw: ServiceDefinition = { Check: { ...Check, requestDeserialize: (bytes) => bytes } };
    dir = mkdtempSync(join(tmpdir(), "limen-wire-"));
    server = new Server();
    new HealthImplementation({ [EXT_AUTHZ_SERVICE]: "SERVING" }).addToServer(server);
    server.addService(raw, {
      Check(call: ServerUnaryCall<Buffer, object>, reply: sendUnaryData<object>) {
        recorded.push(call.request);
        setTimeout(() => reply(null, PASS), thinkMs);
      },
    });
    const path = join(dir, "filter.sock");
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    model = await startModelServer();
    const gate = { profile: "ext-authz", endpoints: [{ path }] } as const;
    const listeners = Object.fromEntries(Object.keys(CHANGES).map((name) => [name, gate]));
    envoy = await startEnvoy({ dir, modelPort: model.port, listeners, edit });
  });
  after(async () => {
    await envoy?.stop();
    server?.forceShutdown();
    await model?.close();
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });
  beforeEach(() => {
    recorded.length = 0;
    thinkMs = 0;
  });

  const body = '{"model":"demo-1","messages":[{"role":"user","content":"hello"}]}';
  const forged = { "x-envoy-auth-partial-body": "false", "x-limen-a": "1", cookie: "not for us" };
  const rows = [
    {
      listener: "whole",
      // With a text for a body, Node would write the headers in UTF-8 as well.
      request: { body: Buffer.from(body), headers: { ...forged, "x-odd": "caf\u00e9" } },
    },
    { listener: "whole", request: { headers: { ...forged, "content-length": "0" } } },
    { listener: "whole", request: { body: Buffer.from([0x7b, 0xff, 0x7d]) } },
    { listener: "text", request: { body: Buffer.from([0x7b, 0xff, 0x7d]) } },
    { listener: "part", request: { body } },
    { listener: "unread", request: { body, headers: forged } },
  ] as const;
  const kinds = ["whole", "hidden", "whole", "hidden", "partial", "hidden"];

  it("reads the same with two decoders, and is told the truth about bodies", async () => {
    for (const { listener, request } of rows) await send(envoy.url(listener) + PATH, request);
    const read = recorded.map((bytes) => bothReadings(bytes).read);
    assert.deepEqual(
      read.map((one) => one.body.kind),
      kinds,
    );
    for (const { head } of read) {
      assert.deepEqual([head.method, head.path, head.route], ["POST", PATH, "llm-main"]);
      assert.ok(!head.headers.has("cookie"));
    }
    if (process.env["UPDATE_GOLDEN"] === "1") {
      const vectors = recorded.map((bytes) => bytes.toString("base64"));
      writeFileSync(VECTORS, `${JSON.stringify(vectors, null, 2)}\n`);
    }
  });

  it("may take longer than a retry would, and is asked once", async () => {
    thinkMs = 700; // the time of one attempt is what retry_back_off.max_interval says
    const { status } = await send(envoy.url("whole") + PATH, { body });
    assert.deepEqual([status, recorded.length], [200, 1]);
  });

  it("is understood: what is to be removed goes, what is to be said arrives", async () => {
    const { status, headers } = await send(envoy.url("whole") + PATH, { body, headers: forged });
    assert.deepEqual([status, headers["x-limen-decision"]], [200, "allow"]);
    assert.equal(headers["x-limen-decision-id"], "0198");
    const upstream = model.received.at(-1);
    assert.equal(upstream?.headers["x-limen-a"], undefined);
    assert.deepEqual([upstream?.body, upstream?.headers["cookie"]], [body, forged.cookie]);
  });
});
