/**
 * One stream of a real Envoy, as data: the messages of both sides in the order in which they crossed, and how each
 * side ended. `record.slow.ts` writes them, `replay.test.ts` plays Envoy's part again.
 */
import assert from "node:assert/strict";
import { type Decoded, readResponse } from "../ext-proc/second-decoder.ts";
import type { Boundary } from "./boundary.ts";
import { settled } from "./transcript.ts";

export type Crossing =
  /** Bytes in base64. */
  | { readonly from: "envoy" | "limen"; readonly message: string }
  | { readonly from: "envoy" | "limen"; readonly end: true }
  | { readonly from: "envoy" | "limen"; readonly reset: number };

export type Recording = { readonly envoy: string; readonly crossings: readonly Crossing[] };

/** Decision ids differ from run to run, nothing else may; the length of a body depends on none. */
const withoutIds = (reply: Decoded): unknown =>
  JSON.parse(
    JSON.stringify(reply).replaceAll(
      /[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g,
      "ID",
    ),
  );
const bytesOf = (message: string): Buffer => Buffer.from(message, "base64");

/** Replies of Limen in a recording, for a person and for comparison. */
export const repliesOf = ({ crossings }: Recording): readonly unknown[] =>
  crossings.flatMap((crossing) =>
    crossing.from === "limen" && "message" in crossing
      ? [withoutIds(readResponse(bytesOf(crossing.message)))]
      : [],
  );

/** Plays Envoy's part: sends what it sent, waits where it waited. @returns what Limen replied */
export async function replay(
  boundary: Boundary,
  { crossings }: Recording,
): Promise<readonly unknown[]> {
  const connection = await boundary.connect();
  const stream = connection.open();
  const replies: unknown[] = [];
  for (const crossing of crossings) {
    if (crossing.from === "limen") {
      if (!("message" in crossing)) continue;
      const event = await stream.next();
      assert.ok(event.kind === "message", `${event.kind} instead of a reply`);
      replies.push(withoutIds(readResponse(event.bytes)));
    } else if ("message" in crossing) await stream.send(bytesOf(crossing.message));
    else if ("end" in crossing) stream.halfClose();
    else stream.reset(crossing.reset);
  }
  await settled(boundary, connection);
  assert.deepEqual(
    stream.unread().filter(({ kind }) => kind === "message"),
    [],
  );
  return replies;
}
