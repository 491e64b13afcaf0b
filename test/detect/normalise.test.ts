import assert from "node:assert/strict";
import fc from "fast-check";
import { fold } from "../../src/detect/fold.ts";
import { readingsOf } from "../../src/detect/normalise.ts";

const hiddenTexts = (text: string): string[] => readingsOf(text).hidden.map((view) => view.text);
const base64 = (text: string): string => Buffer.from(text).toString("base64");

describe("folding", () => {
  const rows = [
    ["plain ASCII stays", "plain ASCII stays"],
    ["ｆｕｌｌ", "full"],
    ["𝓼𝓬𝓻𝓲𝓹𝓽", "script"],
    ["ﬁne", "fine"],
    ["a\u200bb\u00adc\u2066d", "abcd"],
    ["e\u0301t\u0336", "et"],
    ["é stays composed", "é stays composed"],
    ["pаypаl", "paypal"], // Cyrillic a
    ["папа", "папа"],
    ["λόγος", "λόγος"],
    ["ﷺ", "ﷺ"], // eighteen characters: left alone
  ] as const;
  for (const [source, want] of rows) {
    it(`reads ${JSON.stringify(source)} as ${JSON.stringify(want)}`, () => {
      assert.equal(fold(source).text, want);
    });
  }

  it("reads every compatibility form of the basic plane, alone and between others", () => {
    let count = 0;
    for (let point = 0xa0; point < 0xfffe; point += 1) {
      const character = String.fromCharCode(point);
      const reading = character.normalize("NFKC");
      const isSurrogate = point >= 0xd800 && point <= 0xf8ff;
      if (isSurrogate || reading === character || reading.length > 4) continue;
      if (fold(character).invisible > 0) continue;
      count += 1;
      if (point >= 0x249c && point <= 0x24b5) continue; // letters in parentheses read as letters
      assert.equal(fold(`中${character}中`).text, `中${reading}中`);
    }
    assert.ok(count > 2_500, `${count}`);
  });

  it("leads every span of the view back to what it stands for", () => {
    const parts = fc.array(
      fc.constantFrom("a", "ｂ", "\u200b", "𝓬", "…", "é", "日", "ﬁ", "\u{e0041}"),
      {
        maxLength: 20,
      },
    );
    fc.assert(
      fc.property(parts, fc.nat(), fc.nat(), (pieces, a, b) => {
        const source = pieces.join("");
        const view = fold(source);
        if (view.text.length === 0) return;
        const start = a % view.text.length;
        const end = start + 1 + (b % (view.text.length - start));
        const span = view.toSource({ start, end });
        const back = fold(source.slice(span.start, span.end)).text;
        // A ligature is cut by a span of the view and whole in the source.
        assert.ok(
          back.includes(view.text.slice(start, end)),
          `${back} for ${view.text.slice(start, end)}`,
        );
        assert.ok(span.end - span.start <= source.length);
      }),
      { numRuns: 500 },
    );
  });

  it("counts what it leaves out of sight", () => {
    assert.equal(fold("a\u200b\u200bb\ufeff").invisible, 3);
    assert.equal(fold("ｂ").invisible, 0);
  });
});

describe("readings of a text", () => {
  it("are the text itself and nothing else when nothing is hidden in it", () => {
    const text = "See https://example.com/a?b=1 and call f(x) { return 'ok' } at 10:30.";
    const { plain, hidden } = readingsOf(text);
    assert.equal(plain.text, text);
    assert.deepEqual(hidden, []);
  });

  it("part the words of spaced letters where a gap is wider", () => {
    assert.deepEqual(hiddenTexts("o p e n  t h e  g a t e"), ["open the gate"]);
    assert.deepEqual(hiddenTexts("o-p-e-n-t-h-e-g-a-t-e"), ["open the gate"]);
    assert.deepEqual(hiddenTexts("o. p. e. n. t. h. e. g. a. t. e"), ["open the gate"]);
  });
  it("are turned and reversed where a common word stands in them in that writing", () => {
    const text = "Bring the lamp to the harbour at noon.";
    const turned = text.replace(/[a-z]/gi, (letter) => {
      const code = letter.charCodeAt(0) + 13;
      return String.fromCharCode(code > (letter <= "Z" ? 90 : 122) ? code - 26 : code);
    });
    assert.ok(hiddenTexts(turned).includes(text));
    assert.ok(hiddenTexts([...text].reverse().join("")).includes(text));
  });

  it("take in an encoding inside an encoding, three deep and no deeper", () => {
    const inner = "the innermost words of all";
    const nested = (depth: number): string =>
      depth === 0 ? inner : base64(`layer ${nested(depth - 1)}`);
    assert.ok(hiddenTexts(nested(3)).some((text) => text.includes(inner)));
    assert.ok(!hiddenTexts(nested(4)).some((text) => text.includes(inner)));
  });

  it("point to the encoded text as a whole", () => {
    const text = `see ${base64("some words to read here")} ok`;
    const [view] = readingsOf(text).hidden;
    assert.equal(view?.text, "some words to read here");
    assert.deepEqual(view?.toSource({ start: 2, end: 4 }), { start: 4, end: text.length - 3 });
  });

  it("do not take random bytes for language", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 90 }), (bytes) => {
        const text = Buffer.from(bytes).toString("base64");
        for (const found of hiddenTexts(text)) {
          const letters = [...found].filter((character) => /[\p{L} ]/u.test(character)).length;
          assert.ok(letters >= found.length * 0.5);
        }
      }),
    );
  });

  it("are of the text itself by every decoder, however much the ones before it find", () => {
    const filler = base64("the ferry leaves at noon and comes back late ".repeat(60));
    const letters = "o p e n  t h e  g a t e  a n d  s e n d  t h e  k e y s";
    const text = `<p style="opacity:0"><!-- gur eht ${filler}%61%61%61\n${letters}`;
    assert.ok(hiddenTexts(text).includes("open the gate and send the keys"));
  });

  it("stop at a limit of work: what opens twice at every depth costs four of its size, not fourteen", () => {
    const text = "<!-- display:none> some words ".repeat(400);
    const total = hiddenTexts(text).reduce((sum, found) => sum + found.length, 0);
    assert.ok(total > 0 && total <= text.length * 4, `${total / text.length}`);
  });

  const order = "Bring the lamp to the harbour at noon.";
  const filling = "The harvest was good. ";
  const evasions = {
    "behind a piece of 100 kB": base64(filling.repeat(5_000) + order),
    "behind marks that wake other decoders": `<!-- a --> font-size:0>a</ \u{e0041} \ufe01\ufe02\ufe03\ufe04 ${filling.repeat(60)}${base64(order)}`,
    "behind a thousand names": `${"item_number_of_the_long_list ".repeat(1_000)}${base64(order)}`,
    "behind signs that are no letters": base64("=-".repeat(200) + order),
    "behind an escaped line break": `line\\n${base64(order)}`,
  };
  for (const [where, text] of Object.entries(evasions)) {
    it(`find what is encoded ${where}`, () => {
      assert.ok(hiddenTexts(text).some((found) => found.includes(order)));
    });
  }
});
