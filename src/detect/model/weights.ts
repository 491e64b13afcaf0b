/** The folder of the weights: read, checked against the digests of its manifest, opened. Problems are the operator's. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Problem } from "../../core/errors.ts";
import { parseVocabulary, type Vocabulary } from "../pieces/vocabulary.ts";
import { Encoder } from "./encoder.ts";
import { type FileName, type Manifest, parseManifest, sha256 } from "./manifest.ts";
import { loadRuntime } from "./runtime.ts";

const MANIFEST = "manifest.json";
const FIX =
  "name a folder with the weights of this version as detection.model, or switch the detector off there";

export type Engine = { readonly vocabulary: Vocabulary; readonly encoder: Encoder };

/** Tells what went wrong from what was asked for. */
export const isProblem = <T extends object>(found: T | Problem): found is Problem =>
  "what" in found && "fix" in found;

/** The manifest with its digest. */
export function readManifest(
  directory: string,
): { readonly manifest: Manifest; readonly digest: string } | Problem {
  const bytes = read(directory, MANIFEST);
  if (isProblem(bytes)) return bytes;
  const manifest = parseManifest(Buffer.from(bytes).toString());
  return manifest === undefined
    ? problem(directory, MANIFEST, "is not a manifest that this version reads")
    : { manifest, digest: sha256(bytes) };
}

/** Reads and opens what the manifest names, some 40 MB: for a thread of its own. */
export async function openEngine(directory: string, manifest: Manifest): Promise<Engine | Problem> {
  const named = (name: FileName): Uint8Array | Problem => {
    const bytes = read(directory, name);
    if (isProblem(bytes) || sha256(bytes) === manifest.files[name]) return bytes;
    return problem(directory, name, "is not the file that the manifest names: its SHA-256 differs");
  };
  const pieces = named("vocabulary.bin");
  if (isProblem(pieces)) return pieces;
  const first = named("first.onnx");
  if (isProblem(first)) return first;
  const second = named("second.onnx");
  if (isProblem(second)) return second;
  const vocabulary = parseVocabulary(pieces);
  if (vocabulary === undefined) return problem(directory, "vocabulary.bin", "is no vocabulary");
  const runtime = loadRuntime();
  if (runtime === undefined) {
    const what = `the package cannot be loaded on ${process.platform}-${process.arch}`;
    const fix = "install the packages of package-lock.json on this machine; it needs glibc";
    return { where: "onnxruntime-node", what, fix };
  }
  try {
    return { vocabulary, encoder: await Encoder.open(runtime, { first, second }, manifest) };
  } catch {
    return problem(directory, "first.onnx", "and second.onnx are not the two parts of an encoder");
  }
}

function read(directory: string, name: string): Uint8Array | Problem {
  try {
    return readFileSync(join(directory, name));
  } catch {
    return problem(directory, name, "cannot be read");
  }
}

const problem = (directory: string, name: string, what: string): Problem => ({
  where: join(directory, name),
  what,
  fix: FIX,
});
