/**
 * Entries of the log: a record and the log's own fields as canonical JSON (RFC 8785), restricted to
 * integers, booleans and well-formed strings, so that sorted keys and `JSON.stringify` of the parts
 * are the whole of canonicalisation. Pure: time and sequence come in as arguments.
 */
import { hash } from "node:crypto";
import type { AuditRecord } from "../core/record.ts";

const LEAF_VERSION = "limen.audit/v1";
/** An entry's length is a uint16 in its bundle (C2SP tlog-tiles). */
export const ENTRY_LIMIT = 65_535;
/** Items of a record's list that are kept; clients choose how many tools and findings there are. */
export const LIST_LIMIT = 100;
const LISTS = ["controls", "findings", "tools"] as const;

/** What all entries of one log have in common. */
export type LogIdentity = {
  readonly origin: string;
  readonly epoch: number;
  readonly build: string;
};

type Canonical =
  | string
  | number
  | boolean
  | undefined
  | readonly Canonical[]
  | { readonly [key: string]: Canonical };

/**
 * Canonical JSON of `value`; keys whose value is undefined are left out.
 * @throws Error on a number that is no safe integer and on a lone surrogate: the caller's bug
 */
export function canonical(value: Canonical): string {
  switch (typeof value) {
    case "string":
      return quoted(value);
    case "number":
      if (!Number.isSafeInteger(value)) throw new Error("a number of a record is no safe integer");
      return value === 0 ? "0" : `${value}`;
    case "boolean":
      return value ? "true" : "false";
    case "undefined":
      throw new Error("a list of a record has a hole");
    default:
      return isList(value) ? `[${value.map(canonical).join(",")}]` : canonicalObject(value);
  }
}

/** Nearly all strings are plain: for those the quotes are all that `JSON.stringify` would add. */
const PLAIN = /^[ !#-[\]-~]*$/;
function quoted(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  if (/\p{Surrogate}/u.test(text)) throw new Error("a string of a record has a lone surrogate");
  return JSON.stringify(text);
}

const isList = (value: object): value is readonly Canonical[] => Array.isArray(value);

function canonicalObject(value: { readonly [key: string]: Canonical }): string {
  let text = "{";
  // The default order of `sort` is by UTF-16 units, which is the order of RFC 8785 (3.2.3).
  for (const key of Object.keys(value).sort()) {
    const field = value[key];
    if (field === undefined) continue;
    text += `${text === "{" ? "" : ","}${quoted(key)}:${canonical(field)}`;
  }
  return `${text}}`;
}

/** RFC 3339 in UTC with microseconds: `2026-01-31T23:59:59.000001Z`. */
export function rfc3339(wallUs: bigint): string {
  const whole = new Date(Number(wallUs / 1000n)).toISOString();
  return `${whole.slice(0, -1)}${String(wallUs % 1000n).padStart(3, "0")}Z`;
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
  const fields: { [key: string]: Canonical } = { ...record, ...log, wseq: at.wseq };
  fields["v"] = LEAF_VERSION;
  fields["time"] = rfc3339(at.wallUs);
  const cut: { [key: string]: Canonical } = {};
  for (const name of LISTS) {
    const list = fields[name];
    if (typeof list !== "object" || !isList(list) || list.length <= LIST_LIMIT) continue;
    fields[name] = list.slice(0, LIST_LIMIT);
    cut[name] = { count: list.length, sha256: hash("sha256", canonical(list), "hex") };
    fields["cut"] = cut;
  }
  return canonical(fields);
}

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
    id: text(field(value, "id")),
    decision: text(field(field(value, "refs"), "decision")),
    dialect: text(field(value, "dialect")),
    key: text(field(value, "key")),
  };
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const field = (value: unknown, key: string): unknown =>
  typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;

const text = (value: unknown): string | undefined =>
  typeof value === "string" ? value : undefined;
