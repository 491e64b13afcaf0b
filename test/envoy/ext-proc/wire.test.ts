import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { EnvoyEvent } from "../../../src/envoy/ext-proc/decode.ts";
import {
  encodeBody,
  encodeHeaders,
  encodePieces,
  encodeRefusal,
} from "../../../src/envoy/ext-proc/encode.ts";
import { metadata } from "../../../src/envoy/proto.ts";
import { NO_EDITS } from "../../../src/exchange/http.ts";
import { bothReadings, read, requestBytes, serialize, VECTORS } from "./readings.ts";
import { readRequest, readResponse } from "./second-decoder.ts";

describe("ext_proc messages recorded from Envoy", () => {
  const vectors = JSON.parse(readFileSync(VECTORS, "utf8")) as string[];
  const events = vectors.map((vector) => bothReadings(Buffer.from(vector, "base64")));
  const find = <K extends EnvoyEvent["kind"]>(kind: K): Extract<EnvoyEvent, { kind: K }>[] =>
    events.filter((event): event is Extract<EnvoyEvent, { kind: K }> => event.kind === kind);

  it("are read alike by proto-loader and by google-protobuf", () => {
    assert.ok(events.length >= 8);
  });

  it("carry method, path and route of the request", () => {
    const heads = find("request_headers").map(({ head }) => head);
    assert.deepEqual(
      heads.map(({ method, path, route, endOfStream }) => ({ method, path, route, endOfStream })),
      Array(2).fill({
        method: "POST",
        path: "/v1/chat/completions",
        route: "llm-main",
        endOfStream: false,
      }),
    );
  });

  it("tell the model's response from one of Envoy's own", () => {
    const heads = find("response_headers").map(({ head }) => head);
    assert.deepEqual(
      heads.map(({ status, local }) => ({ status, local })),
      Array(2).fill({ status: 200, local: false }),
    );
  });

  it("end each direction once", () => {
    const requests = find("request_body").map(({ chunk }) => chunk.endOfStream);
    assert.deepEqual(requests, [true, true]);
    assert.equal(find("response_body").at(-1)?.chunk.endOfStream, true);
  });
});

describe("ext_proc identities", () => {
  it("are read alike: the certificate from attributes, the claims from metadata_context", () => {
    const text = (stringValue: string) => ({ stringValue });
    const spiffe = "spiffe://prod/ns/agents/sa/bot";
    const claims = { structValue: { fields: { azp: text("bot"), sub: text("x") } } };
    const bytes = requestBytes({
      request_headers: {
        headers: { headers: [{ key: ":method", raw_value: Buffer.from("GET") }] },
      },
      attributes: {
        "envoy.filters.http.ext_proc": {
          fields: { "connection.uri_san_peer_certificate": text(spiffe) },
        },
      },
      metadata_context: metadata.serialize({
        filter_metadata: { "envoy.filters.http.jwt_authn": { fields: { jwt: claims } } },
      }),
    });
    const { event } = read(bytes);
    assert.ok(event?.kind === "request_headers");
    const who = event.head.identity.reveal();
    assert.equal(who.spiffe, spiffe);
    assert.deepEqual(Object.fromEntries(who.claims), { azp: ["bot"], sub: ["x"] });
    const member = (key: string, value: object) => ({ key, value });
    const { metadata_context, attributes } = readRequest(bytes);
    const fields = [member("azp", { string: "bot" }), member("sub", { string: "x" })];
    assert.deepEqual(metadata_context, {
      filter_metadata: [
        member("envoy.filters.http.jwt_authn", {
          fields: [member("jwt", { struct: { fields } })],
        }),
      ],
    });
    assert.deepEqual(attributes, [
      member("envoy.filters.http.ext_proc", {
        fields: [member("connection.uri_san_peer_certificate", { string: spiffe })],
      }),
    ]);
  });

  it("are those of the tunnel where the connection shows no certificate, and of one of both", () => {
    const [own, tunnel] = ["spiffe://prod/ns/agents/sa/bot", "spiffe://prod/ns/other/sa/bot"];
    for (const { connection, want } of [
      { connection: undefined, want: tunnel },
      { connection: "", want: tunnel },
      { connection: own, want: own },
      { connection: "spiffe://prod/../x", want: undefined },
    ]) {
      const said = {
        "filter_state['io.istio.peer_principal']": tunnel,
        ...(connection === undefined ? {} : { "connection.uri_san_peer_certificate": connection }),
      };
      const fields = Object.fromEntries(
        Object.entries(said).map(([name, stringValue]) => [name, { stringValue }]),
      );
      const { event } = read(
        requestBytes({
          request_headers: { headers: { headers: [] } },
          attributes: { "envoy.filters.http.ext_proc": { fields } },
        }),
      );
      assert.ok(event?.kind === "request_headers");
      assert.equal(event.head.identity.reveal().spiffe, want);
    }
  });

  it("fail the call, and say no more, when a token is nested beyond what can be read", () => {
    // Bytes, not objects: the length of each level holds those below.
    let value: Buffer = Buffer.from([0x1a, 0x00]); // a Value that is the empty text
    const wrap = (tag: number, bytes: Buffer): Buffer => {
      const length: number[] = [];
      for (let n = bytes.length; ; n >>>= 7) {
        length.push(n < 128 ? n : (n & 127) | 128);
        if (n < 128) break;
      }
      return Buffer.concat([Buffer.from([tag, ...length]), bytes]);
    };
    for (let i = 0; i < 5_000; i += 1) value = wrap(0x32, wrap(0x0a, value)); // list_value of one
    const field = Buffer.concat([wrap(0x0a, Buffer.from("a")), wrap(0x12, value)]);
    const entry = Buffer.concat([wrap(0x0a, Buffer.from("f")), wrap(0x12, wrap(0x0a, field))]);
    const headers = { request_headers: { headers: { headers: [] } } };
    const deep = requestBytes({ ...headers, metadata_context: wrap(0x0a, entry) });
    const broken = { code: "protocol", message: /its metadata cannot be read/ };
    assert.throws(() => read(deep), broken);
    const cut = requestBytes({ ...headers, metadata_context: Buffer.from([0x0a, 0x7f, 0x00]) });
    assert.throws(() => read(cut), broken);
    assert.doesNotThrow(() => read(requestBytes(headers)));
  });
});

