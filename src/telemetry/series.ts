/**
 * Counts by label values, kept in a map of our own and handed to prom-client at scrape: adding one costs
 * a joined key and a look-up instead of prom-client's validation and hashing in every exchange.
 * Two fences keep the number of series small whatever traffic does: an open label (route, model, tool)
 * keeps its first values only, and at a limit on the whole metric its open labels collapse to "other".
 */
import { type Label, ownLabel } from "../core/brand.ts";
import type { Cause } from "../core/cause.ts";
import type { FindingKind } from "../core/finding.ts";
import type { DialectId } from "../core/inference.ts";
import type { ControlEntry, Coverage, FindingCount, Outcome, ToolEntry } from "../core/record.ts";
import type { Reason } from "../core/verdict.ts";

/** Why a delivered answer counts as unsafe, worst first: an exchange is counted under the first that holds. */
export type Unsafe =
  | "response_finding"
  | "request_finding"
  | "fail_open"
  | "late_stream"
  | "uninspected";

/** Why a call was ended with a failure: the peer's fault, no verdict in time, a defect of ours. */
export const CALL_FAILURES = ["protocol", "late", "defect"] as const;
export type CallFailure = (typeof CALL_FAILURES)[number];
/** Why a TLS port did not let a caller in. */
export const PEER_REFUSALS = ["handshake_failed", "not_listed"] as const;
export type PeerRefusal = (typeof PEER_REFUSALS)[number];

export const HTTP_CLASSES = ["1xx", "2xx", "3xx", "4xx", "5xx"] as const;

/** What may be a label's value: words of closed lists, and labels. Text of traffic does not compile. */
export type LabelValue =
  | Label
  | DialectId
  | Outcome
  | Reason
  | Cause
  | FindingKind
  | FindingCount["disposition"]
  | ControlEntry["layer" | "verdict"]
  | ToolEntry["verdict" | "phase"]
  | Coverage["state"]
  | NonNullable<Coverage["cause"]>
  | Unsafe
  | CallFailure
  | PeerRefusal
  | (typeof HTTP_CLASSES)[number]
  | "request"
  | "response"
  | "none";

const VOCABULARY_LIMIT = 64;
const SERIES_LIMIT = 4096;
const OTHER = ownLabel("other");

/** The first `VOCABULARY_LIMIT` values keep their name, later ones are "other". */
export class Vocabulary {
  readonly #known = new Set<Label>([OTHER]);
  admit(value: Label): Label {
    if (this.#known.has(value)) return value;
    if (this.#known.size > VOCABULARY_LIMIT) return OTHER;
    this.#known.add(value);
    return value;
  }
}

type Entry = { readonly values: readonly LabelValue[]; count: number };

export class Series {
  readonly #entries = new Map<string, Entry>();
  readonly #open: ReadonlySet<number>;
  /** @param open positions in `values` of the labels that collapse to "other" at the limit */
  constructor(open: ReadonlySet<number>) {
    this.#open = open;
  }

  add(values: readonly LabelValue[], count = 1): void {
    const entry = this.#entries.get(values.join("\n"));
    if (entry === undefined) this.#admit(values).count += count;
    else entry.count += count;
  }

  /** The entry of values that were not seen before: their own below the limit, the collapsed one above. */
  #admit(values: readonly LabelValue[]): Entry {
    const full = this.#entries.size >= SERIES_LIMIT;
    const kept = full ? values.map((value, at) => (this.#open.has(at) ? OTHER : value)) : values;
    const key = kept.join("\n");
    const entry = this.#entries.get(key) ?? { values: kept, count: 0 };
    this.#entries.set(key, entry);
    return entry;
  }

  [Symbol.iterator](): Iterator<Entry> {
    return this.#entries.values();
  }
}
