/** `limen audit keygen`, `limen audit verify`: thin over `audit/`. */
import { rmSync, statSync } from "node:fs";
import { hostname } from "node:os";
import { parseArgs } from "node:util";
import {
  formatKeyFile,
  generateLogKey,
  isOrigin,
  parseVkey,
  type Verifier,
} from "../audit/checkpoint.ts";
import { createFile, readFile } from "../audit/file.ts";
import { type Flaw, statedKey, type VerifyReport, verifyLog } from "../audit/verify.ts";

type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

/** A key or checkpoint that an operator names is small. */
const INPUT_LIMIT = 65_536;

const KEYGEN_HELP = `limen audit keygen [--origin ORIGIN] [--json] FILE

Makes an Ed25519 key for one audit log: FILE gets the private key (mode 0600, never overwritten), FILE.pub
the verifier key, which is also printed. ORIGIN names the log for ever, as host/deployment/replica/epoch.
Exit code: 0 made, 2 wrong usage, 3 a file exists or cannot be written.

  limen audit keygen --origin example.com/limen/gateway-0/1 audit.key
`;

const VERIFY_HELP = `limen audit verify [--key VKEY|FILE] [--from CHECKPOINT_FILE] [--json] DIR

Verifies an audit log offline: the checkpoint's signature, every tile, bundle and entry, the root, the rules
that records keep; and with --from that it continues an older checkpoint, saved elsewhere. Without --key the
key is the one that the log states for itself: that finds damage, but not a log forged as a whole.
Exit code: 0 verified, 1 not, 2 wrong usage, 3 a file cannot be read.

  limen audit verify --key audit.key.pub limen-data/audit
`;

/** @param args what follows `audit keygen` */
export async function auditKeygen(args: readonly string[], io: Io): Promise<number> {
  const options = {
    origin: { type: "string" },
    json: { type: "boolean" },
    ...HELP_OPTION,
  } as const;
  const given = parsed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
  if (given?.values.help) return said(io, KEYGEN_HELP);
  const [file, ...more] = given?.positionals ?? [];
  const origin = given?.values.origin ?? `${hostname()}/limen/1`;
  if (file === undefined || more.length > 0)
    return misused(io, "keygen", "name one file and only known options");
  if (!isOrigin(origin)) {
    return misused(io, "keygen", "an origin has no scheme, space, plus sign or slash at its end");
  }
  const key = generateLogKey(origin);
  createFile(file, formatKeyFile(key), 0o600);
  try {
    createFile(`${file}.pub`, `${key.vkey}\n`, 0o644);
  } catch (error) {
    rmSync(file); // ours, and never used: left behind it would be in the way of the next try
    throw error;
  }
  return said(
    io,
    given?.values.json ? `${JSON.stringify({ origin, vkey: key.vkey })}\n` : `${key.vkey}\n`,
  );
}

/** @param args what follows `audit verify` */
export async function auditVerify(args: readonly string[], io: Io): Promise<number> {
  const text = { type: "string" } as const;
  const options = { key: text, from: text, json: { type: "boolean" }, ...HELP_OPTION } as const;
  const given = parsed(() => parseArgs({ args: [...args], options, allowPositionals: true }));
  if (given?.values.help) return said(io, VERIFY_HELP);
  const [dir, ...more] = given?.positionals ?? [];
  if (given === undefined || dir === undefined || more.length > 0) {
    return misused(io, "verify", "name one folder and only known options");
  }
  const { key, from, json } = given.values;
  const older = from === undefined ? undefined : readFile(from, INPUT_LIMIT);
  if (from !== undefined && older === undefined) return missing(io, from);
  const verifier = key === undefined ? statedKey(dir) : keyOf(key);
  if (verifier === undefined && key !== undefined) {
    return misused(io, "verify", "--key is neither a verifier key nor a file with one");
  }
  if (verifier === undefined) {
    io.stderr(`limen audit verify: ${dir} has no log that states a key; name one with --key\n`);
    return 3;
  }
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
    io.stderr(`limen audit verify: ${dir} is no folder\n`);
    return 3;
  }
  const report = verifyLog({ dir, verifier, ...(older && { from: older }) });
  const keyFrom = key === undefined ? "log" : "argument";
  io.stdout(json ? `${JSON.stringify(jsonOf(report, keyFrom))}\n` : printed(report, keyFrom));
  return report.flawCount === 0 ? 0 : 1;
}

const HELP_OPTION = { help: { type: "boolean", short: "h" } } as const;

/** `parseArgs` throws for unknown options; what is missing then is said by the caller. */
function parsed<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch {
    return undefined;
  }
}

function said(io: Io, text: string): number {
  io.stdout(text);
  return 0;
}

function misused(io: Io, command: "keygen" | "verify", what: string): number {
  io.stderr(`limen audit ${command}: ${what}; see limen audit ${command} --help\n`);
  return 2;
}

function missing(io: Io, path: string): number {
  io.stderr(`limen audit verify: ${path} is missing or too large\n`);
  return 3;
}

/** A verifier key, as it is or from a file. */
function keyOf(argument: string): Verifier | undefined {
  const direct = parseVkey(argument);
  if (direct !== undefined) return direct;
  const bytes = readFile(argument, INPUT_LIMIT);
  return bytes && parseVkey(Buffer.from(bytes).toString().trim());
}

type KeyFrom = "log" | "argument";

function jsonOf(report: VerifyReport, keyFrom: KeyFrom): object {
  const { checkpoint, ...rest } = report;
  const root = checkpoint && Buffer.from(checkpoint.root).toString("base64");
  const { origin, size } = checkpoint ?? {};
  return { ok: report.flawCount === 0, origin, size, root, key_from: keyFrom, ...rest };
}

function printed(report: VerifyReport, keyFrom: KeyFrom): string {
  const { checkpoint, flaws, flawCount, decisions, outcomes, openCount, unpublished } = report;
  const lines: string[] = [];
  if (checkpoint !== undefined) {
    const root = Buffer.from(checkpoint.root).toString("base64");
    lines.push(`log      ${checkpoint.origin}`, `size     ${checkpoint.size}, root ${root}`);
  }
  if (keyFrom === "log") lines.push("key      the log's own: damage shows, a forged log does not");
  lines.push(`records  ${decisions} decisions, ${outcomes} outcomes, ${openCount} without outcome`);
  for (const { index, id } of unpublished) {
    lines.push(`pending  entry ${index} ${id ?? ""} is durable, and no checkpoint covers it yet`);
  }
  if (report.unfinishedBytes > 0) {
    lines.push(`pending  ${report.unfinishedBytes} bytes of an unfinished batch`);
  }
  for (const flaw of flaws) lines.push(`FLAW     ${rangeOf(flaw)}: ${flaw.what}`);
  if (flawCount > flaws.length) lines.push(`FLAW     and ${flawCount - flaws.length} more`);
  lines.push(flawCount === 0 ? "verified" : "NOT VERIFIED");
  return `${lines.join("\n")}\n`;
}

function rangeOf({ from, to }: Flaw): string {
  if (to <= from) return "the log";
  return to === from + 1 ? `entry ${from}` : `entries ${from} to ${to - 1}`;
}
