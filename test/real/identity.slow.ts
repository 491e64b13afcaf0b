/**
 * Who is talking, as a real Envoy says it: certificates of clients, tokens that jwt_authn has verified, and a header
 * that Envoy takes from every request and fills from the token. Each picks a policy; nobody else has one.
 */
import assert from "node:assert/strict";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { Authority, type Pair, writePair } from "../envoy/certificates.ts";
import { type Bootstrap, managerOf } from "./bootstrap.ts";
import { envoyBinary } from "./envoy.ts";
import { type Stack, startStack } from "./stack.ts";

const EXTENSIONS = "type.googleapis.com/envoy.extensions";
const ISSUER = "https://issuer.test";
const authority = new Authority("test");
const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const policy = (name: string, selector: object): string =>
  stringify({
    apiVersion: "limen.dev/v1alpha1",
    kind: "BoundaryPolicy",
    metadata: { name },
    spec: { selector, action: { default: "allow" } },
  });
const POLICIES = [
  policy("by-certificate", { identities: { spiffe: ["spiffe://prod/ns/agents/*"] } }),
  policy("by-token", { identities: { claims: { azp: ["support-bot"], groups: ["staff"] } } }),
  policy("by-tenant", { tenants: ["acme-corp"] }),
].join("---\n");

const base64url = (value: object): string =>
  Buffer.from(JSON.stringify(value)).toString("base64url");
