import assert from "node:assert/strict";
import { resolve } from "node:path";
import { type Config, loadConfig } from "../src/config.ts";
import type { Env } from "../src/config-values.ts";
import { LimenError } from "../src/core/errors.ts";
import { DEFAULT_POLICY } from "../src/policy/store.ts";
import { Folder } from "./policy/files.ts";

/** The configuration of a file `limen.yaml` in a folder of its own, whose path stands as `BASE`. */
function load(text: string, env: Env = {}): Config {
  using folder = new Folder();
  const config = loadConfig(folder.write("limen.yaml", text), env);
  return JSON.parse(JSON.stringify(config).replaceAll(folder.path, "/BASE"));
}

function problemsOf(text: string, env: Env = {}): readonly string[] {
  using folder = new Folder();
  try {
    loadConfig(folder.write("limen.yaml", text), env);
    return [];
  } catch (error) {
    assert.ok(error instanceof LimenError);
    assert.equal(error.code, "config_invalid");
    return error.message.replaceAll(`${folder.path}/`, "").split("\n");
  }
}

describe("config", () => {
  it("works without any file, on loopback, with the policy that ships and a key that is made", () => {
    const dir = resolve("limen-data/audit");
    assert.deepEqual(loadConfig(undefined, {}), {
      listen: [{ kind: "plaintext", host: "127.0.0.1", port: 9002, trusted: "loopback" }],
      admin: { host: "127.0.0.1", port: 9003 },
      policies: [DEFAULT_POLICY],
      audit: {
        dir,
        origin: "localhost/limen",
        key: { file: `${dir}.key`, ifMissing: "make" },
      },
      trust: { headers: [], tenant: undefined, profile: undefined, jwtPayload: "jwt" },
      detection: { model: { kind: "default" }, threads: undefined },
      drain: { seconds: 20 },
    });
  });

  it("has the same defaults for an empty file", () => {
    const { listen, admin, drain } = loadConfig(undefined, {});
    const empty = load("# nothing\n");
    assert.deepEqual([empty.listen, empty.admin, empty.drain], [listen, admin, drain]);
  });

  it("reads every key, with paths from the folder of the file", () => {
    const text = `
apiVersion: limen.dev/v1alpha1
kind: Boundary
listen:
  - unix:///run/limen/limen.sock
  - unix://limen.sock
  - "[::1]:0"
  - localhost:9002
  - {address: "0.0.0.0:9004", transport: mesh}
  - {address: "limen.example:9005", tls: {cert: a.crt, key: /etc/a.key, ca: ca.crt, peers: [spiffe://x/envoy]}}
admin: 0.0.0.0:9003
policies: [policy.d/, /etc/limen/more.yaml]
audit: {dir: log, origin: "example.com/limen/\${POD}/1", key: {file: "keys/\${POD}.key"}}
detection: {model: ./weights, threads: 2}
trust: {headers: {tenant: x-tenant, team: x-team, unit: x-team}, jwtPayload: payload}
drain: {seconds: 0}
`;
    assert.deepEqual(load(text, { POD: "gateway-0" }), {
      listen: [
        { kind: "unix", path: "/run/limen/limen.sock" },
        { kind: "unix", path: "/BASE/limen.sock" },
        { kind: "plaintext", host: "::1", port: 0, trusted: "loopback" },
        { kind: "plaintext", host: "localhost", port: 9002, trusted: "loopback" },
        { kind: "plaintext", host: "0.0.0.0", port: 9004, trusted: "mesh" },
        {
          kind: "tls",
          host: "limen.example",
          port: 9005,
          cert: "/BASE/a.crt",
          key: "/etc/a.key",
          ca: "/BASE/ca.crt",
          peers: ["spiffe://x/envoy"],
        },
      ],
      admin: { host: "0.0.0.0", port: 9003 },
      policies: ["/BASE/policy.d", "/etc/limen/more.yaml"],
      audit: {
        dir: "/BASE/log",
        origin: "example.com/limen/gateway-0/1",
        key: { file: "/BASE/keys/gateway-0.key", ifMissing: "fail" },
      },
      trust: { headers: ["x-tenant", "x-team"], tenant: "x-tenant", jwtPayload: "payload" },
      detection: { model: { kind: "folder", path: "/BASE/weights" }, threads: 2 },
      drain: { seconds: 0 },
    });
  });

  const models: readonly (readonly [string, Config["detection"]["model"]])[] = [
    ["default", { kind: "default" }],
    ["off", { kind: "off" }],
    ["./off", { kind: "folder", path: "/BASE/off" }],
  ];
  for (const [written, model] of models) {
    it(`reads the detector's model ${written}`, () => {
      assert.deepEqual(load(`detection: {model: ${written}}\n`).detection.model, model);
    });
  }

  it("takes one address without a list", () => {
    assert.deepEqual(load("listen: 127.0.0.5:1\n").listen, [
      { kind: "plaintext", host: "127.0.0.5", port: 1, trusted: "loopback" },
    ]);
  });

  const open = (host: string): string =>
    `limen.yaml:1:9 listen: plaintext on ${host}: whoever reaches this port is believed about identity and route; listen on loopback or a Unix socket, or write {address: "${host}:1", transport: mesh} if a mesh authenticates the callers`;
  const rows: readonly (readonly [string, string, string])[] = [
    ["plaintext on every address", "listen: 0.0.0.0:1", open("0.0.0.0")],
    ["plaintext on another host's name", "listen: limen.example:1", open("limen.example")],
    ["a name that begins like loopback", "listen: 127.0.0.1.example:1", open("127.0.0.1.example")],
    [
      "an address that is mapped from another family",
      'listen: "[::ffff:10.0.0.1]:1"',
      open("::ffff:10.0.0.1"),
    ],
    [
      "an address without a port",
      "listen: localhost",
      'limen.yaml:1:9 listen: "localhost" is not an address; write host:port, like 127.0.0.1:9002 or [::1]:9002',
    ],
    [
      "a port that does not exist",
      "admin: 127.0.0.1:65536",
      'limen.yaml:1:8 admin: "127.0.0.1:65536" is not an address; write host:port, like 127.0.0.1:9002 or [::1]:9002',
    ],
    [
      "a map without transport or tls",
      'listen: [{address: "a:1"}]',
      "limen.yaml:1:10 listen[0]: an address needs one of tls and transport; add tls: {cert, key, ca, peers}, or transport: mesh",
    ],
    [
      "tls beside a transport",
      "listen: {address: a:1, transport: mesh, tls: {cert: a, key: b, ca: c, peers: [p]}}",
      "limen.yaml:1:9 listen: an address needs one of tls and transport; add tls: {cert, key, ca, peers}, or transport: mesh",
    ],
    [
      "tls without peers",
      "listen: {address: a:1, tls: {cert: a, key: b, ca: c, peers: []}}",
      "limen.yaml:1:61 listen.tls.peers: the list is empty; write an entry, or leave an optional key out",
    ],
    [
      "a peer with a wildcard",
      "listen: {address: a:1, tls: {cert: a, key: b, ca: c, peers: [spiffe://prod/*]}}",
      'limen.yaml:1:62 listen.tls.peers[0]: "spiffe://prod/*" is not a name of a certificate; write each name out, like spiffe://prod/ns/gateways/sa/envoy or envoy.example.com',
    ],
    [
      "a peer that could be two entries of a certificate",
      'listen: {address: a:1, tls: {cert: a, key: b, ca: c, peers: ["a, URI:b"]}}',
      'limen.yaml:1:62 listen.tls.peers[0]: "a, URI:b" is not a name of a certificate; write each name out, like spiffe://prod/ns/gateways/sa/envoy or envoy.example.com',
    ],
    [
      "trust in a header that proxies only add to",
      "trust: {headers: {client: x-forwarded-client-cert}}",
      'limen.yaml:1:27 trust.headers.client: "x-forwarded-client-cert" cannot be trusted: the certificate is read from the connection itself; leave it out',
    ],
    [
      "trust in a header of Limen's own",
      "trust: {headers: {tenant: x-limen-tenant}}",
      'limen.yaml:1:27 trust.headers.tenant: "x-limen-tenant" cannot be trusted: these names are Limen\'s own; leave it out',
    ],
    [
      "a trusted header in another spelling",
      "trust: {headers: {tenant: X_Tenant}}",
      'limen.yaml:1:27 trust.headers.tenant: "X_Tenant" is not the name of a header; write lower-case letters, digits and hyphens, like x-tenant',
    ],
    [
      "trust that is a list",
      "trust: {headers: [x-tenant]}",
      "limen.yaml:1:18 trust.headers: a list where a map belongs; write key: value pairs",
    ],
    [
      "a name of the token's claims that is empty",
      'trust: {jwtPayload: ""}',
      "limen.yaml:1:21 trust.jwtPayload: the text is empty; write at least one character",
    ],
    [
      "a socket path that the system would cut",
      `listen: unix:///${"s".repeat(107)}`,
      "limen.yaml:1:9 listen: the path of the socket is longer than 107 bytes; choose a shorter one: the system cuts it",
    ],
    [
      "an origin with a scheme",
      "audit: {origin: https://example.com/limen}",
      'limen.yaml:1:17 audit.origin: "https://example.com/limen" is not an origin; write it like example.com/limen/gateway-0/1: letters, digits, dots, hyphens and slashes',
    ],
    [
      "a variable that is not set",
      `audit: {origin: "example.com/\${POD}"}`,
      "limen.yaml:1:17 audit.origin: the environment variable POD is not set; set it, or write the value",
    ],
    [
      "an empty list of policies",
      "policies: []",
      "limen.yaml:1:11 policies: the list is empty; write an entry, or leave an optional key out",
    ],
    [
      "an unknown key",
      "polices: [a]",
      'limen.yaml:1:1 polices: "polices" is not a known key; write "policies"',
    ],
    [
      "a second document",
      "drain: {seconds: 1}\n---\nkind: Boundary",
      "limen.yaml:3:1: a second document; write one document per file",
    ],
    [
      "a policy",
      "kind: BoundaryPolicy",
      'limen.yaml:1:7 kind: "BoundaryPolicy" is not the kind of this document; use Boundary',
    ],
  ];
  for (const [name, text, message] of rows) {
    it(`refuses ${name}`, () => assert.deepEqual(problemsOf(text), [message]));
  }

  it("reports everything that is wrong at once", () => {
    assert.equal(problemsOf("listen: [a, b]\nadmin: c\nfoo: 1\ndrain: {seconds: -1}\n").length, 5);
  });

  it("does not read what may never end", () => {
    for (const file of ["/dev/zero", "/dev", "/proc/self/fd"]) {
      assert.throws(() => loadConfig(file, {}), { code: "file_unreadable", message: /not a file/ });
    }
  });

  it("says what to do about a file that is not there", () => {
    assert.throws(() => loadConfig("/nowhere/limen.yaml", {}), {
      code: "file_unreadable",
      message:
        "/nowhere/limen.yaml: there is no such file; check the path, or run `limen init` to get a commented one",
    });
  });

  it("is frozen all the way down", () => {
    const config = loadConfig(undefined, {});
    const parts = [
      config,
      config.listen,
      config.listen[0],
      config.audit,
      config.audit.key,
      config.policies,
    ];
    assert.ok(parts.every(Object.isFrozen));
  });
});
