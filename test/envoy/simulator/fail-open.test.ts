/**
 * Envoy reads status OK as "go on without me", and the reply to a body as leave to send it on: no order of messages,
 * however wrong, gets either for a prompt that the policy refuses.
 */
import assert from "node:assert/strict";
import { status as Code } from "@grpc/grpc-js";
import fc from "fast-check";
import { readResponse } from "../ext-proc/second-decoder.ts";
import { type Boundary, startBoundary } from "./boundary.ts";
import type { EnvoyConnection, EnvoyStream } from "./connection.ts";
import {
  bodyMessage,
  clientWindowUpdate,
  type Modes,
  observed,
  protocolConfig,
  trailersMessage,
  unknownFields,
} from "./messages.ts";
import { ANSWER_JSON, answerHead, chatHead, INJECTION_JSON, localReply } from "./phrases.ts";
import { actionsOf, settled } from "./transcript.ts";

const MODES = ["NONE", "STREAMED", "BUFFERED", "BUFFERED_PARTIAL", "FULL_DUPLEX_STREAMED"] as const;
const modes: fc.Arbitrary<Modes> = fc.record({
  request: fc.constantFrom(...MODES),
  response: fc.constantFrom(...MODES),
});

/** No message of these carries a prompt that may pass. */
const messages: Readonly<Record<string, Buffer>> = {
  head: chatHead({}),
  prompt: bodyMessage("request", INJECTION_JSON, true),
  "prompt without end": bodyMessage("request", INJECTION_JSON),
  "half a prompt": bodyMessage("request", INJECTION_JSON.slice(0, 40)),
  "other half": bodyMessage("request", INJECTION_JSON.slice(40)),
  "end of request": bodyMessage("request", "", true),
  "request trailers": trailersMessage("request"),
  answer: answerHead(),
  "local reply": localReply("413", "request_payload_too_large"),
  "answer's body": bodyMessage("response", ANSWER_JSON, true),
  "half an answer": bodyMessage("response", ANSWER_JSON.slice(0, 9)),
  "response trailers": trailersMessage("response"),
  nothing: Buffer.alloc(0),
  window: clientWindowUpdate,
  unknown: unknownFields,
  observed: observed(bodyMessage("request", INJECTION_JSON, true)),
  rubbish: Buffer.from([0x12, 0xff, 0x00]),
};
/** Most begin as Envoy does: else nearly all would fail at the first message. */
const script = fc
  .tuple(
    fc.constantFrom<readonly string[]>(["head"], ["head", "prompt"], []),
    fc.array(fc.constantFrom(...Object.keys(messages)), { maxLength: 8 }),
  )
  .map(([begin, rest]) => [...begin, ...rest]);
const end = fc.constantFrom("half close", "reset", "both", "none");

type BodyMutation = {
  readonly clear_body?: boolean;
  readonly streamed_response?: { readonly body?: string };
};
/** An empty reply to a body lets it go on; in full duplex what goes on is in the reply. */
function letsGo(bytes: Buffer): boolean {
  const reply = readResponse(bytes)["request_body"] as
    | { readonly response?: { readonly body_mutation?: BodyMutation } }
    | undefined;
  if (reply === undefined) return false;
  const { clear_body, streamed_response } = reply.response?.body_mutation ?? {};
  return streamed_response === undefined
    ? clear_body !== true
    : (streamed_response.body ?? "") !== "";
}

async function send(stream: EnvoyStream, names: readonly string[], said: Modes): Promise<void> {
  for (const [index, name] of names.entries()) {
    const message = messages[name] ?? Buffer.alloc(0);
    await stream.send(index === 0 ? Buffer.concat([message, protocolConfig(said)]) : message);
  }
}

describe("no order of messages", () => {
  let boundary: Boundary;
  let connection: EnvoyConnection;
  before(async () => {
    boundary = await startBoundary();
    connection = await boundary.connect();
  });
  after(async () => {
    await boundary.close();
  });

  it("gets OK before Envoy has half-closed, or lets a refused prompt go on", async () => {
    const enforced = new Set<string>();
    let replies = 0;
    const run = async (names: readonly string[], said: Modes, ending: string): Promise<void> => {
      const before = boundary.records.length;
      const stream = connection.open();
      await send(stream, names, said);
      await connection.ping();
      await connection.ping();
      const early = [...stream.unread()];
      for (const event of early) {
        assert.ok(event.kind !== "status" || event.code !== Code.OK, "OK before the half-close");
      }
      if (ending === "half close") stream.halfClose();
      if (ending === "both") stream.halfCloseAndReset();
      else if (ending === "half close") while (!stream.over) await stream.next();
      else if (!stream.over) stream.reset();
      await settled(boundary, connection);
      const sent = [...early, ...stream.unread()].flatMap((event) =>
        event.kind === "message" ? [event.bytes] : [],
      );
      replies += sent.length;
      const actions = actionsOf(boundary.records.slice(before));
      assert.ok(!sent.some(letsGo), "the prompt goes on");
      for (const action of actions) {
        assert.ok(action !== "allowed" && action !== "mutated", action);
        enforced.add(action);
      }
    };
    await fc.assert(
      fc.asyncProperty(script, modes, end, (names, said, ending) => run(names, said, ending)),
      { numRuns: Number(process.env["RUNS"] ?? 250), timeout: 10_000 },
    );
    // So that "none" cannot mean "nothing was ever said".
    assert.ok(replies > 50, `${replies} replies`);
    assert.ok(enforced.has("denied") && enforced.has("failed_closed"), [...enforced].join());
  });
});
