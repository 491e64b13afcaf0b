import assert from "node:assert/strict";
import fc from "fast-check";
import { ruleId } from "../../src/core/brand.ts";
import { CONTEXT_UNITS, type TextControl, type TextVerdict } from "../../src/core/control.ts";
import type { Finding } from "../../src/core/finding.ts";
import { FindingTally } from "../../src/exchange/evidence.ts";
import { StreamWindow, type WindowReport } from "../../src/exchange/stream-window.ts";

const RULE = ruleId("pii.digits");
const finding = (start: number, end: number): Finding => ({
  rule: RULE,
  kind: "pii",
  span: { start, end },
  score: 10_000,
  threshold: 5_000,
});

/** Redacts runs of 4 to 8 digits; refuses a run of exactly "666666". A second implementation, not a mock. */
const digits: TextControl = {
  judgeText(text, from, rest) {
    const tail = text.slice(from).search(/[0-9]+$/);
    const open = tail < 0 || rest === "ended" ? text.length : from + tail;
    const runs = [...text.matchAll(/[0-9]+/g)]
      .map((match) => ({ start: match.index, end: match.index + match[0].length, text: match[0] }))
      .filter(({ start, end }) => start >= from && (rest === "ended" || end < text.length))
      .filter(({ text: run }) => run.length >= 4 && run.length <= 8);
    const findings = runs.map(({ start, end }) => finding(start, end));
    const denied = runs.some(({ text: run }) => run === "666666");
    let verdict: TextVerdict = { kind: "allow" };
    if (denied) verdict = { kind: "deny", reason: "pii_detected", rule: RULE };
    else if (runs.length > 0) {
      const redactions = runs.map(({ start, end }) => ({ span: { start, end }, replacement: "#" }));
      verdict = { kind: "mutate", reason: "pii_detected", rule: RULE, redactions };
    }
    return { verdict, findings, judged: open, held: open };
  },
  judgeArguments: () => ({ verdict: { kind: "allow" }, findings: [] }),
};

type Run = { readonly text: string; readonly report: WindowReport; readonly maxHeld: number };

/** What a client would read, redactions applied over the pieces as `live.ts` does. */
function run(pieces: readonly string[], control: TextControl = digits): Run {
  const report: WindowReport = { findings: new FindingTally(), refusal: undefined };
  const window = new StreamWindow(control, report);
  const placed: { start: number; end: number; piece: string }[] = [];
  let out = "";
  let next = 0;
  let maxHeld = 0;
  const release = (): void => {
    for (let part = placed[next]; part && part.end <= window.released; part = placed[next]) {
      const { start, end, piece } = part;
      let written = "";
      let at = start;
      for (const { span, replacement } of window.redactionsIn(start, end)) {
        written += piece.slice(at - start, Math.max(span.start, start) - start);
        if (span.start >= start) written += replacement;
        at = Math.min(span.end, end);
      }
      out += written + piece.slice(at - start);
      next += 1;
    }
  };
  for (const piece of pieces) {
    const start = window.length;
    window.push(piece);
    placed.push({ start, end: window.length, piece });
    release();
    maxHeld = Math.max(maxHeld, window.length - window.released);
  }
  window.flush();
  release();
  return { text: out, report, maxHeld };
}

describe("stream window", () => {
  const alphabet = fc.constantFrom("1", "2", "3", "66", " ", "a", "bc", "1234", "666666", "é");
  const text = fc.array(alphabet, { maxLength: 200 }).map((parts) => parts.join(""));
  const cuts = fc.array(fc.nat({ max: 9 }), { minLength: 1, maxLength: 40 });
  const cutBy = (whole: string, sizes: readonly number[]): string[] => {
    const pieces: string[] = [];
    for (let at = 0, i = 0; at < whole.length; i += 1) {
      const size = sizes[i % sizes.length] || 1;
      pieces.push(whole.slice(at, at + size));
      at += size;
    }
    return pieces;
  };

  it("gives the same text, findings and verdict however a text is cut", () => {
    let redacted = 0;
    fc.assert(
      fc.property(text, cuts, (whole, sizes) => {
        const once = run([whole]);
        const many = run(cutBy(whole, sizes));
        assert.equal(many.report.refusal, once.report.refusal);
        if (once.report.refusal !== undefined) return;
        assert.equal(many.text, once.text);
        assert.deepEqual(many.report.findings.rows("masked"), once.report.findings.rows("masked"));
        redacted += once.report.findings.rows("masked")[0]?.count ?? 0;
      }),
      { numRuns: 500 },
    );
    assert.ok(redacted > 100); // so that "the same" cannot mean "nothing found"
  });

  it("holds nothing of a text without an open candidate", () => {
    assert.equal(run(["no digits ", "here", " at all."]).maxHeld, 0);
  });

  it("holds from the start of an open candidate and no further back", () => {
    const window = new StreamWindow(digits, { findings: new FindingTally(), refusal: undefined });
    window.push("card 12");
    assert.equal(window.released, "card ".length);
    window.push("34 and");
    assert.equal(window.released, "card 1234 and".length);
  });

  it("refuses a stream whose finding began in text that a flush has released", () => {
    const report: WindowReport = { findings: new FindingTally(), refusal: undefined };
    const window = new StreamWindow(digits, report);
    window.push("12");
    window.flush();
    assert.equal(window.released, 2);
    window.push("34 ");
    assert.equal(report.refusal, "pii_detected");
  });

  it("does not report again what a flush has reported when a channel goes on", () => {
    const report: WindowReport = { findings: new FindingTally(), refusal: undefined };
    const window = new StreamWindow(digits, report);
    window.push("1234");
    window.flush();
    window.push(" and on");
    assert.equal(report.findings.rows("masked")[0]?.count, 1);
    assert.equal(report.refusal, undefined);
  });

  it("judges a text once when it is flushed twice", () => {
    const report: WindowReport = { findings: new FindingTally(), refusal: undefined };
    const window = new StreamWindow(digits, report);
    window.push("1234");
    window.flush();
    window.flush();
    assert.equal(report.findings.rows("masked")[0]?.count, 1);
    assert.equal(report.refusal, undefined);
  });

  it("keeps no more than the context and what is open of a long stream", () => {
    let longest = 0;
    const watching: TextControl = {
      ...digits,
      judgeText(seen, from, rest) {
        longest = Math.max(longest, seen.length);
        return digits.judgeText(seen, from, rest);
      },
    };
    run(Array(5_000).fill("some words "), watching);
    assert.ok(longest <= 2 * CONTEXT_UNITS + "some words ".length);
  });
});
