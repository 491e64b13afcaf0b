/** `limen COMMAND ARGS`: finds the command, runs it, turns what it throws into one message and an exit code. */
import { packageVersion } from "./cli/version.ts";
import { type ErrorCode, LimenError } from "./core/errors.ts";

type Io = {
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
};
type Command = (args: readonly string[], io: Io) => Promise<number> | number;

/** Each is loaded when it is asked for: `limen scan` does not start gRPC. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import("./cli/serve.ts")).serve,
  init: async () => (await import("./cli/init.ts")).init,
  "policy check": async () => (await import("./cli/policy.ts")).policyCheck,
  "envoy check": async () => (await import("./cli/envoy.ts")).envoyCheck,
  scan: async () => (await import("./cli/scan.ts")).scan,
  "audit keygen": async () => (await import("./cli/audit.ts")).auditKeygen,
  "audit verify": async () => (await import("./cli/audit.ts")).auditVerify,
};

const USAGE = `usage: limen COMMAND [ARGS]

  serve          the filter service: gRPC for Envoy, admin port, audit log
  init           write a starter limen.yaml and policy.yaml
  policy check   check policy files
  envoy check    check Envoy configurations and EnvoyFilters
  scan           texts in, findings out
  audit keygen   make a signing key for an audit log
  audit verify   verify an audit log offline

limen COMMAND --help shows its options and an example.
`;

/** 0 good, 1 a negative answer, 2 wrong usage, 3 could not run. */
const EXIT: Readonly<Record<ErrorCode, number>> = {
  usage: 2,
  policy_invalid: 1,
  config_invalid: 1,
  log_corrupt: 1,
  file_unreadable: 3,
  port_unavailable: 3,
  log_locked: 3,
  audit_unavailable: 3,
  detector_unavailable: 3,
  protocol: 3,
};

async function main(args: readonly string[], io: Io): Promise<number> {
  const [first = "", second = ""] = args;
  const name = `${first} ${second}` in COMMANDS ? `${first} ${second}` : first;
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load !== undefined) {
    const command = await load();
    return command(args.slice(name.split(" ").length), io);
  }
  if (first === "--version") {
    io.stdout(`limen ${packageVersion()}\n`);
    return 0;
  }
  if (first === "--help" || first === "-h" || first === "help") {
    io.stdout(USAGE);
    return 0;
  }
  const group = Object.keys(COMMANDS).some((known) => known.startsWith(`${first} `));
  if (group && (second === "--help" || second === "-h")) {
    io.stdout(USAGE);
    return 0;
  }
  const given = group ? `${first} ${second}`.trim() : first;
  io.stderr(first === "" ? USAGE : `limen: ${given} is no command\n\n${USAGE}`);
  return 2;
}

async function run(): Promise<void> {
  const io: Io = {
    stdin: process.stdin,
    stdout: (text) => process.stdout.write(text),
    stderr: (text) => process.stderr.write(text),
  };
  // A reader that has seen enough (`limen scan x | head`), or a full disk behind a redirection. The diary of
  // `serve` has a stream of its own, so the service is not ended by this.
  process.stderr.on("error", () => {});
  process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => {
    if (code !== "EPIPE")
      process.stderr.write(`limen: standard output: cannot be written (${code})\n`);
    process.exit(code === "EPIPE" ? 0 : 3);
  });
  try {
    process.exitCode = await main(process.argv.slice(2), io);
  } catch (error) {
    // Anything else is a defect: Node prints it and exits with its own code.
    if (!(error instanceof LimenError)) throw error;
    for (const { where, what, fix } of error.problems) {
      process.stderr.write(`limen: ${where}: ${what}\n  ${fix}\n`);
    }
    process.exitCode = EXIT[error.code];
  }
}

await run();
