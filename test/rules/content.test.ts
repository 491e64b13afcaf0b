/** Content stays in its class, patterns on it are RE2, and what traffic does is never a thrown LimenError. */
import { checkRule, matches, roomOf } from "./rule.ts";
import { type SourceFile, sourcesIn } from "./source.ts";

const sources = sourcesIn("src");

/** What holds it. */
const HOLDERS: ReadonlySet<string> = new Set(["src/core/content.ts", "src/core/identity.ts"]);
/** The files that read text of traffic. A new one needs a reason that a reviewer accepts. */
const REVEAL: ReadonlySet<string> = new Set([
  "src/action/action.ts", // names and arguments of tools
  "src/exchange/buffered.ts", // texts of a whole answer
  "src/exchange/calls.ts", // names and arguments of calls
  "src/exchange/outcome.ts", // the model's name
  "src/exchange/request.ts", // the model's name
  "src/exchange/scope.ts", // whose scores may be used again
  "src/exchange/splice.ts", // the text that a redaction maps to its source
  "src/policy/compile.ts", // who the policies are chosen by
  "src/ingress/ingress.ts", // texts and the model's name
]);

/** Rooms that see traffic. */
const TRAFFIC: ReadonlySet<string> = new Set([
  "llm",
  "detect",
  "ingress",
  "egress",
  "action",
  "exchange",
]);
/** What there is the operator's: opened at start, before any traffic. */
const OPERATOR: ReadonlySet<string> = new Set(["src/detect/model/model.ts"]); // the weights
/** Patterns there that run over our own tables or the operator's words, as written. */
const OWN_TEXT: Readonly<Record<string, readonly string[]>> = {
  "src/action/names.ts": ["/[*?]/"], // is a policy's pattern a literal
  "src/detect/secrets/token.ts": ["/[^0-9A-Za-z_]/g"], // escapes a literal prefix for RE2
  "src/llm/text.ts": ["/\\s+/"], // splits a list of schema words
};

function patterns(file: SourceFile): readonly string[] {
  if (!TRAFFIC.has(roomOf(file.path)) || file.path === "src/detect/re2.ts") return [];
  const literals = file.regexes.map(({ text }) => text);
  return [
    ...literals.filter((text) => !OWN_TEXT[file.path]?.includes(text)),
    ...matches(file, /\bRegExp\s*\(|\.(?:match|matchAll|search)\s*\(/g),
  ];
}

const decodeEdges = /^src\/(?:envoy\/ext-proc\/decode|policy\/|core\/|config|cli\/|main)/;

describe("content", () => {
  checkRule({
    promise: "content is revealed in the files of a list",
    files: sources,
    atLeast: 80,
    find: (file) =>
      REVEAL.has(file.path) || HOLDERS.has(file.path) ? [] : matches(file, /\.\s*reveal\b/g),
    broken: [
      ["src/telemetry/log.ts", "content.reveal()"],
      ["src/exchange/ledger.ts", "model?.reveal()"],
      ["src/exchange/ledger.ts", "texts.map(({ reveal }) => 1); x.reveal"],
    ],
  });
  checkRule({
    promise: "a file on the list of those that reveal content does so",
    files: sources.filter(({ path }) => REVEAL.has(path)),
    atLeast: REVEAL.size,
    find: (file) => (matches(file, /\.\s*reveal\b/g).length > 0 ? [] : ["reveals nothing"]),
    broken: [["src/action/action.ts", "// content.reveal()"]],
  });
  checkRule({
    promise: "patterns on traffic are RE2",
    files: sources.filter(({ path }) => TRAFFIC.has(roomOf(path))),
    atLeast: 40,
    find: patterns,
    broken: [
      ["src/llm/x.ts", "if (/^(a+)+$/.test(text)) return;"],
      ["src/detect/x.ts", "const pattern = new RegExp(source);"],
      ["src/egress/x.ts", "return text.match(pattern);"],
    ],
    sound: [
      ["src/policy/x.ts", "return /[a-z]+/.test(name);"],
      ["src/llm/x.ts", "const half = total / 2 / parts;"],
    ],
  });
  checkRule({
    promise: "rooms that see traffic throw no LimenError",
    files: sources.filter(({ path }) => TRAFFIC.has(roomOf(path))),
    atLeast: 40,
    find: (file) => (OPERATOR.has(file.path) ? [] : matches(file, /\bLimenError\b/g)),
    broken: [["src/exchange/x.ts", 'throw new LimenError("protocol", problem);']],
  });
  checkRule({
    promise: "a caught error's message and stack are printed nowhere",
    files: sources.filter(({ path }) => !decodeEdges.test(path)),
    atLeast: 60,
    find: (file) => matches(file, /\b(?:error|cause|err|e|reason)\.(?:message|stack)\b/g),
    broken: [["src/exchange/x.ts", "log(error.message)"]],
  });
});
