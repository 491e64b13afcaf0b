/**
 * Who sends an exchange, as far as the proxy vouches for it: certificate, token, headers that the proxy itself
 * writes. Nothing that a client can set is in here. It selects policies, and has no printable form: who talked to a
 * model is as private as what was said.
 */

/** What the proxy vouches for. What it does not say is absent, and absent matches nothing that is demanded. */
export type Vouched = {
  /** SPIFFE IDs of the client's certificate; by the SPIFFE standard a valid one has a single ID. */
  readonly spiffe: readonly string[];
  /** Claims of a token that the proxy has verified: texts, and the texts of lists. */
  readonly claims: ReadonlyMap<string, readonly string[]>;
  /** Headers of `trust.headers`, by lower-case name. */
  readonly headers: ReadonlyMap<string, string>;
  readonly tenant: string | undefined;
  readonly profile: string | undefined;
  /**
   * Something was said that cannot be relied on: too much of it, or a trusted header more than once. A policy that
   * asks who it is cannot be chosen then, and none may be passed over.
   */
  readonly doubtful: boolean;
};

export class Identity {
  readonly #vouched: Vouched;
  constructor(vouched: Vouched) {
    this.#vouched = vouched;
  }
  /** The only door out. The files that may call it are a list in `test/rules/`. */
  reveal(): Vouched {
    return this.#vouched;
  }
  toString(): string {
    return "[identity]";
  }
  toJSON(): string {
    return "[identity]";
  }
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return "[identity]";
  }
}

/** A caller of whom the proxy says nothing. */
export const NOBODY = new Identity({
  spiffe: [],
  claims: new Map(),
  headers: new Map(),
  tenant: undefined,
  profile: undefined,
  doubtful: false,
});
