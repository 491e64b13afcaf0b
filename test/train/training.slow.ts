/** The parts of training that need no package but Python itself. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { isHeld } from "../../scripts/evaluation/rows.ts";

const folder = fileURLToPath(new URL("../../scripts/train", import.meta.url));
const python = (program: string): unknown =>
  JSON.parse(
    execFileSync("python3", ["-B", "-c", `import json, random\n${program}`], {
      cwd: folder,
      encoding: "utf8",
      timeout: 60_000,
    }),
  );

describe("training", () => {
  it("leaves out exactly the rows that the evaluation sets thresholds with", () => {
    const left = python(
      [
        "from rows import is_held",
        "held = lambda slot: [i for i in range(3000) if is_held(f'train_extra/{i:06d}', 'benign', slot)]",
        "print(json.dumps({slot: held(slot) for slot in ('user', 'tool', 'document')}))",
      ].join("\n"),
    );
    const held = (slot: "user" | "tool" | "document"): readonly number[] =>
      Array.from({ length: 3_000 }, (_, i) => i).filter((i) =>
        isHeld({ id: `train_extra/${String(i).padStart(6, "0")}`, label: "benign", slot }),
      );
    const expected = { user: held("user"), tool: held("tool"), document: held("document") };
    assert.ok(expected.user.length > 150 && expected.tool.length > 500);
    assert.deepEqual(left, expected);
  });

  it("holds no attack and nothing of another set", () => {
    const counts = python(
      [
        "from rows import is_held",
        "ids = range(3000)",
        "print(json.dumps([sum(is_held(f'train_extra/{i}', 'embedded', 'tool') for i in ids),",
        "  sum(is_held(f'train/{i}', 'benign', 'tool') for i in ids)]))",
      ].join("\n"),
    );
    assert.deepEqual(counts, [0, 0]);
  });

  it("leaves no blank of a sentence unfilled, and one seed gives one text", () => {
    const texts = python(
      [
        "import phrases as p",
        "makers = [p.order, p.neighbour, p.user_harmless, p.user_attack, lambda r: p.framed(True, r),",
        "  lambda r: p.framed(False, r), p.plain_wish, p.honest, lambda r: p.around(['kettle', 'ledger'], r)]",
        "make = lambda: [m(r) for r in [random.Random(3)] for _ in range(400) for m in makers]",
        "print(json.dumps([make(), make()]))",
      ].join("\n"),
    );
    assert.ok(Array.isArray(texts));
    const [first, second]: readonly unknown[] = texts;
    assert.ok(Array.isArray(first));
    assert.equal(first.length, 3_600);
    assert.deepEqual(first, second);
    // A call with its argument, `delete_file({data})`, is filled too.
    assert.deepEqual(
      first.filter((text) => /\{[a-zA-Z]+\}/.test(String(text))),
      [],
    );
  });

  it("has every section of every language, fills every slot, and one seed gives one text", () => {
    const told = python(
      [
        "import languages as l",
        "every = l.files()",
        "frames, tools = l.Frames(every.pop('frames')), l.Tools(every.pop('tools'))",
        "names = sorted(every['en'])",
        "missing = [(c, n) for c, s in every.items() for n in names if n not in s]",
        "def make():",
        "  r = random.Random(11)",
        "  spoken = [getattr(l.Language(s), k)(r) for s in every.values() for _ in range(60)",
        "    for k in ('attack', 'harmless', 'order', 'notice', 'carrier')]",
        "  framed = [f(r) for _ in range(300) for f in (lambda r: frames.harmful(r)[0], frames.harmless,",
        "    frames.freed, frames.honest, frames.wish, tools.order, tools.notice)]",
        "  return [t for t in spoken + framed]",
        "slots = ['{%s}' % n for s in (every['en'], frames.language.sections) for n in s]",
        "texts = make()",
        "left = [t for t in texts if any(s in t.replace('{{', '').replace('}}', '') for s in slots)]",
        "lines = [c for c, _ in (tools.carrier(random.Random(i)) for i in range(300)) if c.count('{line}') != 1]",
        "print(json.dumps([len(every), missing, left, texts == make(), lines]))",
      ].join("\n"),
    );
    assert.ok(Array.isArray(told));
    const [count, ...rest]: readonly unknown[] = told;
    assert.ok(typeof count === "number" && count >= 25);
    assert.deepEqual(rest, [[], [], true, []]);
  });
});
