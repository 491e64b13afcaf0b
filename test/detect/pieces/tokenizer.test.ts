/** The pieces of texts: the ids of the tokenizer that the encoder was trained with, for whatever text. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { type Pieces, Tokenizer } from "../../../src/detect/pieces/tokenizer.ts";
import { parseVocabulary } from "../../../src/detect/pieces/vocabulary.ts";

type Row = { text: string; ids: number[]; spans: [number, number][] };
const rows: readonly Row[] = JSON.parse(
  readFileSync(new URL("tokenizer.want.json", import.meta.url), "utf8"),
);
const file = readFileSync(new URL("../../../models/injection/vocabulary.bin", import.meta.url));
const vocabulary = parseVocabulary(file)!;
const tokenizer = new Tokenizer(vocabulary, 100_000);

const spansOf = ({ starts, ends }: Pieces): number[][] =>
  [...starts].map((start, i) => [start, ends[i] ?? -1]);
/** Start, padding and end: no text may hold them. Those of the places come after all pieces. */
const SPECIALS = new Set([0, 1, 2]);
/** What is removed at the start of a text moves all offsets of that tokenizer; here it does not. */
const isMoved = (text: string): boolean => text.startsWith("\u0001");

describe("pieces", () => {
  it("are known for texts in thirty scripts", () => {
    assert.ok(rows.length >= 60);
  });
  for (const { text, ids, spans } of rows) {
    const name = JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}...` : text);
    it(`are those of the training for ${name}`, () => {
      const pieces = tokenizer.pieces(text);
      assert.deepEqual([...pieces.ids], ids);
      if (!isMoved(text)) assert.deepEqual(spansOf(pieces), spans);
      assert.equal(pieces.complete, true);
    });
  }

  it("stand in the text in their order, one after the other", () => {
    const anyText = fc.oneof(
      fc.string({ unit: "binary", maxLength: 200 }),
      fc.string({ unit: "grapheme", maxLength: 200 }),
      fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
    );
    fc.assert(
      fc.property(anyText, (text) => {
        const { ids, starts, ends } = tokenizer.pieces(text);
        for (const [i, id] of ids.entries()) {
          assert.ok(!SPECIALS.has(id) && id <= vocabulary.ids.length + SPECIALS.size);
          assert.ok(starts[i]! < ends[i]! && ends[i]! <= text.length);
          // Characters that one replaced character became may belong to two pieces.
          assert.ok(i === 0 || starts[i]! >= starts[i - 1]!);
        }
      }),
    );
  });

  it("of a half of a surrogate pair are those of the character for what is no character", () => {
    assert.deepEqual(tokenizer.pieces("a\ud800b\udc00"), tokenizer.pieces("a\ufffdb\ufffd"));
  });

  it("of a text do not depend on the text before it", () => {
    const alone = tokenizer.pieces("a word");
    for (const text of ["", "  ", "x".repeat(40_000), "𠮷", "\u0000"]) {
      tokenizer.pieces(text);
      assert.deepEqual(tokenizer.pieces("a word"), alone);
    }
  });

  it("end at the limit, and say so", () => {
    const { ids } = tokenizer.pieces("one two three four");
    const exact = new Tokenizer(vocabulary, ids.length);
    const short = new Tokenizer(vocabulary, ids.length - 1);
    assert.equal(exact.pieces("one two three four").complete, true);
    assert.deepEqual(short.pieces("one two three four").ids, ids.slice(0, -1));
    assert.equal(short.pieces("one two three four").complete, false);
    assert.equal(short.pieces("one").complete, true);
  });

  // A word of 32 KiB is handed over in parts. Without the bytes that wait for the next part this is red.
  it("are the same where a word without spaces is handed over in parts", () => {
    const sentence = "dieschlüsselhängennebenderkellertür蓝色的小船系在桥边";
    const count = Math.ceil(200_000 / Buffer.byteLength(sentence));
    const { ids, starts, ends } = tokenizer.pieces(sentence.repeat(count));
    // Far from both ends, the pieces repeat as the sentence does.
    const at = starts.findIndex((start) => start >= 10 * sentence.length);
    const next = starts.findIndex((start) => start >= 11 * sentence.length);
    const period = next - at;
    for (let i = at; i + period < ids.length - period; i++) {
      assert.equal(ids[i + period], ids[i], `piece ${i}`);
      assert.equal(starts[i + period], starts[i]! + sentence.length);
      assert.equal(ends[i + period], ends[i]! + sentence.length);
    }
    assert.ok(ids.length > 10_000);
  });
});

describe("a vocabulary", () => {
  it("is not made of other files", () => {
    const cut = file.subarray(0, file.length - 1);
    const longer = Buffer.concat([file, Buffer.of(0)]);
    const renamed = Buffer.concat([Buffer.from("LMV2"), file.subarray(4)]);
    for (const other of [Buffer.alloc(0), Buffer.alloc(24), cut, longer, renamed]) {
      assert.equal(parseVocabulary(other), undefined);
    }
  });
  it("is as small as the repository has room for", () => {
    assert.ok(file.length <= 1_600_000);
  });
});
