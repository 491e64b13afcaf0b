/**
 * Writes into a manifest from which scores on the detector speaks, for each sensitivity, place and head: so that
 * detector and rules together flag a given share of benign texts that are measured nowhere else.
 *
 *   node scripts/train/thresholds.ts DATA SCORES MANIFEST     SCORES is what passages.ts wrote of the same weights
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { thresholdsFrom } from "../evaluation/fusion.ts";
import { readData } from "../evaluation/rows.ts";
import { readScores } from "../evaluation/scorers.ts";

const [data, scores, manifest] = process.argv.slice(2);
if (data === undefined || scores === undefined || manifest === undefined) {
  throw new Error("usage: thresholds.ts DATA SCORES MANIFEST");
}
const { pool } = readData(join(data, "injection"));
const { thresholds, passages } = thresholdsFrom(pool, readScores(scores));
const known: unknown = JSON.parse(readFileSync(manifest, "utf8"));
if (typeof known !== "object" || known === null) throw new Error(`${manifest}: not an object`);
writeFileSync(manifest, `${JSON.stringify({ ...known, thresholds }, null, 2)}\n`);
console.log(`${manifest}: thresholds from benign passages`, passages, thresholds);
