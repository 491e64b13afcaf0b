import type { RuleId } from "./brand.ts";
import type { Span } from "./segment.ts";

export type FindingKind =
  | "injection.direct"
  | "injection.embedded"
  | "injection.hidden"
  | "pii"
  | "secret"
  | "leak.prompt"
  | "leak.context"
  | "leak.canary"
  | "exfiltration";

/**
 * What a detector saw. There is no field for text; `span` counts UTF-16 units of the scanned text,
 * `score` goes from 0 to 10,000 and is compared with `threshold`: at or above it the finding is flagged.
 */
export type Finding = {
  readonly rule: RuleId;
  readonly kind: FindingKind;
  readonly span: Span;
  readonly score: number;
  readonly threshold: number;
};

/** The part of a rule id after the first dot: `credit_card` of `pii.credit_card`. */
export const entityOf = (rule: RuleId): string => rule.slice(rule.indexOf(".") + 1);
