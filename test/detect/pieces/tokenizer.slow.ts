/** Time for pieces grows as the text does, whatever the text. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Tokenizer } from "../../../src/detect/pieces/tokenizer.ts";
import { parseVocabulary } from "../../../src/detect/pieces/vocabulary.ts";

const file = readFileSync(new URL("../../../models/injection/vocabulary.bin", import.meta.url));
const tokenizer = new Tokenizer(parseVocabulary(file)!, 20_000_000);

const SMALL = 100_000;
const TIMES = 16;
/** Quadratic time would be 16 times as much again; garbage collection and neighbours are far less. */
const SLACK = 4;

const rows: Readonly<Record<string, string>> = {
  "one letter": "x",
  words: "the boat at the bridge ",
  "one script without spaces": "蓝色的小船系在桥边",
  "marks on nothing": "\u0301",
  "marks after replaced characters": "\u00bd\u0301\u0301\u0301\u0301",
  "marks after prepending characters": "\u0600\u00bd\u0301",
  "what is replaced by eighteen characters": "\ufdfa",
  "unknown characters": "\u{e000}",
  "halves of pairs": "\ud800",
  spaces: " ",
  "spaces that are not alike": "\u2003\r\n\u200b",
  "removed characters": "\u0001",
  "the longest pieces, broken off": "▁▁▁▁____----====....",
};

describe("pieces of a hostile text", function () {
  this.timeout(60_000);
  const timed = (text: string): number => {
    const times = [0, 1, 2].map(() => {
      const start = performance.now();
      tokenizer.pieces(text);
      return performance.now() - start;
    });
    return Math.min(...times);
  };
  for (const [what, unit] of Object.entries(rows)) {
    it(`take time in proportion to it: ${what}`, () => {
      const small = unit.repeat(SMALL / unit.length);
      timed(small); // compiled
      const once = Math.max(timed(small), 1);
      const many = timed(small.repeat(TIMES));
      assert.ok(many < SLACK * TIMES * once, `${once} ms, then ${many} ms`);
    });
  }
});
