/**
 * What the detector makes of orders in wrappers that training has never seen, beside those it has: recall at the
 * thresholds of `balanced`, and where one in a hundred carriers of a slot is flagged, clean or with a harmless line.
 *
 *   node scripts/train/wrappers.ts DATA SCORES WEIGHTS [--styles]
 *
 * DATA is what wrapped.py made, SCORES what passages.ts wrote of it and of these weights. Weights without thresholds,
 * as export.py leaves them, speak in the second and third figure only. With --styles, each wrapper apart.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Levels } from "../../src/detect/injection/fusion.ts";
import { parseManifest } from "../../src/detect/model/manifest.ts";
import { NEVER } from "../../src/detect/scorer.ts";
import { fusionScorer } from "../evaluation/fusion.ts";
import { type Row, readData } from "../evaluation/rows.ts";
import { readScores, type Scores } from "../evaluation/scorers.ts";
import { boundAt, proportion } from "../evaluation/statistics.ts";

const SHARE = 0.01;
/** Wrappers in no row of training, in harmless ones alone, and its own; what has none is clean: a row's source. */
const SOURCES = ["nowhere", "harmless", "training"] as const;
const CLEAN = "clean";
const HEADER = [
  "wrapper",
  "orders",
  "found",
  "at 1 % of clean",
  "at 1 % of harmless",
  "harmless line, flagged",
];

type Judged = { readonly row: Row; readonly flagged: boolean; readonly strength: number };

function flat(level: number): Levels {
  const heads = { direct: level, embedded: level, jailbreak: level };
  return { user: heads, tool: heads, document: heads, hidden: heads };
}

/** `strength` orders rows without thresholds: first those that the rules flag alone, then by the fused score. */
function judged(rows: readonly Row[], scores: Scores, levels: Levels): readonly Judged[] {
  const balanced = fusionScorer("balanced", scores, levels);
  const rules = fusionScorer("rules", scores, flat(NEVER));
  const fused = fusionScorer("fused", scores, flat(0));
  return rows.map((row) => {
    const [beyond, ruled, score] = [balanced, rules, fused].map((one) => one.score(row));
    if (beyond === undefined || ruled === undefined || score === undefined)
      throw new Error(`${row.id}: no score`);
    return { row, flagged: beyond >= 0, strength: ruled >= 0 ? NEVER : score };
  });
}

/** Whether a row is above what one in a hundred of these reaches in its slot. */
function above(benign: readonly Judged[]): (one: Judged) => boolean {
  const bounds = new Map<string, number>();
  for (const [slot, rows] of Map.groupBy(benign, ({ row }) => row.slot)) {
    const strengths = rows.map(({ strength }) => strength);
    bounds.set(slot, boundAt(strengths, SHARE));
  }
  return ({ row, strength }) => strength > (bounds.get(row.slot) ?? Number.POSITIVE_INFINITY);
}

const percent = (share: number): string => (100 * share).toFixed(1);
const shareOf = (rows: readonly Judged[], counts: (one: Judged) => boolean): string => {
  const { value, low, high } = proportion(rows.filter(counts).length, rows.length);
  return `${percent(value)} (${percent(low)}-${percent(high)})`;
};
const isFlagged = ({ flagged }: Judged): boolean => flagged;
const isAttack = ({ row }: Judged): boolean => row.label !== "benign";

/** One line for all wrappers of a source, and one for each family or style of it. */
function tableOf(all: readonly Judged[], by: "family" | "kind"): readonly (readonly string[])[] {
  const aboveClean = above(all.filter(({ row }) => row.source === CLEAN));
  return SOURCES.flatMap((source) => {
    const rows = all.filter(({ row }) => row.source === source);
    if (rows.length === 0) return [];
    const aboveHarmless = above(rows.filter((one) => !isAttack(one)));
    const parts = [...Map.groupBy(rows, ({ row }) => row[by])].sort(([a], [b]) => (a < b ? -1 : 1));
    return [["all", rows] as const, ...parts].map(([part, members]) => {
      const orders = members.filter(isAttack);
      const harmless = members.filter((one) => !isAttack(one));
      const found = [isFlagged, aboveClean, aboveHarmless].map((counts) => shareOf(orders, counts));
      return [`${source}, ${part}`, String(orders.length), ...found, shareOf(harmless, isFlagged)];
    });
  });
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { styles: { type: "boolean", default: false } },
});
const [data, scores, weights] = positionals;
if (data === undefined || scores === undefined || weights === undefined) {
  throw new Error("usage: wrappers.ts DATA SCORES WEIGHTS [--styles]");
}
const manifest = parseManifest(readFileSync(join(weights, "manifest.json"), "utf8"));
if (manifest === undefined) throw new Error(`${weights}: no manifest of this version`);
const { measured } = readData(join(data, "injection"));
const all = judged(measured, readScores(scores), manifest.thresholds.balanced);
const clean = all.filter(({ row }) => row.source === CLEAN);
const table = [HEADER, ...tableOf(all, values.styles ? "kind" : "family")];
const widths = HEADER.map((_, i) => Math.max(...table.map((row) => row[i]?.length ?? 0)));
for (const row of table) {
  const cells = row.map((cell, i) => cell.padEnd(widths[i] ?? 0));
  console.log(cells.join("  ").trimEnd());
}
console.log(`clean carriers, flagged: ${shareOf(clean, isFlagged)} of ${clean.length}`);
