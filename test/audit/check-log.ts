/** The one checker of a log's folder, used after every step of every test that writes one. */
import assert from "node:assert/strict";
import { type VerifyReport, verifyLog } from "../../src/audit/verify.ts";
import type { Place } from "./fixtures.ts";

/** Asserts that the log verifies; returns what the verifier saw. */
export function checkLog(place: Place): VerifyReport {
  const report = verifyLog({ dir: place.dir, verifier: place.key.verifier });
  assert.deepEqual(report.flaws, []);
  return report;
}
