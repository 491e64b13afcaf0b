/** One check of Envoy, read by the decoder that Limen uses and by a second one: they must agree. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { decodeCheck } from "../../../src/envoy/ext-authz/check.ts";
import type { CheckResponse } from "../../../src/envoy/ext-authz/encode.ts";
import { authorization } from "../../../src/envoy/proto.ts";
import type { GateRequest } from "../../../src/exchange/gate.ts";
import { NO_TRUST } from "../trust.ts";
import { readCheck } from "./second-decoder.ts";

export const VECTORS = fileURLToPath(new URL("../../vectors/ext-authz.json", import.meta.url));

const { Check } = authorization;
assert.ok(Check);
const method = Check;

/** Bytes of one reply. */
export const serialize = (reply: CheckResponse): Buffer => method.responseSerialize(reply);
/** A check as the loader hands it over. */
export const throughWire = (check: object): unknown =>
  method.requestDeserialize(method.requestSerialize(check));

type Entry = { readonly key: string; readonly value?: string; readonly raw_value?: string };
type Second = {
  readonly source?: { readonly principal?: string };
  readonly context_extensions?: readonly Entry[];
  readonly metadata_context?: object;
  readonly request: {
    readonly http: {
      readonly method: string;
      readonly path: string;
      readonly headers?: readonly Entry[];
      readonly header_map?: { readonly headers: readonly Entry[] };
      readonly body?: string;
      readonly raw_body?: string;
    };
  };
};

/** @returns what Limen reads, after the second decoder has agreed to all of it, and what that one saw */
export function bothReadings(bytes: Buffer): { read: GateRequest; second: Second } {
  const read = decodeCheck(method.requestDeserialize(bytes), NO_TRUST);
  const second = readCheck(bytes)["attributes"] as Second;
  const { http } = second.request;
  const entries = http.header_map?.headers ?? http.headers ?? [];
  const headers = entries.map(({ key, value, raw_value }) => [key, raw_value ?? value ?? ""]);
  assert.deepEqual(new Map(read.head.headers), new Map(headers as [string, string][]));
  assert.ok(headers.length > 3);
  assert.deepEqual([read.head.method, read.head.path], [http.method, http.path]);
  const route = second.context_extensions?.find(({ key }) => key === "route");
  assert.equal(read.head.route, route?.value ?? "");
  if (read.body.kind === "whole") {
    assert.equal(Buffer.from(read.body.bytes).toString("latin1"), http.raw_body ?? "");
  }
  return { read, second };
}
