/**
 * What policies say, complete and merged: every field has a value. `policy/` makes it from documents,
 * the controls are built from it, the exchange reads its limits.
 */
import type { Cause } from "./cause.ts";

/** From the weakest to the strictest. */
export const TEXT_ACTIONS = ["off", "flag", "redact", "deny"] as const;
export type TextAction = (typeof TEXT_ACTIONS)[number];
/** `annotate` marks the text as data for the model, `strip` takes it out. */
export const INJECTION_ACTIONS = ["off", "flag", "annotate", "strip", "deny"] as const;
export type InjectionAction = (typeof INJECTION_ACTIONS)[number];

/** How little evidence the learned detector speaks on: `strict` finds more, also where nothing is. */
export const SENSITIVITIES = ["permissive", "balanced", "strict"] as const;
export type Sensitivity = (typeof SENSITIVITIES)[number];

/** Longest time that a policy may give to judging a request; the deadline of a reply is longer (`cli/serve.ts`). */
export const MAX_BUDGET_MS = 2_000;

export const PII_ENTITIES = ["credit_card", "iban", "email", "us_ssn"] as const;
export type PiiEntity = (typeof PII_ENTITIES)[number];

export type PiiSettings = {
  readonly action: TextAction;
  readonly entities: readonly PiiEntity[];
};

export type IngressSettings = {
  readonly limits: {
    readonly bodyBytes: number;
    readonly messages: number;
    readonly maxOutputTokens: number;
    readonly jsonDepth: number;
  };
  readonly models: readonly string[]; // globs; empty: any model
  readonly passThrough: readonly string[]; // "METHOD path-glob"
  readonly injection: Readonly<Record<"user" | "document" | "tool" | "hidden", InjectionAction>> & {
    readonly sensitivity: Sensitivity;
  };
  readonly pii: PiiSettings;
  readonly secrets: { readonly action: TextAction };
};

export type EgressSettings = {
  readonly limits: { readonly bodyBytes: number };
  readonly pii: PiiSettings;
  readonly secrets: { readonly action: TextAction };
  readonly promptLeak: {
    readonly action: "off" | "flag" | "deny";
    readonly canaries: readonly string[];
  };
  /** Upper bound of the text held back per channel of a stream, in UTF-16 units. */
  readonly holdBytes: number;
  /** Upper bound of all frames held back in one stream (tool calls wait whole), in bytes. */
  readonly toolHoldBytes: number;
};

export type ActionRule = {
  readonly id: string;
  readonly decision: "allow" | "ask" | "deny";
  readonly tools: readonly string[]; // globs on the name's exact bytes
  readonly models: readonly string[]; // globs; empty: any model
};

/** `unlisted`: the policy has no `action` section; tools pass and are recorded as unlisted, provider-run ones are denied. */
export type ActionSettings =
  | { readonly kind: "unlisted" }
  | {
      readonly kind: "rules";
      readonly default: "deny" | "allow";
      readonly rules: readonly ActionRule[];
      /** A declared tool that no rule allows: taken out of the request, or the request is refused. */
      readonly unlistedDefinitions: "strip" | "deny";
    };

export type PolicySettings = {
  /** How long judging a request may take, in milliseconds from when it is there whole. */
  readonly budgetMs: { readonly request: number };
  readonly ingress: IngressSettings;
  readonly egress: EgressSettings;
  readonly action: ActionSettings;
  readonly failure: Readonly<Record<Cause, "deny" | "allow">>;
};
