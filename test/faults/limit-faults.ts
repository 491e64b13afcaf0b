/** Bodies and headers at their limits: the policy's, Envoy's, in both directions; many large ones at once. */
import type { Bootstrap, Profile } from "../real/bootstrap.ts";
import { managerOf, routesOf } from "../real/bootstrap.ts";
import type { Fault } from "./fault.ts";
import type { AskOptions } from "./rig.ts";

const POLICY_BYTES = 65_536;
const ENVOY_BYTES = 262_144;
const MB = 1_000_000;

/** The three settings of Envoy's one limit (envoy.yaml says which counts when). */
function smallBuffers({ static_resources: { listeners } }: Bootstrap): void {
  for (const listener of listeners) {
    listener["per_connection_buffer_limit_bytes"] = ENVOY_BYTES;
    const manager = managerOf(listener);
    manager["http2_protocol_options"] = { initial_stream_window_size: ENVOY_BYTES };
    for (const route of routesOf(manager)) route["request_body_buffer_limit"] = ENVOY_BYTES;
  }
}

/** Envoy refuses the headers, and tells Limen of it if a connection is there just then. */
const TURNED_AWAY = {
  client: "closed without an answer",
  upstream: "nothing",
  record: "error, then local_reply; nothing",
};

/** What is done to a request is done in every profile. */
const ALL: readonly Profile[] = ["envoy", "strict-stream", "ext-authz"];
const AT = { "one below": -1, at: 0, "one above": 1 } as const;

/** One fault per place of the limit; the exchange is the same, only its length differs. */
const around = (
  what: string,
  limit: number,
  rest: Pick<Fault, "policy" | "stack" | "by" | "profiles">,
  options: (bytes: number) => AskOptions,
): readonly Fault[] =>
  Object.entries(AT).map(([where, more]) => ({
    name: `${what} ${where} the limit`,
    limitMs: 5_000,
    tier: more > 0 ? "sample" : "full",
    ...rest,
    async run(rig) {
      rig.ask("large", options(limit + more));
    },
  }));

const policy = { policy: "small-bodies.yaml", by: "Limen, by the policy's `limits.bodyBytes`" };
const buffers = { stack: { edit: smallBuffers }, by: "Envoy, by its buffer limit" };
const sent = (bytes: number): AskOptions => ({ bytes });
const answered = (bytes: number): AskOptions => ({ play: `body=${bytes}` });

export const LIMIT_FAULTS: readonly Fault[] = [
  ...around("a request, by the policy,", POLICY_BYTES, { ...policy, profiles: ALL }, sent),
  ...around("an answer, by the policy,", POLICY_BYTES, policy, answered),
  ...around("a request, by Envoy's buffers,", ENVOY_BYTES, buffers, sent),
  ...around("an answer, by Envoy's buffers,", ENVOY_BYTES, buffers, answered),
  {
    name: "64 requests of 4 MB at once",
    limitMs: 60_000,
    by: "Limen's deadline per message (4 s), Envoy's (5 s)",
    tier: "full",
    either: {
      large: {
        client: "200; 503; 504",
        upstream: "asked; nothing",
        record:
          "allow, then mutated; allow, then allowed, broken off; error, then failed_closed, broken off; nothing",
      },
    },
    async run(rig) {
      for (let i = 0; i < 64; i += 1) rig.ask("large", { bytes: 4 * MB });
      await rig.untilOver();
      rig.ask("after");
    },
  },
  ...[
    { name: "a request with 120 headers", headers: many(120), either: { large: TURNED_AWAY } },
    { name: "a request with 95 headers", headers: many(90) },
    { name: "a request with 85 headers", headers: many(80) },
    { name: "a request with a header of 70,000 bytes", headers: { "x-long": "v".repeat(70_000) } },
    { name: "a request with a header of 50,000 bytes", headers: { "x-long": "v".repeat(50_000) } },
  ].map(
    ({ name, headers, either = {} }): Fault => ({
      name,
      either,
      limitMs: 5_000,
      by: "Envoy",
      tier: "full",
      async run(rig) {
        rig.ask("large", { headers });
      },
    }),
  ),
  ...[
    { name: "an answer with 120 headers", play: "headers=120" as const },
    { name: "an answer with 95 headers", play: "headers=90" as const },
    { name: "an answer with a header of 70,000 bytes", play: "header=70000" as const },
    { name: "an answer with a header of 50,000 bytes", play: "header=50000" as const },
  ].map(
    ({ name, play }): Fault => ({
      name,
      limitMs: 5_000,
      by: "Envoy",
      tier: "full",
      async run(rig) {
        rig.ask("answer", { play });
        rig.ask("stream", { play, form: "stream" });
      },
    }),
  ),
];

function many(count: number): Readonly<Record<string, string>> {
  return Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-many-${i}`, "1"]));
}
