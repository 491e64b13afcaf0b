/** What is kept of scores, and for whom. */
import assert from "node:assert/strict";
import { cacheKey, ScoreCache } from "../../../src/detect/model/cache.ts";
import type { TextScore } from "../../../src/detect/scorer.ts";

const head = { score: 1, span: { start: 0, end: 1 } };
const score: TextScore = { direct: head, embedded: head, jailbreak: head, complete: true };

describe("the cache of scores", () => {
  it("keeps as many as its limit, and what was used last", () => {
    const cache = new ScoreCache(2);
    cache.set("a", score);
    cache.set("b", score);
    assert.equal(cache.get("a"), score);
    cache.set("c", score);
    assert.equal(cache.get("b"), undefined);
    assert.equal(cache.get("a"), score);
    assert.equal(cache.get("c"), score);
  });

  it("keeps an entry that is set again once", () => {
    const cache = new ScoreCache(2);
    for (const key of ["a", "b", "b", "b"]) cache.set(key, score);
    assert.equal(cache.get("a"), score);
  });

  it("has a key of its own for each scope, place and text", () => {
    const keys = new Set([
      cacheKey("a", { text: "text", place: "user" }),
      cacheKey("b", { text: "text", place: "user" }),
      cacheKey("a", { text: "text", place: "tool" }),
      cacheKey("a", { text: "other", place: "user" }),
      // The same letters, cut elsewhere.
      cacheKey("at", { text: "ext", place: "user" }),
      cacheKey("", { text: "1 atext", place: "user" }),
      cacheKey("", { text: "atext", place: "user" }),
    ]);
    assert.equal(keys.size, 7);
  });
});
