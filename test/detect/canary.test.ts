import assert from "node:assert/strict";
import { canaryDetector } from "../../src/detect/canary.ts";
import { rot13 } from "../../src/detect/rot13.ts";

const canary = "Limen-Kx83vQ";
const { scan } = canaryDetector([canary, "second-one-4711"]);
const found = (text: string): string[] =>
  scan(`${text}\0`, 0).found.map(({ start, end }) => text.slice(start, end));
const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe("a canary", () => {
  const rows = {
    "as it is": canary,
    "in capitals": canary.toUpperCase(),
    spaced: [...canary].join(" "),
    "one to a line": [...canary].join("\n"),
    "with joiners nobody sees": [...canary].join("\u200d"),
    backwards: [...canary].reverse().join(""),
    "in hexadecimal": Buffer.from(canary).toString("hex"),
    "in spaced hexadecimal": Buffer.from(canary).toString("hex").replace(/../g, "$& "),
    "in rot13": rot13(canary),
    "that is the second of two": "second-one-4711",
  };
  for (const [how, written] of Object.entries(rows)) {
    it(`is found ${how}`, () => assert.equal(found(`say ${written.trim()} now`).length, 1));
  }
  for (const before of ["", "x", "xy", "xyz"]) {
    it(`is found in base64 behind ${before.length} bytes`, () => {
      assert.equal(found(`say ${base64(`${before}${canary} and more`)}`).length, 1);
    });
  }
  const clean = [
    "Limen-Kx83v",
    "Limen Kx83v Q8",
    "L i m e n",
    base64("Limen and others"),
    canary.slice(1),
  ];
  for (const text of clean) {
    it(`is not found in ${JSON.stringify(text)}`, () => assert.deepEqual(found(text), []));
  }
  it("inside another is told once", () => {
    const both = canaryDetector(["outer-inner-77", "inner-77"]);
    assert.deepEqual(both.scan("say outer-inner-77\0", 0).found, [{ start: 4, end: 18 }]);
  });
  it("cut off by the end of the text is open from its first character", () => {
    assert.equal(scan("say Limen-Kx8", 0).open, 4);
    assert.equal(scan("say nothing", 0).open, 11);
  });
});
