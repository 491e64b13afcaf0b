/**
 * A process that writes an audit log until it is stopped, for tests that kill it or make its system calls
 * fail. It prints `ack ID` when the decision ID is durable, `no` for a refused append, `unwritable`.
 *   node audit-writer.ts DIR KEY_FILE WRITERS RECORDS
 */
import { writeSync } from "node:fs";
import { openAuditLog } from "../../src/audit/open.ts";
import {
  BUILD,
  decisionRecord,
  newId,
  ORIGIN,
  outcomeRecord,
  testClock,
} from "../audit/fixtures.ts";

const [dir = "", keyFile = "", writers = "1", records = "1"] = process.argv.slice(2);
// One write call for a line, in order with the system calls of the log.
const say = (line: string): void => void writeSync(1, `${line}\n`);

const log = await openAuditLog({
  dir,
  origin: ORIGIN,
  keyFile,
  clock: testClock,
  build: BUILD,
  limits: { integrateMs: 20, ageMs: 60_000 },
  onState: (state) => say(state),
});
say("open");
let left = Number(records);
await Promise.all(
  Array.from({ length: Number(writers) }, async () => {
    while (left-- > 0) {
      const id = newId();
      const isDurable = await log.append([decisionRecord(id)]);
      say(isDurable ? `ack ${id}` : "no");
      if (isDurable && left % 3 !== 0) await log.append([outcomeRecord(id)]);
    }
  }),
);
await log.close();
say(log.stats().checkpoint.size === log.stats().size ? "closed" : "ended");
