/** The real server in this process, with real policies; what would go into the audit log is kept in memory. */
import { systemClock } from "../../../src/cli/clock.ts";
import {
  type AuditRecord,
  type DecisionRecord,
  type OutcomeRecord,
  RULES_ALONE,
} from "../../../src/core/record.ts";
import { BoundaryServer } from "../../../src/envoy/server.ts";
import { policyWith } from "../ext-proc/session.ts";
import { NO_TRUST } from "../trust.ts";
import { EnvoyConnection } from "./connection.ts";
import { CANARY } from "./phrases.ts";

const POLICY = `
  ingress: {passThrough: ['GET /v1/models'], injection: {user: deny}}
  egress: {pii: {action: redact, entities: [email]}, promptLeak: {action: deny, canaries: [${CANARY}]}}`;

export type BoundaryOptions = {
  readonly maxMessageBytes?: number;
  readonly maxExchanges?: number;
  /** Which exchanges the policy is for; all when left out. */
  readonly selector?: string;
};

export type Boundary = {
  readonly address: string;
  readonly server: BoundaryServer;
  readonly records: AuditRecord[];
  /** What calls failed with. */
  readonly failures: unknown[];
  connect(): Promise<EnvoyConnection>;
  /** @returns when no exchange is open, its records included */
  idle(): Promise<void>;
  close(): Promise<void>;
};

export async function startBoundary(options: BoundaryOptions = {}): Promise<Boundary> {
  const clock = systemClock();
  const selector = options.selector === undefined ? "" : `\n  selector: ${options.selector}`;
  const policies = policyWith(`${selector}${POLICY}`);
  const records: AuditRecord[] = [];
  const failures: unknown[] = [];
  const connections: EnvoyConnection[] = [];
  const recorder = {
    append: async (batch: readonly AuditRecord[]) => {
      for (const record of batch) records.push(record);
      return true;
    },
  };
  const server = new BoundaryServer({
    clock,
    maxExchanges: options.maxExchanges ?? 4_096,
    maxHeldBytes: 2 ** 28,
    maxMessageBytes: options.maxMessageBytes ?? 2 ** 22,
    replyDeadlineMs: 4_000,
    trust: NO_TRUST,
    callFailed: (error) => failures.push(error),
    exchangeDeps: () => ({
      policies,
      recorder,
      clock,
      detector: RULES_ALONE,
      recorded: () => undefined,
    }),
  });
  const address = await server.bind("127.0.0.1:0");
  return {
    address,
    server,
    records,
    failures,
    connect: async () => {
      const connection = await EnvoyConnection.open(address);
      connections.push(connection);
      return connection;
    },
    idle: async () => {
      while (server.open > 0) await new Promise(setImmediate);
    },
    close: async () => {
      for (const connection of connections) connection.close();
      await server.drain(2);
    },
  };
}

export const decisions = (records: readonly AuditRecord[]): readonly DecisionRecord[] =>
  records.filter((record) => record.type === "request.decision");
export const outcomes = (records: readonly AuditRecord[]): readonly OutcomeRecord[] =>
  records.filter((record) => record.type === "response.outcome");
