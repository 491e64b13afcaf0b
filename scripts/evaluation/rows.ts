/**
 * Labelled texts of a data folder, for measuring only. A row is refused when a field that decides something is not
 * what it should be; what only describes it may be absent.
 */
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { Provenance } from "../../src/core/segment.ts";

const LABELS = ["benign", "direct", "embedded"] as const;
export type Label = (typeof LABELS)[number];

/** Where thresholds differ. A system message that nobody pinned is scored like a document. */
export const SLOTS = ["user", "tool", "document", "hidden"] as const;
export type Slot = (typeof SLOTS)[number];

export type Row = {
  readonly id: string;
  readonly set: string;
  readonly text: string;
  readonly label: Label;
  readonly provenance: Provenance;
  readonly slot: Slot;
  readonly lang: string;
  readonly kind: string;
  readonly source: string;
  readonly family: string;
  readonly weak: boolean;
  /** Optimiser or method of a jailbreak, half of a set, obfuscation: whatever tells parts of one set apart. */
  readonly part: string;
};

const SLOT_OF: Readonly<Record<string, { readonly provenance: Provenance; readonly slot: Slot }>> =
  {
    user: { provenance: "user", slot: "user" },
    tool: { provenance: "tool", slot: "tool" },
    document: { provenance: "document", slot: "document" },
    system: { provenance: "system", slot: "document" },
  };

/** @param where of the line, for the message */
export function rowOf(line: string, set: string, where: string): Row {
  const value: unknown = JSON.parse(line);
  if (typeof value !== "object" || value === null) throw new Error(`${where}: not an object`);
  const fields: Partial<Record<string, unknown>> = { ...value };
  const word = (name: string): string => (typeof fields[name] === "string" ? fields[name] : "");
  const { id, text } = fields;
  const label = LABELS.find((known) => known === fields["label"]);
  const place = SLOT_OF[word("provenance")];
  if (typeof id !== "string" || typeof text !== "string")
    throw new Error(`${where}: "id" and "text" must be strings`);
  if (label === undefined) throw new Error(`${where}: "label" is none of ${LABELS.join(", ")}`);
  if (place === undefined) throw new Error(`${where}: "provenance" is not known`);
  return {
    id,
    set,
    text,
    label,
    ...place,
    lang: word("lang") || "und",
    kind: word("kind"),
    source: word("source"),
    family: word("family"),
    weak: fields["weak"] === true,
    part: word("method") || word("harm") || word("transform"),
  };
}

function readSet(path: string): readonly Row[] {
  const set = basename(path).replace(/\.jsonl(?:\.gz)?$/, "");
  const bytes = readFileSync(path);
  const text = (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString();
  // Not a line reader: those break at U+2028 too, which stands inside texts.
  return text
    .split("\n")
    .map((line, index) => (line === "" ? undefined : rowOf(line, set, `${path}:${index + 1}`)))
    .filter((row) => row !== undefined);
}

/** Of the benign rows of `train_extra`, so many in a hundred set thresholds and are never trained on. */
const HELD: Readonly<Record<Slot, number>> = { tool: 20, document: 20, user: 8, hidden: 0 };

/** Known by the id alone, so that this script and `scripts/train/rows.py` agree. */
export function isHeld({ id, label, slot }: Pick<Row, "id" | "label" | "slot">): boolean {
  if (label !== "benign" || !id.startsWith("train_extra/")) return false;
  return createHash("sha256").update(id).digest().readUInt32BE(0) % 100 < HELD[slot];
}

export type Data = {
  /** Benign rows that set thresholds, and nothing else. */
  readonly pool: readonly Row[];
  readonly measured: readonly Row[];
};

/** @param folder holds `calibration`, `train_extra`, `dev`, `dev_extra` and `test/*`; what is absent is left out */
export function readData(folder: string): Data {
  const named = (name: string): readonly Row[] => {
    const path = [join(folder, `${name}.jsonl.gz`), join(folder, `${name}.jsonl`)].find(existsSync);
    return path === undefined ? [] : readSet(path);
  };
  const tests = join(folder, "test");
  const files = existsSync(tests) ? readdirSync(tests).sort() : [];
  const measured = [
    ...named("dev"),
    ...named("dev_extra"),
    ...files
      .filter((file) => /\.jsonl(?:\.gz)?$/.test(file))
      .flatMap((file) => readSet(join(tests, file))),
  ];
  // Published system prompts are no documents: measured, but they set no threshold.
  const calibration = named("calibration");
  return {
    pool: [
      ...calibration.filter(({ provenance }) => provenance !== "system"),
      ...named("train_extra").filter(isHeld),
    ],
    measured: [...measured, ...calibration.filter(({ provenance }) => provenance === "system")],
  };
}
