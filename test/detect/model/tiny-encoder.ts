/**
 * Weights of a few hundred bytes in the shape of the real ones, so that tests know the answers. `direct` is higher the
 * rarer the rarest piece of a window, because ids go by frequency; `embedded` of the second part is the slot's id.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FILES, type Manifest, sha256 } from "../../../src/detect/model/manifest.ts";

/** Of the protocol buffers in onnx.proto: what the graphs below need. A number is a varint. */
type Value = number | string | Uint8Array | readonly Field[];
type Field = readonly [number: number, value: Value];

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return [...bytes, rest];
    bytes.push((rest % 128) + 128);
  }
}
function encode(fields: readonly Field[]): Buffer {
  const parts = fields.map(([number, value]) => {
    if (typeof value === "number") return Buffer.from([...varint(number << 3), ...varint(value)]);
    const isBytes = typeof value === "string" || value instanceof Uint8Array;
    const bytes = isBytes ? Buffer.from(value) : encode(value);
    return Buffer.concat([
      Buffer.from([...varint((number << 3) | 2), ...varint(bytes.length)]),
      bytes,
    ]);
  });
  return Buffer.concat(parts);
}

const FLOAT = 1;
const INT64 = 7;
const node = (op: string, inputs: string[], output: string, attributes: Field[] = []): Field => [
  1,
  [...inputs.map((name): Field => [1, name]), [2, output], [4, op], ...attributes],
];
const whole = (name: string, value: number): Field => [
  5,
  [
    [1, name],
    [3, value],
    [20, 2],
  ],
];
const wholes = (name: string, value: number): Field => [
  5,
  [
    [1, name],
    [8, value],
    [20, 7],
  ],
];
const constant = (name: string, dims: number[], values: Float32Array | BigInt64Array): Field => [
  5,
  [
    ...dims.map((dim): Field => [1, dim]),
    [2, values instanceof Float32Array ? FLOAT : INT64],
    [8, name],
    [9, new Uint8Array(values.buffer)],
  ],
];
/** Names as sizes: they are whatever comes. */
const tensor = (field: number, [name, type]: readonly [string, number], dims: string[]): Field => [
  field,
  [
    [1, name],
    [
      2,
      [
        [
          1,
          [
            [1, type],
            [2, dims.map((dim): Field => [1, [[2, dim]]])],
          ],
        ],
      ],
    ],
  ],
];
const model = (fields: Field[]): Buffer =>
  encode([
    [1, 8],
    [7, [...fields, [2, "tiny"]]],
    [8, [[2, 17]]],
  ]);

const IDS = tensor(11, ["ids", INT64], ["w", "t"]);
const first = (output: string): Buffer =>
  model([
    node("Cast", ["ids"], "numbers", [whole("to", FLOAT)]),
    node("Unsqueeze", ["numbers", "two"], "vectors"),
    node("ReduceMax", ["numbers"], "rarest", [wholes("axes", 1)]),
    node("MatMul", ["rarest", "slope"], "sloped"),
    node("Add", ["sloped", "start"], output),
    constant("two", [1], BigInt64Array.of(2n)),
    constant("slope", [1, 3], Float32Array.of(1 / 4_000, 1 / 4_000, 1 / 4_000)),
    constant("start", [3], Float32Array.of(-10, -12, -12)),
    IDS,
    tensor(12, ["vectors", FLOAT], ["w", "t", "v"]),
    tensor(12, [output, FLOAT], ["w", "h"]),
  ]);
const second = (): Buffer =>
  model([
    node("ReduceMax", ["vectors"], "rarest", [wholes("axes", 1), whole("keepdims", 0)]),
    node("Gather", ["vectors", "one"], "slot", [whole("axis", 1)]),
    node("Mul", ["rarest", "small"], "direct"),
    node("Concat", ["direct", "slot", "slot"], "late", [whole("axis", 1)]),
    constant("one", [], BigInt64Array.of(1n)),
    constant("small", [], Float32Array.of(1 / 16_000)),
    tensor(11, ["vectors", FLOAT], ["w", "t", "v"]),
    tensor(12, ["late", FLOAT], ["w", "h"]),
  ]);

const levels = { direct: 9_000, embedded: 9_000, jailbreak: 9_000 };
const places = { user: levels, tool: levels, document: levels, hidden: levels };

export const SLOTS = { user: 0, tool: 1, document: 2, hidden: 3 };
/** Early scores of this encoder: `direct` is below 5,000 up to the piece 40,000, `embedded` up to 48,000. */
export const manifestOf = (files: Manifest["files"]): Manifest => ({
  files,
  shape: { length: 144, overlap: 24, bos: 0, eos: 2, slots: SLOTS },
  clear: { user: 5_000, tool: 5_000, document: 5_000, hidden: 5_000 },
  thresholds: {
    permissive: places,
    balanced: places,
    strict: { ...places, hidden: { ...levels, direct: 200, embedded: 200 } },
  },
});

const VOCABULARY = fileURLToPath(
  new URL("../../../models/injection/vocabulary.bin", import.meta.url),
);

export type Weights = { readonly directory: string; readonly remove: () => void };

/** A folder of such weights. `change` spoils it before the manifest is made, or afterwards. */
export function tinyWeights(
  early = "early",
  spoil: (directory: string) => void = () => {},
): Weights {
  const directory = mkdtempSync(join(tmpdir(), "limen-model-"));
  cpSync(VOCABULARY, join(directory, "vocabulary.bin"));
  writeFileSync(join(directory, "first.onnx"), first(early));
  writeFileSync(join(directory, "second.onnx"), second());
  const [vocabulary, one, two] = FILES.map((name) => sha256(readFileSync(join(directory, name))));
  const files = { "vocabulary.bin": vocabulary!, "first.onnx": one!, "second.onnx": two! };
  writeFileSync(join(directory, "manifest.json"), JSON.stringify(manifestOf(files)));
  spoil(directory);
  return { directory, remove: () => rmSync(directory, { recursive: true }) };
}
