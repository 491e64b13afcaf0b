/**
 * The server that `hostile-bytes.slow.ts` attacks, in a process of its own: its memory is its own, and an exception
 * that nobody catches ends it. Answers every message of its parent with what it is like after a collection.
 */
import assert from "node:assert/strict";
import type { Outcome } from "../../src/core/record.ts";
import { decisions, startBoundary } from "./simulator/boundary.ts";

export type Condition = {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** Exchanges that are open now. */
  readonly open: number;
  /** Decisions by what they enforced, since the start. */
  readonly enforced: Readonly<Partial<Record<Outcome, number>>>;
};

assert.ok(process.send && globalThis.gc, "started by hostile-bytes.slow.ts");
const collect = globalThis.gc;
const boundary = await startBoundary({ selector: "{routes: [probe]}" });
const enforced: Partial<Record<Outcome, number>> = {};
process.on("message", () => {
  for (const { verdict } of decisions(boundary.records.splice(0))) {
    enforced[verdict.action] = (enforced[verdict.action] ?? 0) + 1;
  }
  boundary.failures.length = 0;
  collect();
  const { heapUsed: heapBytes, rss: rssBytes } = process.memoryUsage();
  process.send?.({ heapBytes, rssBytes, open: boundary.server.open, enforced } satisfies Condition);
});
process.send(boundary.address);
