/**
 * Who asks, as the gate knows it through a real Envoy: the name in a certificate that Envoy has verified, the claims
 * of a token that Envoy has verified, and nothing that a client writes by itself.
 */
import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Authority, type Pair } from "../envoy/certificates.ts";
import { type Bootstrap, managerOf } from "./bootstrap.ts";
import { envoyBinary } from "./envoy.ts";
import { type Stack, startStack } from "./stack.ts";

const TYPE = "type.googleapis.com/envoy.extensions";
const POLICIES = `apiVersion: limen.dev/v1alpha1
kind: BoundaryPolicy
metadata: { name: agents }
spec:
  selector:
    routes: [llm-main]
    identities: { spiffe: ["spiffe://prod/ns/agents/*"] }
---
apiVersion: limen.dev/v1alpha1
kind: BoundaryPolicy
metadata: { name: staff }
spec:
  selector:
    routes: [llm-main]
    identities: { claims: { groups: [staff] } }
`;

const keys = generateKeyPairSync("ec", { namedCurve: "P-256" });
const jwks = { keys: [{ ...keys.publicKey.export({ format: "jwk" }), alg: "ES256", kid: "1" }] };
const base64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
/** A token that Envoy accepts (RFC 7519). */
function token(claims: object): string {
  const payload = { iss: "test", exp: Math.floor(Date.now() / 1000) + 600, ...claims };
  const text = `${base64({ alg: "ES256", kid: "1", typ: "JWT" })}.${base64(payload)}`;
  const key = { key: keys.privateKey, dsaEncoding: "ieee-p1363" } as const;
  return `${text}.${sign("sha256", Buffer.from(text), key).toString("base64url")}`;
}

describe("the gate, asked by somebody", function () {
  this.timeout(60_000);
  const authority = new Authority("callers");
  const server = authority.issue({ dns: ["localhost"] });
  const agent = authority.issue({ uris: ["spiffe://prod/ns/agents/sa/mail"] });
  const other = authority.issue({ uris: ["spiffe://prod/ns/other/sa/mail"] });
  let dir: string;
  let stack: Stack;

  const inline = (inline_string: string) => ({ inline_string });
  function edit({ static_resources: { listeners } }: Bootstrap): void {
    const listener = listeners.find(({ name }) => name === "limen");
    const [chain] = listener?.filter_chains ?? [];
    assert.ok(listener && chain);
    chain["transport_socket"] = {
      name: "tls",
      typed_config: {
        "@type": `${TYPE}.transport_sockets.tls.v3.DownstreamTlsContext`,
        require_client_certificate: true,
        common_tls_context: {
          tls_certificates: [
            { certificate_chain: inline(server.cert), private_key: inline(server.key) },
          ],
          validation_context: { trusted_ca: inline(authority.cert) },
        },
      },
    };
    managerOf(listener).http_filters.unshift({
      name: "envoy.filters.http.jwt_authn",
      typed_config: {
        "@type": `${TYPE}.filters.http.jwt_authn.v3.JwtAuthentication`,
        providers: {
          test: {
            issuer: "test",
            payload_in_metadata: "jwt",
            local_jwks: inline(JSON.stringify(jwks)),
          },
        },
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

  before(async function () {
    if (envoyBinary() === undefined) this.skip();
    dir = mkdtempSync(join(tmpdir(), "limen-who-"));
    const policy = join(dir, "policies.yaml");
    writeFileSync(policy, POLICIES);
    stack = await startStack({ profile: "ext-authz", policy, edit });
  });
  after(async () => {
    await stack?.close();
    if (dir !== undefined) rmSync(dir, { recursive: true });
  });

  async function chat(
    pair: Pair,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<unknown> {
    const outgoing = request(`${stack.url.replace("http:", "https:")}/v1/chat/completions`, {
      method: "POST",
      agent: false,
      cert: pair.cert,
      key: pair.key,
      ca: authority.cert,
      servername: "localhost",
      headers: { "content-type": "application/json", ...headers },
    });
    outgoing.end('{"model":"demo-1","messages":[{"role":"user","content":"hello"}]}');
    const [incoming] = (await once(outgoing, "response")) as [IncomingMessage];
    let body = "";
    for await (const chunk of incoming) body += String(chunk);
    return incoming.statusCode === 200 ? 200 : [incoming.statusCode, JSON.parse(body).error.code];
  }
  const REFUSED = [403, "no_policy"];

  it("is chosen a policy by the certificate", async () => {
    assert.equal(await chat(agent), 200);
    assert.deepEqual(await chat(other), REFUSED);
  });

  it("is chosen a policy by a claim of the token", async () => {
    const staff = { authorization: `Bearer ${token({ groups: ["guests", "staff"] })}` };
    const guest = { authorization: `Bearer ${token({ groups: ["guests"] })}` };
    assert.equal(await chat(other, staff), 200);
    assert.deepEqual(await chat(other, guest), REFUSED);
  });

  it("is not believed what it writes itself", async () => {
    const said = {
      "x-forwarded-client-cert": "URI=spiffe://prod/ns/agents/sa/mail",
      "x-limen-identity": "spiffe://prod/ns/agents/sa/mail",
      groups: "staff",
    };
    assert.deepEqual(await chat(other, said), REFUSED);
  });
});
