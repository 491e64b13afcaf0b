import { type JudgeBudgets, judgeBudgets } from "./judge-budget.ts";

/** What all exchanges of the process together may hold. Each of them has a bound of its own besides. */
export class HoldBudget {
  readonly #limitBytes: number;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  /** A stream holds `byBytes` more, or less, than before. */
  change(byBytes: number): void {
    this.#usedBytes += byBytes;
  }

  get isExceeded(): boolean {
    return this.#usedBytes > this.#limitBytes;
  }
}

/**
 * Two bounds, so that bodies which somebody sends or reads slowly do not end other people's streams: `streams` for
 * frames that wait for a verdict, `bodies` for bodies that are collected, judged or on their way to a client.
 */
export type Hold = {
  readonly streams: HoldBudget;
  readonly bodies: HoldBudget;
  readonly judging: JudgeBudgets;
};

export const holdOf = (limitBytes: number): Hold => ({
  streams: new HoldBudget(limitBytes),
  bodies: new HoldBudget(limitBytes),
  judging: judgeBudgets(),
});
