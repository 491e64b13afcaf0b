/**
 * Limen on a port with TLS behind a real Envoy, with the transport socket that envoy/envoy.yaml shows as a comment:
 * who has the right certificate is served, over the same process as a Unix socket, and nobody else gets through.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { Authority, writePair } from "../envoy/certificates.ts";
import { type Bootstrap, profileFile } from "./bootstrap.ts";
import { envoyBinary } from "./envoy.ts";
import { prepareLimen } from "./limen.ts";
import { until } from "./process.ts";
import { send } from "./raw.ts";
import { ask } from "./sdk.ts";
import { type Stack, startStack } from "./stack.ts";

const NOTICED_LIMIT_MS = 10_000;
const PEER = "spiffe://prod/ns/gateways/sa/envoy";
const STRANGER = "spiffe://prod/ns/strangers/sa/envoy";
const CHAT = JSON.stringify({ model: "demo-1", messages: [{ role: "user", content: "Hi" }] });

/** The commented block of the file, with other paths. */
function shownSocket(files: Readonly<Record<string, string>>): Record<string, unknown> {
  const text = readFileSync(profileFile("envoy"), "utf8");
  const [block] = /^ {6}# transport_socket:\n(?: {6}# .*\n)+/m.exec(text) ?? [];
  assert.ok(block, "the file shows a transport socket");
  const plain = block.replace(/^ {6}# /gm, "");
  const placed = plain.replace(/\/etc\/envoy\/tls\/([a-z.]+)/g, (_, name) => {
    const path = files[name];
    assert.ok(path, `a file for ${name}`);
    return path;
  });
  return parse(placed).transport_socket;
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address() as AddressInfo;
  probe.close();
  await once(probe, "close");
  return port;
}

describe("Limen on a TLS port", () => {
  const dir = mkdtempSync(join(tmpdir(), "limen-tls-"));
  const authority = new Authority("test");
  const ca = join(dir, "ca.crt");
  const own = writePair(dir, "limen", authority.issue({ dns: ["limen.local"] }));
  const peer = writePair(dir, "envoy", authority.issue({ uris: [PEER] }));
  const stranger = writePair(dir, "stranger", authority.issue({ uris: [STRANGER] }));
  let stack: Stack;

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    writeFileSync(ca, authority.cert);
    const port = await freePort();
    const socketOf = ({ cert, key }: { cert: string; key: string }) =>
      shownSocket({ "envoy.crt": cert, "envoy.key": key, "ca.crt": ca });
    const nameless = socketOf(peer) as {
      typed_config: { common_tls_context: { tls_certificates?: unknown } };
    };
    delete nameless.typed_config.common_tls_context.tls_certificates;
    const sockets: Readonly<Record<string, unknown>> = {
      "limen-listed": socketOf(peer),
      "limen-unlisted": socketOf(stranger),
      "limen-nameless": nameless,
    };
    const tls = { ...own, ca, peers: [PEER] };
    stack = await startStack({
      config: { listen: ["unix://limen.sock", { address: `127.0.0.1:${port}`, tls }] },
      listeners: {
        listed: { port },
        unlisted: { port },
        nameless: { port },
        plaintext: { port },
      },
      edit: ({ static_resources }: Bootstrap) => {
        for (const cluster of static_resources.clusters) {
          const socket = sockets[cluster.name];
          if (socket !== undefined) cluster["transport_socket"] = socket;
        }
      },
    });
  });
  after(async () => {
    await stack?.close();
    rmSync(dir, { recursive: true });
  });

  it("serves the listed peer, whole answers and streams, and the socket beside it", async () => {
    for (const listener of ["listed", "limen"]) {
      for (const form of ["json", "stream"] as const) {
        const { text } = await ask("openai", form, stack.envoy.url(listener), "Good morning");
        assert.notEqual(text, "");
      }
    }
    const healthy = await stack.envoy.stat("cluster.limen-listed.membership_healthy");
    assert.equal(healthy, 1, "health checks come through the same door");
  });

  for (const listener of ["unlisted", "nameless", "plaintext"]) {
    it(`gives an Envoy that is ${listener} nothing, not even health`, async () => {
      stack.model.received.length = 0;
      const url = `${stack.envoy.url(listener)}/v1/chat/completions`;
      assert.equal((await send(url, { body: CHAT })).status, 503);
      assert.deepEqual(stack.model.received, []);
      await until(NOTICED_LIMIT_MS, "the health check to fail", async () => {
        const healthy = await stack.envoy.stat(`cluster.limen-${listener}.membership_healthy`);
        return healthy === 0 || undefined;
      });
    });
  }

  it("says that it refuses, and not whom", async () => {
    const diary = stack.limen.diary();
    assert.match(diary, /"event":"peer_not_listed"/);
    assert.match(diary, /"event":"tls_handshake_failed"/);
    assert.doesNotMatch(diary, /spiffe|strangers/);
    const metrics = await stack.limen.admin("/metrics");
    for (const error of ["not_listed", "handshake_failed"])
      assert.match(metrics, new RegExp(`^limen_peers_refused_total{error="${error}"} [1-9]`, "m"));
    const [, expiry] =
      /^limen_tls_certificate_expiry_timestamp_seconds (\S+)$/m.exec(metrics) ?? [];
    assert.ok(Number(expiry) > Date.now() / 1000 && Number.isFinite(Number(expiry)));
  });

  it("serves a renewed certificate after SIGHUP, and the old one while the new cannot serve", async () => {
    writeFileSync(own.key, "no key");
    stack.limen.signal("SIGHUP");
    await until(NOTICED_LIMIT_MS, "the reload to fail", () =>
      stack.limen.diary().includes("tls_reload_failed") ? true : undefined,
    );
    await ask("openai", "json", stack.envoy.url("listed"), "Good morning");
    writePair(dir, "limen", authority.issue({ dns: ["limen.local"] }));
    stack.limen.signal("SIGHUP");
    await until(NOTICED_LIMIT_MS, "the swap", () =>
      stack.limen.diary().includes("tls_swapped") ? true : undefined,
    );
    await ask("openai", "json", stack.envoy.url("listed"), "Good morning");
  });

  it("stops with TLS connections open as without, and serves them again", async () => {
    const stopped = stack.limen.stop();
    assert.equal(await stack.limen.exited(), 0);
    await stopped;
    await stack.limen.start();
    await until(NOTICED_LIMIT_MS, "Envoy to find Limen again", async () => {
      const { status } = await send(`${stack.envoy.url("listed")}/v1/models`, { method: "GET" });
      return status === 200 || undefined;
    });
  });

  it("does not start with certificates that cannot serve, and has written nothing by then", async () => {
    const files = { cert: peer.cert, key: own.key, ca, peers: [PEER] };
    const limen = await prepareLimen({
      dir: join(dir, "broken"),
      policy: join(dir, "never-read.yaml"),
      config: { listen: { address: "127.0.0.1:0", tls: files } },
    });
    await assert.rejects(
      () => limen.start(),
      /limen\.key: it is not the key of the first certificate/,
    );
    assert.equal(await limen.exited(), 1);
    assert.throws(() => readFileSync(join(limen.auditDir, "checkpoint")), { code: "ENOENT" });
  });
});
