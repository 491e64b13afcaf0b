import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { type ConnectionOptions, connect, type TLSSocket } from "node:tls";
import { systemClock } from "../../src/cli/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import { TlsPort, type TlsPortEvent } from "../../src/envoy/tls-port.ts";
import { Folder } from "../policy/files.ts";
import { Authority, type Pair, type Wanted, writePair } from "./certificates.ts";

const PEER = "spiffe://prod/ns/gateways/sa/envoy";
const authority = new Authority("test");
const stranger = new Authority("test"); // the same name, another key

/** A port with a listed URI and a listed DNS name; what is let in gets one byte and stays open. */
async function opened() {
  const folder = new Folder();
  const own = writePair(folder.path, "limen", authority.issue({ dns: ["limen.test"] }));
  const ca = folder.write("ca.crt", authority.cert);
  const events: TlsPortEvent[] = [];
  const timers: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock(),
    after: (_, then) => {
      timers.push(then);
      return () => undefined;
    },
  };
  const listen = { ...own, ca, host: "127.0.0.1", port: 0, peers: [PEER, "envoy.test"] };
  const port = new TlsPort(listen, { clock, listener: (event) => events.push(event) });
  const accepted: TLSSocket[] = [];
  const address = await port.open((socket) => {
    accepted.push(socket);
    socket.write("!");
  });
  const connectWith = (pair: Partial<Pair>, more: ConnectionOptions = {}): TLSSocket =>
    connect({
      host: "127.0.0.1",
      port: Number(address.split(":")[1]),
      ca: authority.cert,
      servername: "limen.test",
      ALPNProtocols: ["h2"],
      ...pair,
      ...more,
    });
  return {
    folder,
    port,
    address,
    events,
    accepted,
    connectWith,
    elapse: () => {
      for (const then of timers.splice(0)) then();
    },
    [Symbol.dispose]: () => {
      port.close();
      port.destroy();
      folder[Symbol.dispose]();
    },
  };
}

/** `once` would reject with the error that comes before the end. */
const closed = (socket: { once(event: "close", then: () => void): unknown }): Promise<void> =>
  new Promise((resolve) => {
    socket.once("close", resolve);
  });

/** "in" when a byte came, "out" when the connection ended without one. */
async function fate(socket: TLSSocket): Promise<"in" | "out"> {
  let came: "in" | "out" = "out";
  socket.once("data", () => {
    came = "in";
    socket.destroy();
  });
  socket.on("error", () => undefined);
  await closed(socket);
  return came;
}

