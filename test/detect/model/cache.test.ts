/** What is kept of scores, and for whom. */
import assert from "node:assert/strict";
import { ownerOf, ScoreCache, textKey, windowKey } from "../../../src/detect/model/cache.ts";
import type { TextScore } from "../../../src/detect/scorer.ts";

const head = { score: 1, span: { start: 0, end: 1 } };
const score: TextScore = { direct: head, embedded: head, jailbreak: head, complete: true };

describe("the cache of scores", () => {
  it("keeps as many as its limit, and what was used last", () => {
    const cache = new ScoreCache<TextScore>(2);
    cache.set("a", score);
    cache.set("b", score);
    assert.equal(cache.get("a"), score);
    cache.set("c", score);
    assert.equal(cache.get("b"), undefined);
    assert.equal(cache.get("a"), score);
    assert.equal(cache.get("c"), score);
  });

  it("keeps an entry that is set again once", () => {
    const cache = new ScoreCache<TextScore>(2);
    for (const key of ["a", "b", "b", "b"]) cache.set(key, score);
    assert.equal(cache.get("a"), score);
  });

  it("has a key of its own for each scope, place and text", () => {
    const keys = new Set([
      textKey("a", { text: "text", place: "user" }),
      textKey("b", { text: "text", place: "user" }),
      textKey("a", { text: "text", place: "tool" }),
      textKey("a", { text: "other", place: "user" }),
      // The same letters, cut elsewhere.
      textKey("at", { text: "ext", place: "user" }),
      textKey("", { text: "1 atext", place: "user" }),
      textKey("", { text: "atext", place: "user" }),
    ]);
    assert.equal(keys.size, 7);
  });

  it("has a key of its own for each scope, place and pieces of a window", () => {
    const all = Uint16Array.of(1, 2, 256);
    const keys = [
      windowKey(ownerOf("a", "user"), all),
      windowKey(ownerOf("b", "user"), all),
      windowKey(ownerOf("a", "tool"), all),
      windowKey(ownerOf("a", "user"), all.subarray(1)),
      windowKey(ownerOf("a", "user"), all.subarray(0, 2)),
      windowKey(ownerOf("a", "user"), Uint16Array.of(256, 2, 1)),
      // The bytes of the first piece, as letters of the scope.
      windowKey(ownerOf("a\u0001\u0000", "user"), all.subarray(1)),
    ];
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(windowKey(ownerOf("a", "user"), Uint16Array.of(0, 2, 256).subarray(1)), keys[3]);
  });
});