describe("ext_proc replies", () => {
  it("put header values where Envoy reads them, and overwrite", () => {
    const edits = { set: [["x-limen-decision", "allow"]] as const, remove: ["content-length"] };
    const { message } = encodeHeaders("response", edits);
    assert.deepEqual(readResponse(serialize(message)), {
      response_headers: {
        response: {
          header_mutation: {
            set_headers: [
              {
                header: { key: "x-limen-decision", raw_value: "allow" },
                append: { value: false },
                append_action: 2,
              },
            ],
            remove_headers: ["content-length"],
          },
        },
      },
    });
  });

  it("name both body modes in an override, and leave the others as configured", () => {
    const { message } = encodeHeaders("response", NO_EDITS, { request: "buffered" });
    assert.deepEqual(readResponse(serialize(message))["mode_override"], {
      request_body_mode: 2,
      response_body_mode: 1,
    });
  });

  it("refuse with a status and let nothing follow", () => {
    const reply = { status: 403, headers: [], body: "{}", details: "limen_no_policy" };
    const encoded = encodeRefusal(reply);
    assert.equal(encoded.last, true);
    assert.deepEqual(readResponse(serialize(encoded.message))["immediate_response"], {
      status: { code: 403 },
      headers: {},
      body: "{}",
      details: "limen_no_policy",
    });
  });

  it("clear a body instead of replacing it by an empty one", () => {
    const body = { kind: "replace", body: new Uint8Array(0), edits: NO_EDITS } as const;
    const { message } = encodeBody("response", body);
    assert.deepEqual(readResponse(serialize(message)), {
      response_body: { response: { header_mutation: {}, body_mutation: { clear_body: true } } },
    });
  });

  it("send a body in full duplex in pieces that fit, and mark the last", () => {
    const bytes = Buffer.alloc(130_000, "abc");
    const read = (end: "last" | "more", sent: Uint8Array = bytes) =>
      encodePieces("request", sent, end).map(({ message }) => {
        const { request_body } = readResponse(serialize(message)) as {
          request_body: { response: { body_mutation: { streamed_response: object } } };
        };
        return request_body.response.body_mutation.streamed_response as {
          body?: string;
          end_of_stream?: boolean;
        };
      });
    const pieces = read("last");
    assert.deepEqual(
      pieces.map(({ body, end_of_stream = false }) => [body?.length, end_of_stream]),
      [
        [62_000, false],
        [62_000, false],
        [6_000, true],
      ],
    );
    assert.equal(pieces.map(({ body }) => body).join(""), bytes.toString());
    assert.ok(read("more").every(({ end_of_stream = false }) => !end_of_stream));
    assert.deepEqual(read("last", new Uint8Array(0)), [{ body: "", end_of_stream: true }]);
    assert.equal(read("last", bytes.subarray(0, 124_000)).length, 2);
  });
});
