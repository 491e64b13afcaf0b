/** `limen init`: a commented configuration and policy to start from. Never overwrites. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../audit/file.ts";

type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

const HELP = `limen init [--json] [DIR]

Writes a commented limen.yaml and policy.yaml into DIR (default: here). Overwrites nothing.
Exit code: 0 written, 1 one of them is there already, 2 wrong usage, 3 cannot write.

  limen init my-boundary && limen policy check my-boundary/policy.yaml
`;

const FILES = ["limen.yaml", "policy.yaml"] as const;

/** @param args what follows `init` */
export function init(args: readonly string[], io: Io): number {
  const json = args.includes("--json");
  const folders = args.filter((arg) => !arg.startsWith("-"));
  const unknown = args.find(
    (arg) => arg.startsWith("-") && !["--json", "--help", "-h"].includes(arg),
  );
  if (args.includes("--help") || args.includes("-h")) {
    io.stdout(HELP);
    return 0;
  }
  if (unknown !== undefined || folders.length > 1) {
    const what = unknown === undefined ? "more than one folder" : `unknown option ${unknown}`;
    io.stderr(`limen init: ${what}; see limen init --help\n`);
    return 2;
  }
  const [folder = "."] = folders;
  const paths = FILES.map((name) => join(folder, name));
  const present = paths.filter((path) => existsSync(path));
  if (present.length > 0) {
    io.stderr(`limen init: ${present.join(" and ")} exists already, nothing was written\n`);
    return 1;
  }
  try {
    makeFolder(folder);
    for (const name of FILES) {
      const starter = readFileSync(new URL(`./starter/${name}`, import.meta.url));
      // wx: a file that appeared since the look above is not overwritten either.
      writeFileSync(join(folder, name), starter, { flag: "wx" });
    }
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    io.stderr(`limen init: cannot write into ${folder} (${code})\n`);
    return 3;
  }
  const next = `limen serve -c ${paths[0]}`;
  io.stdout(
    json
      ? `${JSON.stringify({ written: paths })}\n`
      : `wrote ${paths.join(" and ")}\nnext: ${next}\n`,
  );
  return 0;
}
