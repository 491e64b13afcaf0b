/** Envoy reads an OK end of a call as "go on without me": one line ends calls, and nothing destroys one. */
import assert from "node:assert/strict";
import { checkRule, matches } from "./rule.ts";
import { type SourceFile, sourcesIn } from "./source.ts";

const sources = sourcesIn("src");

/** Things that are no calls and may be destroyed. */
const SOCKETS: readonly string[] = [
  "probe.destroy(",
  "port.destroy(",
  "socket.destroy(",
  "session.destroy(",
  "decompressor.destroy(",
];

/** Names of async functions of this file that an emitter is given, and async functions written in place. */
function asyncListeners(file: SourceFile): readonly string[] {
  const inPlace = matches(
    file,
    /\.(?:on|once|addListener|prependListener|addEventListener)\(\s*[^,()]*,\s*async\b/g,
  );
  const declared = [
    ...file.code.matchAll(/\basync function\s*\*?\s*(\w+)|\b(\w+)(?::[^=;]*)?\s*=\s*async\b/g),
  ].map(([, named, assigned]) => named ?? assigned);
  const handed = declared.filter((name) =>
    new RegExp(`\\.(?:on|once|addListener|addEventListener)\\([^,()]*,\\s*${name}\\b`).test(
      file.code,
    ),
  );
  return [...inPlace, ...handed.map(String)];
}

describe("calls", () => {
  it("are ended by exactly one line", () => {
    const ends = sources.flatMap((file) =>
      matches(file, /\bcall\s*\.\s*end\s*\(/g).map(() => file.path),
    );
    assert.deepEqual(ends, ["src/envoy/call.ts"]);
  });
  checkRule({
    promise: "nothing in envoy and exchange is destroyed or ended but what is no call",
    files: sources.filter(({ path }) => /^src\/(?:envoy|exchange)\//.test(path)),
    atLeast: 12,
    find: (file) => [
      ...matches(file, /\w+\??\s*\.\s*destroy\s*\(/g).filter((use) => !SOCKETS.includes(use)),
      ...(file.path.startsWith("src/envoy/") && file.path !== "src/envoy/call.ts"
        ? matches(file, /\w+\??\s*\.\s*end\s*\(/g)
        : []),
    ],
    broken: [
      ["src/envoy/call.ts", "call.destroy();"],
      ["src/envoy/ext-proc/stream.ts", "stream?.destroy(error);"],
      ["src/envoy/ext-proc/stream.ts", "stream.end();"],
    ],
    sound: [["src/exchange/live.ts", "this.#framer.end()"]],
  });
  checkRule({
    promise:
      "no list that a peer fills is spread into a call: a hundred thousand arguments overflow the stack",
    files: sources.filter(({ path }) =>
      /^src\/(?:exchange|llm|detect|ingress|egress|action)\//.test(path),
    ),
    atLeast: 50,
    find: (file) => matches(file, /\.push\(\s*\.\.\./g),
    broken: [["src/llm/x.ts", "calls.push(...own);"]],
    sound: [["src/llm/x.ts", "calls.push(own); return [...calls, ...own];"]],
  });
  checkRule({
    promise: "no async function listens to an event: its rejection would be nobody's",
    files: sources,
    atLeast: 80,
    find: asyncListeners,
    broken: [
      ["src/envoy/x.ts", 'call.on("data", async (message) => {});'],
      ["src/envoy/x.ts", 'const read = async () => {}; call.once("data", read);'],
      ["src/envoy/x.ts", 'async function read() {}\nsignal.addEventListener("abort", read);'],
    ],
    sound: [
      ["src/envoy/x.ts", 'call.on("data", (message) => void 0); const read = async () => {};'],
    ],
  });
});
