/** One place per effect: time, timers and chance come through the `Clock`, the environment through the config. */
import { checkRule, matches, roomOf } from "./rule.ts";
import { type SourceFile, sourcesIn } from "./source.ts";

const sources = sourcesIn("src");

const CLOCK = "src/cli/clock.ts";
const TIME =
  /\bDate\.now\b|\bnew Date\(\s*\)|\bDate\(\s*\)|\bperformance\.(?:now|timeOrigin)\b|\bprocess\.hrtime\b/g;
const CHANCE = /\brandom(?:UUID|Bytes|Int|FillSync|Fill)?\s*\(|\bgetRandomValues\b/g;
const TIMERS = /\bset(?:Timeout|Interval|Immediate)\b|\bAbortSignal\.timeout\b/g;
/** A thread has no clock passed to it: functions do not cross threads. */
const THREADS: ReadonlySet<string> = new Set(["src/audit/writer-thread.ts"]);

const outsideClock =
  (pattern: RegExp) =>
  (file: SourceFile): readonly string[] =>
    file.path === CLOCK ? [] : matches(file, pattern);

const PROCESS = /\bprocess\.(?!uptime\b)[a-zA-Z]+/g;
const PROCESS_USES: Readonly<Record<string, readonly string[]>> = {
  "src/config.ts": ["process.cwd"], // what relative paths are relative to without a file
  "src/detect/model/weights.ts": ["process.platform", "process.arch"], // what a package was not made for
  "src/envoy/watchdog-thread.ts": ["process.kill", "process.pid"],
};
const processUse = (file: SourceFile): readonly string[] => {
  if (file.path === "src/main.ts" || roomOf(file.path) === "cli") return [];
  return matches(file, PROCESS).filter((use) => !PROCESS_USES[file.path]?.includes(use));
};

const GLOBALS = /\bfetch\s*\(|\bconsole\.|\beval\s*\(|\bnew Function\b|\bglobalThis\b/g;

describe("effects", () => {
  checkRule({
    promise: "only the clock reads time",
    files: sources,
    atLeast: 80,
    find: (file) => (THREADS.has(file.path) ? [] : outsideClock(TIME)(file)),
    broken: [
      ["src/exchange/x.ts", "const now = Date.now();"],
      ["src/exchange/x.ts", "const now = new Date();"],
      ["src/cli/serve.ts", "const now = performance.now();"],
      ["src/audit/x.ts", "process.hrtime.bigint()"],
    ],
    sound: [
      ["src/audit/leaf.ts", "new Date(Number(wallUs / 1000n)).toISOString()"],
      ["src/exchange/x.ts", "// not Date.now()"],
    ],
  });
  checkRule({
    promise: "only the clock draws by chance",
    files: sources,
    atLeast: 80,
    find: outsideClock(CHANCE),
    broken: [
      ["src/exchange/x.ts", "const id = randomUUID();"],
      ["src/exchange/x.ts", "Math.random()"],
      ["src/audit/x.ts", "randomBytes(16)"],
    ],
  });
  checkRule({
    promise: "only the clock starts timers",
    files: sources,
    atLeast: 80,
    find: outsideClock(TIMERS),
    broken: [
      ["src/exchange/x.ts", "setTimeout(then, 5)"],
      ["src/envoy/server.ts", "setInterval(then, 5).unref()"],
      ["src/envoy/server.ts", "AbortSignal.timeout(5)"],
    ],
  });
  checkRule({
    promise: "only the command line reads arguments and environment, prints, and ends the process",
    files: sources,
    atLeast: 80,
    find: processUse,
    broken: [
      ["src/policy/store.ts", "process.env.HOME"],
      ["src/config.ts", 'process.env["HOME"]'],
      ["src/exchange/x.ts", "process.exit(1)"],
      ["src/telemetry/log.ts", 'process.stderr.write("x")'],
      ["src/envoy/watchdog-thread.ts", "process.exit(1)"],
    ],
    sound: [["src/admin.ts", "process.uptime()"]],
  });
  checkRule({
    promise: "nothing calls out, prints by itself or runs text",
    files: sources,
    atLeast: 80,
    find: (file) => matches(file, GLOBALS),
    broken: [
      ["src/cli/serve.ts", 'await fetch("http://example.com")'],
      ["src/exchange/x.ts", 'console.log("x")'],
      ["src/exchange/x.ts", 'eval("1")'],
    ],
    sound: [["src/exchange/x.ts", "policy.prefetch(1)"]],
  });
});
