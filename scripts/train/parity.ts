/**
 * Whether Node makes of a text what Python made of it: the same token ids, the same windows, the same logits from the
 * int8 file. The runtime and the tokenizer are packages of the work folder, not of the product.
 *
 *   node scripts/train/parity.ts WORK RUN
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

/** int8 sums are exact; what differs is the order of float additions. */
const TOLERANCE = 1e-3;
const LENGTH = 128;
const STEP = 96;
const BODY = LENGTH - 3;

type Session = { run(feeds: object): Promise<{ logits: { data: Float32Array } }> };
type Runtime = {
  InferenceSession: { create(path: string, options: object): Promise<Session> };
  Tensor: new (type: "int64", data: BigInt64Array, dims: readonly number[]) => object;
};
type Tokenizers = {
  Tokenizer: new (
    spec: unknown,
    config: unknown,
  ) => { encode(text: string, options: object): { ids: readonly number[] } };
};
type Case = { text: string; slot: string; windows: number[][]; logits: number[][] };
type Head = {
  shape: { bos: number; eos: number; slots: Readonly<Record<string, number>> };
};

const [work, run] = process.argv.slice(2);
assert.ok(work !== undefined && run !== undefined, "node scripts/train/parity.ts WORK RUN");
const require = createRequire(join(work, "node", "package.json"));
const { InferenceSession, Tensor } = require("onnxruntime-node") as Runtime;
const { Tokenizer } = require("@huggingface/tokenizers") as Tokenizers;

const folder = join(work, "runs", run);
const spec: unknown = JSON.parse(readFileSync(join(work, "backbone", "tokenizer.json"), "utf8"));
const tokenizer = new Tokenizer(spec, {});
const session = await InferenceSession.create(join(folder, "model.onnx"), { intraOpNumThreads: 1 });
const [first = "", ...lines] = readFileSync(join(folder, "parity.jsonl"), "utf8")
  .trim()
  .split("\n");
const { shape } = JSON.parse(first) as Head;

/** Windows of `ids`; the last one is moved back so that it is full. */
function windowsOf(ids: readonly number[], slot: number): number[][] {
  const starts: number[] = [];
  for (let start = 0; start < ids.length - BODY; start += STEP) starts.push(start);
  starts.push(Math.max(0, ids.length - BODY));
  return starts.map((start) => [shape.bos, slot, ...ids.slice(start, start + BODY), shape.eos]);
}

let windows = 0;
let largest = 0;
let spent = 0;
const times: number[] = [];
for (const line of lines) {
  const { text, slot, windows: wanted, logits } = JSON.parse(line) as Case;
  const began = performance.now();
  const { ids } = tokenizer.encode(text, { add_special_tokens: false });
  spent += performance.now() - began;
  const own = windowsOf(ids, shape.slots[slot] ?? -1);
  assert.deepEqual(own, wanted, `other ids for ${JSON.stringify(text.slice(0, 60))}`);
  for (const [index, window] of own.entries()) {
    const tensor = new Tensor("int64", BigInt64Array.from(window, BigInt), [1, window.length]);
    const start = performance.now();
    const { data } = (await session.run({ ids: tensor })).logits;
    if (window.length === LENGTH) times.push(performance.now() - start);
    for (const [head, value] of data.entries())
      largest = Math.max(largest, Math.abs(value - (logits[index]?.[head] ?? Number.NaN)));
    windows += 1;
  }
}
assert.ok(largest <= TOLERANCE, `logits differ by ${largest}`);
times.sort((a, b) => a - b);
const median = times[times.length >> 1] ?? Number.NaN;
console.log(
  `${lines.length} texts, ${windows} windows: ids equal, logits within ${largest.toExponential(1)}; ` +
    `a full window ${median.toFixed(1)} ms (median of ${times.length}), tokens ${(spent / windows).toFixed(2)} ms a window`,
);
