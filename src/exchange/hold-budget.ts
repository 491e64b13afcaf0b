/** What all streams of the process together may hold back. Each stream has a bound of its own besides. */
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
