/**
 * Who sends an exchange, as far as the proxy vouches for it: certificate, token, headers that the proxy itself
 * writes. Nothing that a client can set is in here. It selects policies, and has no printable form: who talked to a
 * model is as private as what was said.
 */

/** Which of its words the proxy is believed: `trust` of the service's configuration. */
export type Trust = {
  /** Lower-case names of headers that the proxy writes or removes on every request. */
  readonly headers: readonly string[];
  /** Which of them names the tenant, and which the profile. */
  readonly tenant: string | undefined;
  readonly profile: string | undefined;
  /** Under which name `jwt_authn` keeps the claims of a token (its `payload_in_metadata`). */
  readonly jwtPayload: string;
};

/** What the proxy vouches for. What it does not say is absent, and absent matches nothing that is demanded. */
export type Vouched = {
  /** SPIFFE ID of the client's certificate. The standard allows one in a certificate; Envoy says the first. */
  readonly spiffe: string | undefined;
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
  spiffe: undefined,
  claims: new Map(),
  headers: new Map(),
  tenant: undefined,
  profile: undefined,
  doubtful: false,
});
