/**
 * Strings that may be printed. Sinks (logs, metrics, records) take these types and no plain string,
 * so that text from traffic does not compile there. The casts of the project's brands stand here.
 */
declare const brand: unique symbol;
type Brand<T, Name extends string> = T & { readonly [brand]: Name };

/** A string that may be printed: it comes from our tables or from the operator. */
export type Label = Brand<string, "Label">;

/** Names one detector rule or policy rule: `secret.github_pat`, `injection.override`, `action.read-crm`. */
export type RuleId = Brand<string, "RuleId">;

/** UUIDv7 (RFC 9562) of an exchange's decision record; clients see it as `x-limen-decision-id`. */
export type DecisionId = Brand<string, "DecisionId">;

/** `value` if it is one of `known`, else "other": labels stay few, and traffic stays out. */
export const label = (value: string, known: ReadonlySet<string>): Label =>
  (known.has(value) ? value : "other") as Label;

/** For literals of our own code and strings that the operator wrote; never for traffic. */
export const ownLabel = (value: string): Label => value as Label;
export const ruleId = (value: string): RuleId => value as RuleId;
export const decisionId = (value: string): DecisionId => value as DecisionId;
