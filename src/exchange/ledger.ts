/**
 * The two records of one exchange: exactly one decision, exactly one outcome, each at most once whatever the
 * callers do. A true answer means durable; the caller lets nothing take effect before it.
 */
import { type DecisionId, type Label, ownLabel } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import type { DialectId } from "../core/inference.ts";
import type {
  ControlEntry,
  Coverage,
  DetectorEntry,
  ExchangeRecord,
  Outcome,
  OutcomeRecord,
  Recorder,
  ToolEntry,
} from "../core/record.ts";
import type { Reason } from "../core/verdict.ts";
import { refusalStatus } from "../llm/refusal.ts";
import { distinctTools, FindingTally } from "./evidence.ts";
import type { RequestDecision } from "./request.ts";

export type LedgerDeps = {
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly detector: DetectorEntry;
  /** Told of every record that is durable: counts cannot disagree with the log. */
  readonly recorded: (record: ExchangeRecord) => void;
};

export type DecisionFacts = {
  readonly decision: RequestDecision;
  readonly action: Outcome;
  readonly dialect: DialectId | "none";
  readonly route: string;
  readonly digest: Label;
  readonly bytes: number;
};

export type OutcomeFacts = {
  /** What was enforced; by default what the decision enforced. */
  readonly action?: Outcome;
  readonly coverage: Coverage;
  readonly reason?: Reason | undefined;
  readonly status?: number;
  readonly served?: Label;
  readonly controls?: readonly ControlEntry[];
  readonly findings?: FindingTally;
  readonly tools?: readonly ToolEntry[];
  readonly output?: Partial<OutcomeRecord["output"]>;
};

const OTHER = ownLabel("other");
const NO_OUTPUT = { bytes: 0, released_bytes: 0, streamed: false, aborted: false };

export class Ledger {
  readonly id: DecisionId;
  readonly #deps: LedgerDeps;
  readonly #startedMs: number;
  #decided: DecisionFacts | undefined;
  #outcomeWritten = false;
  /** False when the log did not take the decision in time: nothing took effect, and no outcome follows. */
  #decisionDurable: Promise<boolean> = Promise.resolve(false);
  #auditWaitMs = 0;

  constructor(deps: LedgerDeps) {
    this.#deps = deps;
    this.id = deps.clock.newDecisionId();
    this.#startedMs = deps.clock.monotonicMs();
  }

  get clock(): Clock {
    return this.#deps.clock;
  }

  /** Milliseconds since the exchange began. */
  get elapsedMs(): number {
    return this.#deps.clock.monotonicMs() - this.#startedMs;
  }

  /** Whether the decision is on record, when that is known; false while there is none. */
  get decided(): Promise<boolean> {
    return this.#decisionDurable;
  }

  get outcomeWritten(): boolean {
    return this.#outcomeWritten;
  }

  /**
   * Writes the decision; the outcome goes into the same commit when it is known: after a refusal nothing follows.
   * @param response `unseen`: nobody will show it to us
   */
  async decide(facts: DecisionFacts, response: "awaited" | "unseen" = "awaited"): Promise<boolean> {
    if (this.#decided !== undefined) throw new Error("an exchange is decided once");
    this.#decided = facts;
    const { decision } = facts;
    const { verdict, cause } = decision;
    const reason = verdict.kind === "allow" ? cause : verdict.reason;
    const status =
      verdict.kind === "deny" || verdict.kind === "ask" ? refusalStatus(verdict.reason) : undefined;
    const record: ExchangeRecord = {
      type: "request.decision",
      id: this.id,
      dialect: facts.dialect,
      source: { route: ownLabel(facts.route) },
      model: { requested: decision.model },
      policy: { digest: facts.digest, names: decision.policy?.names ?? [] },
      detector: this.#deps.detector,
      input: { bytes: facts.bytes, segments: decision.segments },
      controls: decision.controls,
      findings: new FindingTally(decision.findings).rows(
        status !== undefined ? "blocked" : verdict.kind === "mutate" ? "masked" : "delivered",
      ),
      tools: distinctTools(decision.tools),
      verdict: {
        ...this.#verdict(),
        action: facts.action,
        ...given({ reason, http_status: status }),
      },
      coverage: { request: decision.coverage },
      timing: { verdict_us: Math.round(this.elapsedMs * 1000) },
    };
    const records: ExchangeRecord[] = [record];
    if (status !== undefined) {
      const coverage = { state: "none", cause: "no_response" } as const;
      records.push(this.#outcome({ action: facts.action, coverage, reason, status }));
    } else if (response === "unseen") {
      records.push(
        this.#outcome({ coverage: { state: "none", cause: "response_not_seen" }, reason }),
      );
    }
    this.#decisionDurable = this.#append(records);
    return this.#decisionDurable;
  }

  /** Writes the outcome, unless there is one. */
  async finish(facts: OutcomeFacts): Promise<boolean> {
    if (!(await this.#decisionDurable)) return false;
    return this.#outcomeWritten ? true : this.#append([this.#outcome(facts)]);
  }

  #verdict(): Pick<OutcomeRecord["verdict"], "decision"> {
    const decision = this.#decided?.decision;
    if (decision === undefined || decision.cause !== undefined) return { decision: "error" };
    // A request that never came whole, or was not ours to judge: nobody has allowed it.
    const { state, cause } = decision.coverage;
    const isRead = state !== "none" || cause === "not_inference";
    return { decision: isRead ? decision.verdict.kind : "error" };
  }

  #outcome(facts: OutcomeFacts): OutcomeRecord {
    this.#outcomeWritten = true;
    const { reason, status } = facts;
    const action = facts.action ?? this.#decided?.action ?? "failed_closed";
    return {
      type: "response.outcome",
      id: this.#deps.clock.newDecisionId(),
      refs: { decision: this.id },
      dialect: this.#decided?.dialect ?? "none",
      model: { served: facts.served ?? OTHER },
      controls: facts.controls ?? [],
      findings: (facts.findings ?? new FindingTally()).rows(
        action === "denied" || action === "failed_closed"
          ? "blocked"
          : action === "mutated"
            ? "masked"
            : "delivered",
      ),
      tools: distinctTools(facts.tools ?? []),
      verdict: { ...this.#verdict(), action, ...given({ reason, http_status: status }) },
      output: { ...NO_OUTPUT, ...facts.output },
      coverage: { response: facts.coverage },
      timing: {
        total_us: Math.round(this.elapsedMs * 1000),
        audit_wait_us: Math.round(this.#auditWaitMs * 1000),
      },
    };
  }

  async #append(records: readonly ExchangeRecord[]): Promise<boolean> {
    const before = this.#deps.clock.monotonicMs();
    const durable = await this.#deps.recorder.append(records);
    this.#auditWaitMs += this.#deps.clock.monotonicMs() - before;
    if (durable) for (const record of records) this.#deps.recorded(record);
    return durable;
  }
}

/** What a decision enforces. */
export function actionOf({ verdict, cause, coverage }: RequestDecision): Outcome {
  if (coverage.cause === "not_inference") return "not_inference";
  if (cause !== undefined) return verdict.kind === "deny" ? "failed_closed" : "failed_open";
  const actions = { allow: "allowed", mutate: "mutated", ask: "asked", deny: "denied" } as const;
  return actions[verdict.kind];
}

/** The fields that have a value: a record has no field for "not known". */
function given<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
