/**
 * How good detection is, as one table. Thresholds come from benign rows that are measured nowhere else, one for each
 * place a text can stand in; every figure of a column is taken at the same thresholds.
 *
 * The data are not part of this repository, and nothing of a text is printed.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { fusionScorer, thresholdsFrom } from "./evaluation/fusion.ts";
import { errorsOf } from "./evaluation/parts.ts";
import { jsonOf, judge, languagesOf, tableOf } from "./evaluation/report.ts";
import { type Data, readData } from "./evaluation/rows.ts";
import {
  earlyScorer,
  learnedScorer,
  readScores,
  rulesScorer,
  type Scorer,
} from "./evaluation/scorers.ts";

const HELP = `scripts/eval injection DATA [OPTIONS]

DATA is a folder that holds injection/, with calibration, dev, dev_extra, train_extra (of which a held part sets
thresholds) and test/.

  --scores NAME=FILE  scores of a learned detector, JSON Lines of {"id", "direct", "embedded"} or of what
                      scripts/train/passages.ts writes; may be repeated. Its columns: alone, its lower layers
                      alone, and with the rules as the product joins them, at thresholds from the same pool
  --json FILE         where the figures go for machines (default: .cache/eval-injection.json)
  --languages         also what is flagged of each language, harmless and hostile
  --errors            also which kinds of rows of dev and dev_extra are judged wrong
  --seed N            of the resamples (default: 1)
`;

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      scores: { type: "string", multiple: true, default: [] },
      json: { type: "string", default: ".cache/eval-injection.json" },
      languages: { type: "boolean", default: false },
      errors: { type: "boolean", default: false },
      seed: { type: "string", default: "1" },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  const [what, folder, ...rest] = positionals;
  const seed = Number(values.seed);
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (what !== "injection" || folder === undefined || rest.length > 0 || !Number.isInteger(seed)) {
    process.stderr.write(HELP);
    return 2;
  }
  const data = readData(join(folder, "injection"));
  if (data.pool.length === 0) throw new Error(`${folder}: no benign rows to set thresholds with`);
  const scorers = [
    rulesScorer(),
    ...values.scores.flatMap((argument) => columnsOf(argument, data)),
  ];
  const columns = scorers.map((scorer) => judge(scorer, data, seed));
  process.stdout.write(`${tableOf(columns)}\n`);
  if (values.languages) process.stdout.write(`\n${languagesOf(columns)}\n`);
  if (values.errors) {
    for (const { name, parts } of columns) process.stdout.write(`\n${errorsOf(name, parts)}\n`);
  }
  mkdirSync(dirname(values.json), { recursive: true });
  writeFileSync(values.json, `${JSON.stringify(jsonOf(columns, seed), null, 1)}\n`);
  process.stdout.write(`\nall figures: ${values.json}\n`);
  return 0;
}

function columnsOf(argument: string, { pool }: Data): readonly Scorer[] {
  const cut = argument.indexOf("=");
  if (cut < 1) throw new Error("--scores takes NAME=FILE");
  const name = argument.slice(0, cut);
  const scores = readScores(argument.slice(cut + 1));
  const { permissive, balanced, strict } = thresholdsFrom(pool, scores).thresholds;
  return [
    learnedScorer(name, scores),
    earlyScorer(name, scores) ?? [],
    fusionScorer(`${name} and rules`, scores, balanced),
    fusionScorer(`${name}, permissive`, scores, permissive),
    fusionScorer(`${name}, strict`, scores, strict),
  ].flat();
}

process.exitCode = main();