describe("envoy/tls-port", () => {
  const rows: readonly (readonly [string, Wanted, Authority, "in" | "out"])[] = [
    ["a listed URI name", { uris: [PEER] }, authority, "in"],
    ["a listed DNS name", { dns: ["envoy.test"] }, authority, "in"],
    ["a listed name among others", { uris: ["https://x", PEER], dns: ["y"] }, authority, "in"],
    ["a URI name that is not listed", { uris: [`${PEER}2`] }, authority, "out"],
    ["a listed URI name as a DNS name", { dns: [PEER] }, authority, "out"],
    ["a listed DNS name as a URI name", { uris: ["envoy.test"] }, authority, "out"],
    ["a name in other letters", { uris: [PEER.toUpperCase()] }, authority, "out"],
    ["a wildcard", { dns: ["*.test", "*"] }, authority, "out"],
    ["no name at all", {}, authority, "out"],
    ["a name that reads like two", { dns: [`x, URI:${PEER}`] }, authority, "out"],
    ["a name that reads like three", { dns: [`x, URI:${PEER}, y`] }, authority, "out"],
    ["a listed name with more behind a NUL", { uris: [`${PEER}\0.evil`] }, authority, "out"],
    ["a listed name of another authority", { uris: [PEER] }, stranger, "out"],
    ["a certificate that has expired", { uris: [PEER], from: -3, to: -1 }, authority, "out"],
  ];
  for (const [name, wanted, issuer, expected] of rows) {
    it(`${expected === "in" ? "lets in" : "keeps out"} ${name}`, async () => {
      using setup = await opened();
      assert.equal(await fate(setup.connectWith(issuer.issue(wanted))), expected);
      assert.equal(setup.accepted.length, expected === "in" ? 1 : 0);
      assert.equal(setup.events.length, expected === "in" ? 0 : 1);
    });
  }

  it("keeps out, and says why, who has no certificate or an old one, TLS 1.1, another protocol, no TLS", async () => {
    using setup = await opened();
    const pair = authority.issue({ uris: [PEER] });
    assert.equal(await fate(setup.connectWith({})), "out");
    const old = {
      minVersion: "TLSv1.1",
      maxVersion: "TLSv1.1",
      ciphers: "ALL:@SECLEVEL=0",
    } as const;
    assert.equal(await fate(setup.connectWith(pair, old)), "out");
    assert.equal(await fate(setup.connectWith(pair, { ALPNProtocols: ["http/1.1"] })), "out");
    const plain = connectTcp(Number(setup.address.split(":")[1]), "127.0.0.1");
    plain.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    plain.resume();
    plain.on("error", () => undefined);
    await closed(plain);
    const expired = authority.issue({ uris: [PEER], from: -3, to: -1 });
    assert.equal(await fate(setup.connectWith(expired)), "out");
    assert.deepEqual(setup.accepted, []);
    assert.deepEqual(
      setup.events.map((event) => event.kind === "handshake_failed" && event.reason),
      [
        "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE",
        "ERR_SSL_UNSUPPORTED_PROTOCOL",
        "ERR_SSL_NO_APPLICATION_PROTOCOL",
        "ERR_SSL_WRONG_VERSION_NUMBER",
        "CERT_HAS_EXPIRED",
      ],
    );
    assert.equal(await fate(setup.connectWith(pair, { maxVersion: "TLSv1.2" })), "in");
  });

  it("looks at the certificate of every connection: no session is taken up again", async () => {
    using setup = await opened();
    const pair = authority.issue({ uris: [PEER] });
    for (const maxVersion of ["TLSv1.3", "TLSv1.2"] as const) {
      const first = setup.connectWith(pair, { maxVersion });
      let session: Buffer | undefined;
      first.on("session", (one) => {
        session = one;
      });
      await once(first, "data");
      session ??= first.getSession();
      first.destroy();
      const second = setup.connectWith(pair, { maxVersion, ...(session && { session }) });
      await once(second, "data");
      assert.equal(second.isSessionReused(), false, maxVersion);
      second.destroy();
    }
  });

  it("serves renewed files within a minute, keeps what is open, and tells of it", async () => {
    using setup = await opened();
    const before = setup.connectWith(authority.issue({ uris: [PEER] }));
    await once(before, "data");
    const renewed = authority.issue({ dns: ["limen.test"] });
    writePair(setup.folder.path, "limen", renewed);
    setup.folder.write("ca.crt", stranger.cert);
    setup.elapse();
    assert.deepEqual(setup.events, [{ kind: "swapped" }]);
    const after = setup.connectWith(stranger.issue({ uris: [PEER] }));
    await once(after, "data");
    const { subjectAltName, raw } = after.getPeerX509Certificate() ?? assert.fail();
    assert.equal(subjectAltName, "DNS:limen.test");
    assert.ok(renewed.cert.replace(/\n/g, "").includes(raw.toString("base64").slice(-40)));
    assert.equal(await fate(setup.connectWith(authority.issue({ uris: [PEER] }))), "out");
    assert.equal(before.destroyed, false);
    before.destroy();
    after.destroy();
  });

  it("keeps the last good files when new ones cannot serve, and says so once", async () => {
    using setup = await opened();
    setup.folder.write("limen.key", authority.issue({}).key);
    setup.elapse();
    setup.port.reload();
    const [event, ...more] = setup.events;
    assert.ok(event?.kind === "reload_failed");
    assert.match(event.error.message, /limen\.key: it is not the key of the first certificate/);
    assert.deepEqual(more, []);
    assert.equal(setup.port.reloadFailed, true);
    assert.equal(await fate(setup.connectWith(authority.issue({ uris: [PEER] }))), "in");
    writePair(setup.folder.path, "limen", authority.issue({ dns: ["limen.test"], to: 9 }));
    setup.elapse();
    assert.equal(setup.port.reloadFailed, false);
    const days = (setup.port.expirySeconds * 1000 - Date.now()) / 86_400_000;
    assert.ok(days > 8.9 && days < 9.1, `${days} days`);
  });

  it("says that an address is taken", async () => {
    using setup = await opened();
    const own = writePair(setup.folder.path, "own", authority.issue({}));
    const [host = "", port] = setup.address.split(":");
    const listen = {
      ...own,
      ca: `${setup.folder.path}/ca.crt`,
      host,
      port: Number(port),
      peers: ["x"],
    };
    const second = new TlsPort(listen, { clock: systemClock(), listener: () => undefined });
    await assert.rejects(() => second.open(() => undefined), { code: "EADDRINUSE" });
  });

  it("ends what is open when it is told to", async () => {
    using setup = await opened();
    const socket = setup.connectWith(authority.issue({ uris: [PEER] }));
    socket.on("error", () => undefined);
    await once(socket, "data");
    setup.port.close();
    const gone = closed(socket);
    setup.port.destroy();
    await gone;
  });

  it("shows a caller that it keeps out nothing but the end", async () => {
    using setup = await opened();
    const session = connectHttp2(`https://${setup.address}`, {
      ca: authority.cert,
      servername: "limen.test",
      ...authority.issue({ uris: ["spiffe://prod/other"] }),
    });
    session.on("error", () => undefined);
    let settings = 0;
    session.on("remoteSettings", () => {
      settings += 1;
    });
    await closed(session);
    assert.equal(settings, 0);
  });
});
