import assert from "node:assert/strict";
import { fold } from "../../../src/detect/fold.ts";

describe("runs of characters that are letters in company", () => {
  it("are read at any length", () => {
    assert.equal(fold(`x ${"ᴀ".repeat(1_000)}`).text, `x ${"a".repeat(1_000)}`);
    assert.equal(fold("🇮🇬".repeat(300)).text, "IG".repeat(300));
    assert.equal(fold("🇫🇷".repeat(300)).text, "🇫🇷".repeat(300));
    assert.equal(fold(`${"x".repeat(1_000)}ᴀ`).text, `${"x".repeat(1_000)}a`);
  });

  it("are read in time that grows with the text, whatever stands before them", () => {
    fold(`${"x".repeat(1_000_000)}${"ᴀ".repeat(1_000_000)}`);
    fold(`${"x".repeat(1_000)}ᴀʃ`.repeat(1_000));
  }).timeout(8_000);
});
