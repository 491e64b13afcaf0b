/** The manifest is read whole or not at all. */
import assert from "node:assert/strict";
import { clearedLimit, parseManifest } from "../../../src/detect/model/manifest.ts";
import { manifestOf } from "./tiny-encoder.ts";

const digest = "0".repeat(64);
const sound = manifestOf({ "vocabulary.bin": digest, "first.onnx": digest, "second.onnx": digest });

/** `sound` with another value at a path, or without it. */
function changed(path: readonly string[], value: unknown): string {
  const copy = structuredClone(sound) as unknown as Record<string, unknown>;
  const parent = path.slice(0, -1).reduce((at, key) => at[key] as Record<string, unknown>, copy);
  parent[path.at(-1)!] = value;
  return JSON.stringify(copy);
}

describe("a manifest", () => {
  it("is read, and what is only for people is not", () => {
    assert.deepEqual(parseManifest(JSON.stringify({ ...sound, name: "tiny" })), sound);
  });

  const rows: readonly { path: readonly string[]; value: unknown }[] = [
    { path: ["files"], value: undefined },
    { path: ["files", "first.onnx"], value: undefined },
    { path: ["files", "first.onnx"], value: "0".repeat(63) },
    { path: ["shape", "bos"], value: 1.5 },
    { path: ["shape", "eos"], value: 65_536 },
    { path: ["shape", "slots", "hidden"], value: undefined },
    { path: ["shape", "length"], value: 513 },
    { path: ["shape", "overlap"], value: 65 },
    { path: ["shape", "length"], value: 47 }, // less than twice the overlap: a text would be read over and over
    { path: ["shape", "overlap"], value: -1 },
    { path: ["clear"], value: "5000" },
    { path: ["clear"], value: null },
    { path: ["thresholds", "strict"], value: undefined },
    { path: ["thresholds", "balanced", "tool", "embedded"], value: 10_001 },
    { path: ["thresholds", "balanced", "tool", "embedded"], value: -0.5 },
  ];
  for (const { path, value } of rows) {
    it(`is refused when ${path.join(".")} is ${JSON.stringify(value)}`, () => {
      assert.equal(parseManifest(changed(path, value)), undefined);
    });
  }
  for (const text of ["", "[]", "null", "{", '"manifest"']) {
    it(`is refused when it is ${JSON.stringify(text)}`, () => {
      assert.equal(parseManifest(text), undefined);
    });
  }

  it("lets a cleared window say less than any threshold", () => {
    assert.equal(clearedLimit(sound), 199);
    const lowest = parseManifest(changed(["thresholds", "strict", "user", "direct"], 0.5));
    assert.equal(clearedLimit(lowest!), 0);
  });
});