function tokenOf(claims: object, key: KeyObject = keys.privateKey): string {
  const signed = `${base64url({ alg: "ES256", kid: "k" })}.${base64url({ iss: ISSUER, ...claims })}`;
  const signature = sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

/** TLS with certificates that are verified when they come; a token that may be missing, not wrong. */
function identified(
  { static_resources }: Bootstrap,
  files: { readonly own: { cert: string; key: string }; readonly ca: string },
): void {
  const listener = static_resources.listeners.find(({ name }) => name === "limen");
  const [chain] = listener?.filter_chains ?? [];
  assert.ok(listener && chain);
  chain["transport_socket"] = {
    name: "envoy.transport_sockets.tls",
    typed_config: {
      "@type": `${EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext`,
      common_tls_context: {
        tls_certificates: [
          {
            certificate_chain: { filename: files.own.cert },
            private_key: { filename: files.own.key },
          },
        ],
        validation_context: { trusted_ca: { filename: files.ca } },
      },
    },
  };
  const manager = managerOf(listener);
  manager["early_header_mutation_extensions"] = [
    {
      name: "envoy.http.early_header_mutation.header_mutation",
      typed_config: {
        "@type": `${EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation`,
        mutations: [{ remove: "x-tenant" }],
      },
    },
  ];
  const provider = {
    issuer: ISSUER,
    local_jwks: {
      inline_string: JSON.stringify({
        keys: [{ ...keys.publicKey.export({ format: "jwk" }), kid: "k", alg: "ES256" }],
      }),
    },
    payload_in_metadata: "jwt",
    claim_to_headers: [{ header_name: "x-tenant", claim_name: "tenant" }],
  };
  manager.http_filters.unshift({
    name: "envoy.filters.http.jwt_authn",
    typed_config: {
      "@type": `${EXTENSIONS}.filters.http.jwt_authn.v3.JwtAuthentication`,
      providers: { test: provider },
      rules: [
        {
          match: { prefix: "/" },
          requires: {
            requires_any: { requirements: [{ provider_name: "test" }, { allow_missing: {} }] },
          },
        },
      ],
    },
  });
}

/** As a waypoint: no TLS of its own, and a name that the listener in front kept. Here it comes by a header. */
function tunnelled({ static_resources: { listeners } }: Bootstrap): void {
  const shipped = listeners.find(({ name }) => name === "limen");
  assert.ok(shipped);
  const listener = { ...structuredClone(shipped), name: "tunnel" };
  const { http_filters: filters } = managerOf(listener);
  const limen = filters.find(({ name }) => name === "limen.ext_proc");
  const attributes = limen?.typed_config["request_attributes"] as string[];
  attributes.push("filter_state['io.istio.peer_principal']");
  filters.unshift({
    name: "tunnel",
    typed_config: {
      "@type": `${EXTENSIONS}.filters.http.set_filter_state.v3.Config`,
      on_request_headers: [
        {
          object_key: "io.istio.peer_principal",
          factory_key: "envoy.string",
          format_string: { text_format_source: { inline_string: "%REQ(X-PEER)%" } },
        },
      ],
    },
  });
  listeners.push(listener);
}

describe("identity through Envoy", () => {
  const dir = mkdtempSync(join(tmpdir(), "limen-identity-"));
  let stack: Stack;

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    const own = writePair(dir, "envoy", authority.issue({ dns: ["envoy.test"] }));
    const ca = join(dir, "ca.crt");
    writeFileSync(ca, authority.cert);
    writeFileSync(join(dir, "policy.yaml"), POLICIES);
    stack = await startStack({
      policy: join(dir, "policy.yaml"),
      config: { trust: { headers: { tenant: "x-tenant" } } },
      edit: (bootstrap) => {
        tunnelled(bootstrap);
        identified(bootstrap, { own, ca });
      },
    });
  });
  after(async () => {
    await stack?.close();
    rmSync(dir, { recursive: true });
  });

  type Sent = {
    readonly pair?: Pair;
    readonly headers?: Readonly<Record<string, string | string[]>>;
  };
  /** Status, and the code of a refusal. */
  const ask = ({ pair, headers }: Sent): Promise<string> =>
    new Promise((resolve, reject) => {
      const { port } = new URL(stack.url);
      const options = { ca: authority.cert, servername: "envoy.test", agent: false, ...pair };
      const outgoing = request(`https://127.0.0.1:${port}/v1/chat/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        ...options,
      });
      outgoing.on("error", reject).on("response", (incoming) => {
        let body = "";
        incoming.on("data", (chunk) => (body += chunk));
        incoming.on("end", () => {
          const [, code = ""] = /"code":"(\w+)"/.exec(body) ?? [];
          resolve(`${incoming.statusCode} ${code}`.trim());
        });
      });
      outgoing.end(
        JSON.stringify({ model: "demo-1", messages: [{ role: "user", content: "Hi" }] }),
      );
    });
  const bearer = (claims: object, key?: KeyObject) => ({
    authorization: `Bearer ${tokenOf(claims, key)}`,
  });
  const agent = authority.issue({ uris: ["spiffe://prod/ns/agents/sa/bot"] });
  const other = authority.issue({ uris: ["spiffe://prod/ns/other/sa/bot"] });
  const staff = { azp: "support-bot", groups: ["other", "staff"] };

  const rows: readonly (readonly [string, string, Sent])[] = [
    ["nobody", "403 no_policy", {}],
    ["a certificate that a policy names", "200", { pair: agent }],
    ["a certificate that none names", "403 no_policy", { pair: other }],
    [
      "a certificate whose second name a policy names",
      "403 no_policy",
      {
        pair: authority.issue({
          uris: ["spiffe://prod/ns/other/sa/bot", "spiffe://prod/ns/agents/sa/bot"],
        }),
      },
    ],
    [
      "a DNS name that looks like one",
      "403 no_policy",
      { pair: authority.issue({ dns: ["spiffe://prod/ns/agents/sa/bot"] }) },
    ],
    [
      "a path that goes up",
      "403 no_policy",
      { pair: authority.issue({ uris: ["spiffe://prod/ns/agents/../x"] }) },
    ],
    ["a token with the claims", "200", { headers: bearer(staff) }],
    ["a token with one claim of two", "403 no_policy", { headers: bearer({ azp: "support-bot" }) }],
    ["a claim that is a number", "403 no_policy", { headers: bearer({ ...staff, azp: 5 }) }],
    [
      "a claim that is an object",
      "403 no_policy",
      { headers: bearer({ ...staff, azp: { "support-bot": "support-bot" } }) },
    ],
    [
      "a token beyond all measure",
      "403 no_policy",
      { headers: bearer({ ...staff, more: Array.from({ length: 1_100 }, () => "g") }) },
    ],
    [
      "a token of another key",
      "401",
      { headers: bearer(staff, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey) },
    ],
    ["a tenant that the token says", "200", { headers: bearer({ tenant: "acme-corp" }) }],
    [
      "a tenant that only the client says",
      "403 no_policy",
      { headers: { "x-tenant": "acme-corp" } },
    ],
    [
      "a tenant that client and token say",
      "403 no_policy",
      { headers: { ...bearer({ tenant: "else" }), "x-tenant": ["acme-corp", "acme-corp"] } },
    ],
    [
      "a certificate that the client only writes down",
      "403 no_policy",
      { headers: { "x-forwarded-client-cert": "URI=spiffe://prod/ns/agents/sa/bot" } },
    ],
  ];
  for (const [name, expected, sent] of rows) {
    it(`${name}: ${expected}`, async () => assert.equal(await ask(sent), expected));
  }

  for (const [peer, expected] of [
    ["spiffe://prod/ns/agents/sa/bot", 200],
    ["spiffe://prod/ns/other/sa/bot", 403],
    ["spiffe://prod/ns/agents/sa/bot,spiffe://prod/ns/other/sa/bot", 403],
    [undefined, 403],
  ] as const) {
    it(`${peer ?? "nobody"} in a tunnel: ${expected}`, async () => {
      const headers = { "content-type": "application/json", ...(peer && { "x-peer": peer }) };
      const body = JSON.stringify({
        model: "demo-1",
        messages: [{ role: "user", content: "Hi" }],
      });
      const url = `${stack.envoy.url("tunnel")}/v1/chat/completions`;
      const { status } = await fetch(url, { method: "POST", headers, body });
      assert.equal(status, expected);
    });
  }

  it("a client's own headers of Limen's names never reach the provider", async () => {
    stack.model.received.length = 0;
    const headers = { "x-limen-approval": "yes", "x-limen-tenant": "acme-corp" };
    assert.equal(await ask({ pair: agent, headers }), "200");
    const [received] = stack.model.received;
    assert.ok(received);
    assert.deepEqual(
      Object.keys(received.headers).filter((name) => name.startsWith("x-limen")),
      [],
    );
  });

  it("none of this is in records, diary, metrics or status", async () => {
    const files = readdirSync(stack.limen.auditDir, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1"));
    const pages = [await stack.limen.admin("/metrics"), await stack.limen.admin("/status")];
    const all = [...files, ...pages, stack.limen.diary()].join("\n");
    assert.match(all, /no_policy/); // so that there is something to search
    assert.doesNotMatch(all, /spiffe:|support-bot|acme-corp|staff|agents/);
  });
});
