import assert from "node:assert/strict";
import {
  type Client,
  status as Code,
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type StatusObject,
} from "@grpc/grpc-js";
import { LimenError } from "../../src/core/errors.ts";
import { StatusError, serveStream, type Talk } from "../../src/envoy/call.ts";

const plain = (value: Buffer): Buffer => value;
const service: ServiceDefinition = {
  Talk: {
    path: "/test.Talk/Talk",
    requestStream: true,
    responseStream: true,
    requestSerialize: plain,
    requestDeserialize: plain,
    responseSerialize: plain,
    responseDeserialize: plain,
    originalName: "talk",
  },
};

type Seen = { readonly code: number; readonly details: string; readonly replies: string[] };

/** Runs one call against `talk` over loopback: the client sends "a", "b", half-closes, reads to the end. */
async function call(talk: Talk<Buffer, Buffer>): Promise<Seen & { readonly failures: unknown[] }> {
  const failures: unknown[] = [];
  const server = new Server();
  server.addService(service, {
    Talk: (stream: Parameters<typeof serveStream<Buffer, Buffer>>[0]) =>
      serveStream(stream, talk, (error) => failures.push(error)),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const TestClient = makeGenericClientConstructor(service, "test.Talk");
  const client: Client = new TestClient(`127.0.0.1:${port}`, credentials.createInsecure());
  try {
    const stream = client.makeBidiStreamRequest("/test.Talk/Talk", plain, plain);
    const replies: string[] = [];
    stream.on("data", (reply: Buffer) => replies.push(String(reply)));
    stream.on("error", () => {});
    const ended = new Promise<StatusObject>((resolve) => stream.on("status", resolve));
    stream.write(Buffer.from("a"));
    stream.write(Buffer.from("b"));
    stream.end();
    const status = await ended;
    return { code: status.code, details: status.details, replies, failures };
  } finally {
    client.close();
    server.forceShutdown();
  }
}

describe("call", () => {
  it("ends OK when the peer has half-closed and everything is answered", async () => {
    const seen = await call(async (from, { send }) => {
      for await (const message of from) await send(Buffer.from(`${message}!`));
    });
    assert.deepEqual(seen, { code: Code.OK, details: "OK", replies: ["a!", "b!"], failures: [] });
  });

  it("never ends OK when the handler leaves before the peer is done", async () => {
    const seen = await call(async (from) => {
      for await (const _ of from) return;
    });
    assert.equal(seen.code, Code.INTERNAL);
    assert.equal(seen.failures.length, 1);
  });

  it("turns a throw into INTERNAL without its message", async () => {
    const seen = await call(async (from) => {
      for await (const message of from) throw new Error(`secret ${message}`);
    });
    assert.equal(seen.code, Code.INTERNAL);
    assert.equal(seen.details, "limen: internal error");
  });

  it("turns a broken protocol into INVALID_ARGUMENT", async () => {
    const seen = await call(async () => {
      throw new LimenError("protocol", { where: "w", what: "x", fix: "y" });
    });
    assert.equal(seen.code, Code.INVALID_ARGUMENT);
  });

  it("fails at once when told to, while the reader still waits for the peer", async () => {
    const seen = await call(async (from, { fail }) => {
      fail(new StatusError(Code.UNAVAILABLE, "limen: no verdict in time"));
      for await (const _ of from);
    });
    assert.equal(seen.code, Code.UNAVAILABLE);
    assert.equal(seen.details, "limen: no verdict in time");
    assert.equal(seen.failures.length, 1);
  });

  it("sends one status when it fails twice", async () => {
    const seen = await call(async (_from, { fail }) => {
      fail(new StatusError(Code.UNAVAILABLE, "first"));
      throw new Error("second");
    });
    assert.equal(seen.details, "first");
    assert.equal(seen.failures.length, 1);
  });
});
