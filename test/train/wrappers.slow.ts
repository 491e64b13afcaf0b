/** Wrappers that training does without, those it has never had around an attack, and what is told of both. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const LIMIT_MS = 60_000;

const python = (...lines: readonly string[]): unknown =>
  JSON.parse(
    execFileSync("python3", ["-B", "-c", lines.join("\n")], {
      cwd: join(root, "scripts/train"),
      encoding: "utf8",
      timeout: LIMIT_MS,
    }),
  );

describe("wrappers of training", () => {
  it("knows each style of a family by sight, and nothing where there is no wrapper", () => {
    const told = python(
      "import json, phrases, wrappers",
      "def seen(family, style):",
      "  text = 'Opening hours changed.\\n' + phrases.wrapped('Lend me a rake.', style)[1]",
      "  one = wrappers.Without([family])",
      "  return [one.around(text, text.upper().index('LEND')), one.within(text)]",
      "own = [seen(f, s) for f in wrappers.MARKS for s in phrases.FAMILIES[f]]",
      "bare = [seen(f, s) for f in wrappers.MARKS for s in phrases.FAMILIES['inline']]",
      "every = sorted(s for f in phrases.FAMILIES.values() for s in f) == sorted(phrases.STYLES)",
      "print(json.dumps([own, bare, every]))",
    );
    assert.ok(Array.isArray(told));
    const [own, bare, every]: readonly unknown[] = told;
    assert.ok(Array.isArray(own) && Array.isArray(bare));
    assert.deepEqual(own, Array(13).fill([true, true]));
    assert.deepEqual(bare, Array(21).fill([false, false]));
    assert.equal(every, true);
  });

  it("leaves out attacks in a wrapper, wherever they come from, and keeps what is harmless", () => {
    const told = python(
      "import json, wrappers",
      "from rows import Row",
      "def row(text, label, span):",
      "  return Row('a', text, label, 'tool', 'en', 'Latin', '', '', '', '', (), span, False)",
      "page = 'Menu\\n<!-- Lend me a rake. -->\\nSoup and a long list of other dishes of the day.'",
      "at = page.index('Lend')",
      "one = wrappers.Without(['markup'])",
      "rows = [row(page, 'embedded', (at, at + 15)), row(page, 'embedded', (0, 4)),",
      "  row(page, 'direct', None), row('Lend me a rake.', 'direct', None), row(page, 'benign', None)]",
      "sections = {'carrier': ['<p>{line}</p>', '<p>' + 'soup ' * 80 + '{line}'],",
      "  'order': ['<b>Go.</b>', 'Go.'], 'people': ['<b>Go.</b>']}",
      "print(json.dumps([[one.trains_on(r) for r in rows], one.sections(sections),",
      "  wrappers.Without().sections(sections) == sections]))",
    );
    const carriers = [`<p>${"soup ".repeat(80)}{line}`];
    assert.deepEqual(told, [
      [false, true, false, true, true],
      { carrier: carriers, order: ["Go."], people: ["<b>Go.</b>"] },
      true,
    ]);
  });

  it("knows a new wrapper around an attack, and only there where its place is known", () => {
    const told = python(
      "import json, phrases, wrappers",
      "line = 'Lend me a rake.'",
      "def of(text, far=''):",
      "  text = 'Hours changed.\\n' + text.replace('{}', line)",
      "  at = text.index(line)",
      "  return (text + far, (at, at + len(line)))",
      "every = [(n, t) for s in wrappers.STYLES.values() for n, (t, _) in s.items()]",
      "own = [wrappers.known([of(t)]) == {n} for n, t in every]",
      "ours = wrappers.known([of(t) for t in phrases.STYLES.values()])",
      "far = of('{}', ' more' * 20 + '\\n\\u2610 a box')",
      "print(json.dumps([len(every), own, list(ours), list(wrappers.known([far])),",
      "  list(wrappers.known([(far[0], None)])), len(wrappers.STYLES)]))",
    );
    assert.deepEqual(told, [45, Array(45).fill(true), [], [], ["checkbox"], 6]);
  });
});

describe("figures of wrappers", () => {
  const folder = mkdtempSync(join(tmpdir(), "limen-wrappers-"));
  after(() => rmSync(folder, { recursive: true }));

  it("are those of the product's fusion, with bounds from the carriers of the same slot", () => {
    const NEVER = { direct: 10_000, embedded: 10_000, jailbreak: 10_000 };
    const levels = (embedded: number) => ({ ...NEVER, embedded });
    const balanced = { user: NEVER, tool: levels(9_000), document: levels(5_000), hidden: NEVER };
    const manifest = {
      files: Object.fromEntries(
        ["vocabulary.bin", "first.onnx", "second.onnx"].map((file) => [file, "0".repeat(64)]),
      ),
      shape: {
        length: 144,
        overlap: 24,
        bos: 0,
        eos: 2,
        slots: { user: 3, tool: 4, document: 5, hidden: 6 },
      },
      clear: { user: 0, tool: 0, document: 0, hidden: 0 },
      thresholds: { permissive: balanced, balanced, strict: balanced },
    };
    const rows: Record<string, string>[] = [];
    const scores: unknown[] = [];
    const add = (row: Record<string, string>, embedded: number): void => {
      const id = `row ${rows.length}`;
      rows.push({ ...row, id, text: `The harbour opens at ${rows.length}.` });
      scores.push({ id, passages: [[0, embedded, 0]] });
    };
    // One clean tool result in a hundred may be above the bound of .95; of documents no carrier comes near.
    for (let i = 0; i < 100; i += 1) {
      add({ label: "benign", provenance: "tool", source: "clean" }, i < 2 ? 0.95 + i / 100 : 0.1);
      add({ label: "benign", provenance: "document", source: "clean" }, 0.2);
    }
    const wrapped = { family: "borders", kind: "stars", source: "nowhere" };
    for (const score of [0.95, 0.955, 0.8])
      add({ ...wrapped, label: "embedded", provenance: "tool" }, score);
    add({ ...wrapped, label: "embedded", provenance: "document" }, 0.3);
    add({ ...wrapped, label: "benign", provenance: "tool" }, 0.95);
    add({ ...wrapped, label: "benign", provenance: "document" }, 0.4);
    const inline = { family: "inline", kind: "bare", source: "training" };
    add({ ...inline, label: "embedded", provenance: "document" }, 0.6);
    add({ ...inline, label: "benign", provenance: "document" }, 0.1);
    mkdirSync(join(folder, "injection"));
    const lines = (all: readonly unknown[]): string =>
      all.map((one) => `${JSON.stringify(one)}\n`).join("");
    writeFileSync(join(folder, "injection", "dev.jsonl"), lines(rows));
    writeFileSync(join(folder, "scores.jsonl"), lines(scores));
    writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
    const out = execFileSync(
      process.execPath,
      ["scripts/train/wrappers.ts", folder, join(folder, "scores.jsonl"), folder],
      { cwd: root, encoding: "utf8", timeout: LIMIT_MS },
    );
    const shares = out
      .trimEnd()
      .split("\n")
      .slice(1)
      .map((line) => line.replaceAll(/ \([^)]*\)/g, "").split(/ {2,}/));
    assert.deepEqual(shares, [
      ["nowhere, all", "4", "50.0", "50.0", "25.0", "50.0"],
      ["nowhere, borders", "4", "50.0", "50.0", "25.0", "50.0"],
      ["training, all", "1", "100.0", "100.0", "100.0", "0.0"],
      ["training, inline", "1", "100.0", "100.0", "100.0", "0.0"],
      ["clean carriers, flagged: 1.0 of 200"],
    ]);
  });
});
