import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { decisionId } from "../../../src/core/brand.ts";
import { decodeCheck } from "../../../src/envoy/ext-authz/check.ts";
import { encodeReply } from "../../../src/envoy/ext-authz/encode.ts";
import { authorization } from "../../../src/envoy/proto.ts";
import { NO_TRUST } from "../trust.ts";
import { bothReadings, serialize, throughWire, VECTORS } from "./readings.ts";
import { readReply } from "./second-decoder.ts";

const ID = decisionId("0198c0de");

describe("ext_authz checks recorded from Envoy", () => {
  const vectors = JSON.parse(readFileSync(VECTORS, "utf8")) as string[];
  const read = vectors.map((vector) => bothReadings(Buffer.from(vector, "base64")));

  it("are read alike by proto-loader and by google-protobuf", () => {
    assert.equal(read.length, 6);
    for (const { read: one } of read) {
      const { method, path, route } = one.head;
      assert.deepEqual([method, path, route], ["POST", "/v1/chat/completions?q=1", "llm-main"]);
    }
  });

  it("show a body whole, in part or not at all", () => {
    const kinds = read.map((one) => one.read.body.kind);
    assert.deepEqual(kinds, ["whole", "hidden", "whole", "hidden", "partial", "hidden"]);
  });

  it("carry headers byte for byte, as a list or as a map", () => {
    const [raw, , , map] = read;
    assert.equal(raw?.read.head.headers.get("x-odd"), "caf\u00e9");
    assert.equal(raw?.second.request.http.headers, undefined);
    assert.equal(map?.read.head.headers.get("content-type"), "application/json");
    assert.equal(map?.second.request.http.header_map, undefined);
  });

  it("repair a body that is no UTF-8 when it is not packed as bytes: it counts as not shown", () => {
    const [, , bytes, text] = read;
    assert.equal(bytes?.second.request.http.raw_body, "{\u00ff}");
    assert.equal(text?.second.request.http.body, "{!}");
    assert.deepEqual(text?.read.body, { kind: "hidden" });
  });

  it("lose what a client says about its own body", () => {
    const [buffered, headersOnly, , , , unread] = read;
    assert.equal(buffered?.read.head.headers.get("x-envoy-auth-partial-body"), "false");
    for (const one of [headersOnly, unread]) {
      assert.equal(one?.read.head.headers.has("x-envoy-auth-partial-body"), false);
    }
  });
});

describe("a check", () => {
  const decode = (attributes: object | undefined) =>
    decodeCheck(throughWire(attributes === undefined ? {} : { attributes }), NO_TRUST);
  const http = (fields: object) => ({
    request: { http: { method: "POST", path: "/", ...fields } },
  });

  for (const [what, attributes] of Object.entries({
    "no attributes": undefined,
    "no request": {},
    "no http request": { request: {} },
  })) {
    it(`with ${what} breaks the protocol`, () => {
      assert.throws(() => decode(attributes), { name: "LimenError", code: "protocol" });
    });
  }

  it("is read by its list of headers when a speaker fills both", () => {
    const list = {
      headers: [
        { key: "X-A", raw_value: Buffer.from("1") },
        { key: "x-a", value: "2" },
      ],
    };
    const { head } = decode(http({ header_map: list, headers: { "x-a": "3", "x-b": "4" } }));
    assert.deepEqual(head.headers, new Map([["x-a", "1, 2"]]));
  });

  it("knows its route only from the key that the configuration sets", () => {
    const named = { ...http({}), context_extensions: { other: "x", route: "llm-main" } };
    assert.equal(decode(named).head.route, "llm-main");
    assert.equal(decode(http({})).head.route, "");
  });

  it("says who sent it: the certificate's name and the verified claims", () => {
    const jwt = { structValue: { fields: { sub: { stringValue: "ann" } } } };
    const filter_metadata = { "envoy.filters.http.jwt_authn": { fields: { jwt } } };
    const principal = "spiffe://example.org/ns/a/sa/b";
    const attributes = {
      ...http({}),
      source: { principal },
      metadata_context: { filter_metadata },
    };
    const { identity } = decode(attributes).head;
    assert.equal(identity.reveal().spiffe, principal);
    assert.deepEqual(identity.reveal().claims, new Map([["sub", ["ann"]]]));
    const { Check } = authorization;
    const { second } = bothReadings(
      Check!.requestSerialize({
        attributes: {
          ...attributes,
          request: {
            http: { method: "POST", path: "/", headers: { a: "1", b: "2", c: "3", d: "" } },
          },
        },
      }),
    );
    const entry = (key: string, value: object) => ({ key, value });
    const claims = { fields: [entry("sub", { string: "ann" })] };
    assert.deepEqual(second.source, { principal });
    assert.deepEqual(second.metadata_context, {
      filter_metadata: [
        entry("envoy.filters.http.jwt_authn", { fields: [entry("jwt", { struct: claims })] }),
      ],
    });
  });
});

describe("ext_authz replies", () => {
  const option = (key: string, value: string) => ({
    header: { key, value },
    append: { value: false },
    append_action: 2,
  });
  const metadata = (words: Readonly<Record<string, string>>) => {
    const fields = Object.entries(words).map(([key, string]) => ({ key, value: { string } }));
    return { fields: [{ key: "limen", value: { struct: { fields } } }] };
  };

  it("allow with a status, and with header values where Envoy reads them", () => {
    const reply = {
      kind: "pass",
      id: ID,
      reason: undefined,
      removeHeaders: ["x-limen-a"],
    } as const;
    const bytes = serialize(encodeReply(reply));
    assert.deepEqual(
      bytes.subarray(0, 4),
      Buffer.from([0x0a, 0x02, 0x08, 0x00]),
      "status is there",
    );
    assert.deepEqual(readReply(bytes), {
      status: { code: 0 },
      ok_response: {
        headers_to_remove: ["x-limen-a"],
        response_headers_to_add: [
          option("x-limen-decision", "allow"),
          option("x-limen-decision-id", ID),
        ],
      },
      dynamic_metadata: metadata({ decision: "allow", id: ID }),
    });
  });

  it("refuse with gRPC's 7 and the refusal's own status", () => {
    const local = { status: 413, headers: [["a", "b"]], body: "{}", details: "x" } as const;
    const reply = {
      kind: "refuse",
      id: ID,
      decision: "deny",
      reason: "body_too_large",
      reply: local,
    } as const;
    assert.deepEqual(readReply(serialize(encodeReply(reply))), {
      status: { code: 7 },
      denied_response: { status: { code: 413 }, headers: [option("a", "b")], body: "{}" },
      dynamic_metadata: metadata({ decision: "deny", id: ID, reason: "body_too_large" }),
    });
  });
});
