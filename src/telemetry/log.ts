/**
 * The diary of the process: JSON lines on standard error, written before the call returns, so that the
 * last line of a process that dies is there. Messages are a closed table, field values have no type that
 * text of traffic fits. Nothing is said per exchange above `debug`, except what is wrong with a call, and
 * that at most once a second.
 */
import { type DestinationStream, pino } from "pino";
import type { DecisionId, Label, RuleId } from "../core/brand.ts";
import type { Cause } from "../core/cause.ts";
import type { Clock } from "../core/clock.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { Reason } from "../core/verdict.ts";
import { MESSAGES, type Message, type Row } from "./messages.ts";

type Printable = Label | RuleId | DecisionId | Cause | Reason | ErrorCode | number | boolean;
type Fields = Readonly<Record<string, Printable>>;
export type Log = (message: Message, fields?: Fields) => void;

const PER_CALL_MS = 1000;

/** @param to where lines go: `pino.destination` by default, the whole line with its line feed in tests */
export function createLog(clock: Clock, to: DestinationStream = standardError()): Log {
  const logger = pino(
    {
      base: null,
      timestamp: () => `,"time":"${new Date(Number(clock.wallUs() / 1000n)).toISOString()}"`,
      formatters: { level: (level) => ({ level }) },
    },
    to,
  );
  const throttle = createThrottle(clock);
  return (message, fields = {}) => {
    const row: Row = MESSAGES[message];
    const suppressed = row.perCall ? throttle(message) : 0;
    if (suppressed === undefined) return;
    const rest = suppressed > 0 ? { suppressed } : {};
    logger[row.level]({ ...fields, ...rest, event: message }, row.text);
  };
}

function standardError(): DestinationStream {
  const stream = pino.destination({ dest: 2, sync: true, maxLength: 1_048_576 });
  // The diary is not the evidence: a full disk under it drops lines, it does not stop the boundary.
  stream.on("error", () => {});
  return stream;
}

/** How many lines of `message` were left out since the last one, or undefined when this one is left out too. */
function createThrottle(clock: Clock): (message: Message) => number | undefined {
  const seen = new Map<Message, { readonly at: number; suppressed: number }>();
  return (message) => {
    const now = clock.monotonicMs();
    const last = seen.get(message);
    if (last !== undefined && now - last.at < PER_CALL_MS) {
      last.suppressed += 1;
      return undefined;
    }
    seen.set(message, { at: now, suppressed: 0 });
    return last?.suppressed ?? 0;
  };
}
