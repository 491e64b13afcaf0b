/**
 * Conversations between Envoy and Limen as data: what is sent, what must come back, and which records are left. The
 * player adds what holds of every conversation: nothing comes back that is not in the list, a status is OK only
 * behind Envoy's half-close, and an exchange leaves one decision and one outcome, or nothing at all.
 */
import assert from "node:assert/strict";
import type { AuditRecord, Outcome } from "../../../src/core/record.ts";
import { type Decoded, readResponse } from "../ext-proc/second-decoder.ts";
import { type Boundary, decisions, outcomes } from "./boundary.ts";
import type { EnvoyConnection, EnvoyStream, StreamEvent, StreamOptions } from "./connection.ts";
import { ERROR, grpcFrame } from "./frames.ts";

export type Step =
  | { readonly kind: "send"; readonly messages: readonly Buffer[] }
  /** DATA frames as they are. */
  | {
      readonly kind: "frames";
      readonly parts: readonly Uint8Array[];
      readonly padding: number | undefined;
    }
  | { readonly kind: "half_close" }
  | { readonly kind: "reset"; readonly code: number }
  | { readonly kind: "half_close_and_reset" }
  | { readonly kind: "gets"; readonly reply: string; readonly holding: Decoded }
  | { readonly kind: "ends"; readonly code: number }
  | { readonly kind: "is_reset"; readonly code: number };

/** All in one write, as Envoy coalesces them. */
export const send = (...messages: readonly Buffer[]): Step => ({ kind: "send", messages });
/** One message in DATA frames of `size` bytes. */
export const sendCut = (message: Buffer, size: number, padding?: number): Step => {
  const whole = grpcFrame(message);
  const count = Math.ceil(whole.length / size);
  const parts = Array.from({ length: count }, (_, i) => whole.subarray(i * size, (i + 1) * size));
  return { kind: "frames", parts, padding };
};
export const sendBytes = (...parts: readonly Uint8Array[]): Step => ({
  kind: "frames",
  parts,
  padding: undefined,
});
export const halfClose: Step = { kind: "half_close" };
export const halfCloseAndReset: Step = { kind: "half_close_and_reset" };
export const reset = (code: number = ERROR.CANCEL): Step => ({ kind: "reset", code });
/** @param holding what the reply must hold, beside what else it holds */
export const gets = (reply: string, holding: Decoded = {}): Step => ({
  kind: "gets",
  reply,
  holding,
});
/** @param code of gRPC */
export const ends = (code: number): Step => ({ kind: "ends", code });
export const isReset = (code: number): Step => ({ kind: "is_reset", code });

export type Transcript = {
  readonly steps: readonly Step[];
  /** What was enforced by the decision and by the outcome; empty when nothing may be recorded. */
  readonly records: readonly [] | readonly [decision: Outcome, outcome: Outcome];
  readonly options?: StreamOptions;
};

/** Plays one conversation on a stream of its own, and checks everything about it. */
export async function play(
  boundary: Boundary,
  connection: EnvoyConnection,
  { steps, records, options }: Transcript,
): Promise<void> {
  const before = boundary.records.length;
  const stream = connection.open(options);
  for (const step of steps) await perform(stream, step);
  await settled(boundary, connection);
  assert.deepEqual(stream.unread(), [], "a reply that nobody expected");
  const left = boundary.records.slice(before);
  assert.deepEqual(actionsOf(left), records);
  assert.equal(connection.goaway, undefined);
}

/** @returns when the server has read what was sent, and closed what was ended */
export async function settled(boundary: Boundary, connection: EnvoyConnection): Promise<void> {
  await connection.ping();
  await connection.ping();
  await boundary.idle();
}

/** Decision and outcome of one exchange, after a look at how they belong together. */
export function actionsOf(records: readonly AuditRecord[]): readonly Outcome[] {
  const [decision, ...more] = decisions(records);
  const [outcome, ...others] = outcomes(records);
  assert.deepEqual([more, others], [[], []], "one decision and one outcome");
  if (decision === undefined || outcome === undefined) {
    assert.deepEqual([decision, outcome], [undefined, undefined], "both or none");
    return [];
  }
  assert.equal(outcome.refs.decision, decision.id);
  return [decision.verdict.action, outcome.verdict.action];
}

async function perform(stream: EnvoyStream, step: Step): Promise<void> {
  switch (step.kind) {
    case "send":
      return stream.send(...step.messages);
    case "frames":
      for (const part of step.parts) stream.raw(part, 0, step.padding);
      return;
    case "half_close":
      return stream.halfClose();
    case "reset":
      return stream.reset(step.code);
    case "half_close_and_reset":
      return stream.halfCloseAndReset();
    case "gets":
      return expectReply(await stream.next(), step.reply, step.holding);
    case "ends": {
      const event = await stream.next();
      assert.ok(event.kind === "status", `${shown(event)} instead of status ${step.code}`);
      return assert.equal(event.code, step.code, event.details);
    }
    case "is_reset":
      return assert.deepEqual(await stream.next(), { kind: "reset", code: step.code });
  }
}

function expectReply(event: StreamEvent, reply: string, holding: Decoded): void {
  assert.ok(event.kind === "message", `${shown(event)} instead of ${reply}`);
  const message = readResponse(event.bytes);
  assert.ok(message[reply] !== undefined, `${Object.keys(message)} instead of ${reply}`);
  assert.partialDeepStrictEqual(message, { [reply]: holding });
}

const shown = (event: StreamEvent): string =>
  event.kind === "message" ? Object.keys(readResponse(event.bytes)).join() : JSON.stringify(event);
