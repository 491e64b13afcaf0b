/**
 * Entries of the log: a record and the log's own fields as canonical JSON. Pure: time and sequence come in as
 * arguments.
 */
import { hash } from "node:crypto";
import type {
  AuditRecord,
  ControlEntry,
  Coverage,
  ExchangeRecord,
  FindingCount,
  ToolEntry,
} from "../core/record.ts";
import { flag, integer, list, object, text, type Write } from "./canonical.ts";

const LEAF_VERSION = "limen.audit/v1";
/** An entry's length is a uint16 in its bundle (C2SP tlog-tiles). */
export const ENTRY_LIMIT = 65_535;
/** Items of a record's list that are kept; clients choose how many tools and findings there are. */
export const LIST_LIMIT = 100;

/** What all entries of one log have in common. */
export type LogIdentity = {
  readonly origin: string;
  readonly epoch: number;
  readonly build: string;
};

/** The log's own fields of an entry. */
type Own = LogIdentity & { readonly v: string; readonly wseq: number; readonly time: string };

/** A list that was cut: how many items there were, and the SHA-256 of the canonical whole. */
type Cut = { readonly count: number; readonly sha256: string };
type Cuts = { readonly [L in keyof typeof LISTS]?: Cut | undefined };

/** All fields that the members of a union have, with all their values. */
type Every<U> = {
  readonly [K in KeyOf<U>]?: U extends { readonly [P in K]?: infer V } ? V : never;
};
type KeyOf<U> = U extends unknown ? keyof U : never;
type Field<K extends KeyOf<AuditRecord>> = Every<NonNullable<Every<AuditRecord>[K]>>;

type Entry = Omit<Every<AuditRecord>, keyof Own> & Own & { readonly cut?: Cuts };

const coverage = object<Coverage>({ state: text, cause: text });
const LISTS = {
  controls: list(
    object<ControlEntry>({ layer: text, verdict: text, reason: text, rule: text, us: integer }),
  ),
  findings: list(
    object<FindingCount>({ rule: text, kind: text, count: integer, disposition: text }),
  ),
  tools: list(
    object<ToolEntry>({ name: text, verdict: text, reason: text, rule: text, phase: text }),
  ),
};
const cut = object<Cut>({ count: integer, sha256: text });

/** One table for records of every type: a field means the same in all that have it. */
const entry = object<Entry>({
  build: text,
  bytes: integer,
  coverage: object<Field<"coverage">>({ request: coverage, response: coverage }),
  cut: object<Cuts>({ controls: cut, findings: cut, tools: cut }),
  dangling: integer,
  detector: object<Field<"detector">>({ injection: text }),
  dialect: text,
  digest: text,
  epoch: integer,
  id: text,
  input: object<Field<"input">>({ bytes: integer, segments: integer }),
  key: text,
  model: object<Field<"model">>({ requested: text, served: text }),
  names: list(text),
  origin: text,
  output: object<Field<"output">>({
    bytes: integer,
    released_bytes: integer,
    streamed: flag,
    aborted: flag,
  }),
  policy: object<Field<"policy">>({ digest: text, names: list(text) }),
  refs: object<Field<"refs">>({ decision: text }),
  sha256: text,
  source: object<Field<"source">>({ route: text }),
  time: text,
  timing: object<Field<"timing">>({
    verdict_us: integer,
    total_us: integer,
    audit_wait_us: integer,
  }),
  type: text,
  v: text,
  verdict: object<Field<"verdict">>({
    decision: text,
    action: text,
    reason: text,
    http_status: integer,
  }),
  wseq: integer,
  ...LISTS,
});

/** The last second that was written out: records come by the hundred in one, and a date costs more than the rest. */
let written = { second: -1, text: "" };

/** RFC 3339 in UTC with microseconds: `2026-01-31T23:59:59.000001Z`. */
export function rfc3339(wallUs: bigint): string {
  const us = Number(wallUs); // below 2^53 until the year 2255
  const second = Math.floor(us / 1e6);
  if (second !== written.second) {
    written = { second, text: new Date(second * 1000).toISOString().slice(0, -4) };
  }
  return `${written.text}${String(us - second * 1e6).padStart(6, "0")}Z`;
}

/**
 * The entry of `record` as canonical JSON text. Lists beyond `LIST_LIMIT` items are cut, and `cut` says
 * how many there were and the SHA-256 of the canonical whole.
 * @param at sequence number (equal to the log index) and wall clock in microseconds
 * @throws Error when the record holds what canonical JSON of this log cannot say
 */
export function encodeLeaf(
  record: AuditRecord,
  at: { readonly wseq: number; readonly wallUs: bigint },
  log: LogIdentity,
): string {
  const own: Own = { ...log, v: LEAF_VERSION, wseq: at.wseq, time: rfc3339(at.wallUs) };
  return entry({ ...("tools" in record ? shortened(record) : record), ...own });
}

/** The record with its lists in their limit. */
function shortened(record: ExchangeRecord): ExchangeRecord & { readonly cut?: Cuts } {
  const { controls, findings, tools } = record;
  if (Math.max(controls.length, findings.length, tools.length) <= LIST_LIMIT) return record;
  return {
    ...record,
    controls: controls.slice(0, LIST_LIMIT),
    findings: findings.slice(0, LIST_LIMIT),
    tools: tools.slice(0, LIST_LIMIT),
    cut: {
      controls: cutOf(controls, LISTS.controls),
      findings: cutOf(findings, LISTS.findings),
      tools: cutOf(tools, LISTS.tools),
    },
  };
}

const cutOf = <T>(items: readonly T[], write: Write<readonly T[]>): Cut | undefined =>
  items.length <= LIST_LIMIT
    ? undefined
    : { count: items.length, sha256: hash("sha256", write(items), "hex") };

/** What recovery and verification read of an entry; the rest is for people. */
export type LeafHead = {
  readonly type: string;
  readonly wseq: number;
  readonly origin: string;
  readonly id: string | undefined;
  /** The decision that an outcome belongs to. */
  readonly decision: string | undefined;
  readonly dialect: string | undefined;
  /** The log's verifier key, in a genesis record. */
  readonly key: string | undefined;
};

/** The head of an entry; undefined when it is no record of this version. */
export function readLeaf(entry: Uint8Array): LeafHead | undefined {
  let value: unknown;
  try {
    value = JSON.parse(strictUtf8.decode(entry));
  } catch {
    return undefined; // the message would quote the entry
  }
  const [type, wseq, origin] = [field(value, "type"), field(value, "wseq"), field(value, "origin")];
  if (field(value, "v") !== LEAF_VERSION) return undefined;
  if (typeof type !== "string" || typeof wseq !== "number" || typeof origin !== "string") {
    return undefined;
  }
  return {
    type,
    wseq,
    origin,
    id: asText(field(value, "id")),
    decision: asText(field(field(value, "refs"), "decision")),
    dialect: asText(field(value, "dialect")),
    key: asText(field(value, "key")),
  };
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const field = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;

const asText = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;
