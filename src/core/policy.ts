/** The policies in force, as the exchange sees them; `policy/compile.ts` makes them. */
import type { Label } from "./brand.ts";
import type { Controls } from "./control.ts";
import type { Identity } from "./identity.ts";
import type { DialectId } from "./inference.ts";
import type { PolicySettings } from "./settings.ts";

/** What a policy is chosen by. What is not known yet (before the body is read) is absent and may match. */
export type SelectionFacts = {
  /** Envoy's route name. */
  readonly route: string;
  /** Request path without query. */
  readonly path: string;
  /** Always known: the proxy says it with the headers. */
  readonly identity: Identity;
  readonly dialect?: DialectId;
  readonly model?: string;
};

/** All matching policies merged: the result does not depend on their order. */
export type EffectivePolicy = {
  readonly settings: PolicySettings;
  readonly controls: Controls;
  readonly names: readonly Label[];
};

/** One compiled, frozen set; an exchange pins it when it starts. */
export interface PolicySet {
  /** SHA-256 over the canonical JSON of all documents in force, in hex. */
  readonly digest: Label;
  readonly names: readonly Label[];
  /** Tool, model and route names that the documents spell out: only these may be printed. */
  readonly printable: ReadonlySet<string>;
  /** Undefined when no policy matches: the cause `no_policy`. */
  select(facts: SelectionFacts): EffectivePolicy | undefined;
}
