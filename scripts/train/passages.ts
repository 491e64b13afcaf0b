/**
 * Scores of labelled rows as the product gives them: every passage of a text, through the weights in a folder, all
 * windows and both stages. For `scripts/eval --scores` and thresholds.ts.
 *
 *   node scripts/train/passages.ts DATA WEIGHTS OUT [THREADS]     goes on where an earlier run ended
 */
import { appendFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/cli/clock.ts";
import { ask } from "../../src/detect/injection/fusion.ts";
import { passagesOf } from "../../src/detect/injection/passages.ts";
import { openModel } from "../../src/detect/model/model.ts";
import { HEADS } from "../../src/detect/scorer.ts";
import { readData } from "../evaluation/rows.ts";
import { readScores } from "../evaluation/scorers.ts";

/** Rows asked about at once, and how long that may take. */
const ROWS = 32;
const LIMIT_MS = 600_000;

const [data, weights, out, threads = "1"] = process.argv.slice(2);
if (data === undefined || weights === undefined || out === undefined) {
  throw new Error("usage: passages.ts DATA WEIGHTS OUT [THREADS]");
}
const done = new Set(existsSync(out) ? readScores(out).keys() : []);
const { pool, measured } = readData(join(data, "injection"));
const rows = [...pool, ...measured].filter(({ id }) => !done.has(id));
const clock = systemClock();
const scorer = await openModel(weights, { threads: Number(threads), clock });
for (let at = 0; at < rows.length; at += ROWS) {
  const asked = rows.slice(at, at + ROWS).map(({ id, text, provenance }) => ({
    id,
    passages: passagesOf(text, provenance),
  }));
  const options = { scope: "evaluation", until: clock.monotonicMs() + LIMIT_MS };
  const levels = scorer.thresholds.balanced;
  const { scores, cause } = await ask(
    asked.flatMap(({ passages }) => passages),
    { scorer, levels, options },
  );
  if (cause !== undefined) throw new Error(cause);
  const each = scores.values();
  const lines = asked.map(({ id, passages }) => {
    const own = passages.map(() => {
      const score = each.next().value;
      return score === undefined ? null : HEADS.map((head) => score[head].score / 10_000);
    });
    return `${JSON.stringify({ id, passages: own })}\n`;
  });
  appendFileSync(out, lines.join(""));
}
await scorer.close();
console.log(`${out}: ${rows.length} rows`, scorer.stats());
