/** One check through everything that Limen does with it, and what Envoy would read of the reply. */
import assert from "node:assert/strict";
import { systemClock } from "../../../src/cli/clock.ts";
import type { PolicySet } from "../../../src/core/policy.ts";
import {
  type AuditRecord,
  type DecisionRecord,
  type OutcomeRecord,
  RULES_ALONE,
} from "../../../src/core/record.ts";
import { decodeCheck } from "../../../src/envoy/ext-authz/check.ts";
import { encodeReply } from "../../../src/envoy/ext-authz/encode.ts";
import { type GateDeps, passGate } from "../../../src/exchange/gate.ts";
import { holdOf } from "../../../src/exchange/hold-budget.ts";
import { NO_TRUST } from "../trust.ts";
import { serialize, throughWire } from "./readings.ts";
import { readReply } from "./second-decoder.ts";

type Header = { readonly header: { readonly key: string; readonly value?: string } };
/** A reply by the second decoder: `bytes` are latin1, absent is default. */
export type Reply = {
  readonly status?: { readonly code?: number };
  readonly denied_response?: {
    readonly status?: { readonly code?: number };
    readonly headers?: readonly Header[];
    readonly body?: string;
  };
  readonly ok_response?: {
    readonly headers_to_remove?: readonly string[];
    readonly response_headers_to_add?: readonly Header[];
  };
  readonly dynamic_metadata?: object;
};

export type Gated = {
  readonly reply: Reply;
  readonly decision: DecisionRecord;
  readonly outcome: OutcomeRecord;
  /** How many records each commit had. */
  readonly commits: readonly number[];
};

type Request = {
  readonly method?: string;
  readonly path?: string;
  readonly route?: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly body?: string | Uint8Array;
  readonly partial?: string | undefined;
};

/** A check as Envoy makes it with envoy/ext-authz.yaml. */
export function checkOf(request: Request): object {
  const { method = "POST", path = "/v1/chat/completions", headers = [], body, route } = request;
  const partial = "partial" in request ? request.partial : body === undefined ? undefined : "false";
  const all = [
    ...headers,
    ...(partial === undefined ? [] : [["x-envoy-auth-partial-body", partial] as const]),
  ];
  const list = all.map(([key, value]) => ({ key, raw_value: Buffer.from(value, "latin1") }));
  const raw_body = body === undefined ? {} : { raw_body: Buffer.from(body) };
  return {
    attributes: {
      request: { http: { method, path, header_map: { headers: list }, ...raw_body } },
      context_extensions: route === undefined ? {} : { route },
    },
  };
}

export const JSON_TYPE = ["content-type", "application/json"] as const;

/** A chat with one message of the user. */
export const chat = (content: string, rest: object = {}): string =>
  JSON.stringify({ model: "m", messages: [{ role: "user", content }], ...rest });

export async function gated(
  check: object,
  policies: PolicySet,
  options: { readonly durable?: boolean; readonly closed?: "overloaded" } = {},
): Promise<Gated> {
  const commits: (readonly AuditRecord[])[] = [];
  const recorded: AuditRecord[] = [];
  const deps = {
    policies,
    clock: systemClock(),
    recorder: {
      append: async (batch) => {
        commits.push(batch);
        return options.durable ?? true;
      },
    },
    detector: RULES_ALONE,
    recorded: (record) => recorded.push(record),
    closed: options.closed,
    hold: holdOf(2 ** 30),
  } satisfies GateDeps;
  const reply = await passGate(
    decodeCheck(throughWire(check), NO_TRUST),
    deps,
    new AbortController().signal,
  );
  const records = commits.flat();
  const decisions = records.filter((record) => record.type === "request.decision");
  const outcomes = records.filter((record) => record.type === "response.outcome");
  const [[decision], [outcome]] = [decisions, outcomes];
  assert.ok(decision && outcome && decisions.length === 1 && outcomes.length === 1);
  assert.equal(outcome.refs.decision, decision.id);
  assert.deepEqual(recorded, options.durable === false ? [] : records, "counts follow the log");
  return {
    reply: readReply(serialize(encodeReply(reply))),
    decision,
    outcome,
    commits: commits.map((batch) => batch.length),
  };
}

export const headerIn = (headers: readonly Header[] | undefined, name: string) =>
  headers?.find(({ header }) => header.key === name)?.header.value;
/** `error.code` of a refusal in OpenAI's shape. */
export const codeOf = ({ denied_response }: Reply): unknown =>
  JSON.parse(denied_response?.body ?? "{}").error?.code;
