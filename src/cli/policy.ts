/** `limen policy check`: every error of every file at once, then the warnings. Thin over `policy/`. */
import { LimenError } from "../core/errors.ts";
import { digestOf } from "../policy/compile.ts";
import { lint } from "../policy/lint.ts";
import { loadPolicies } from "../policy/store.ts";
import { count, printed } from "./problems.ts";

type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

const HELP = `limen policy check [--json] FILE...

Reads policy files (or folders of them) as one set and prints all errors, then warnings.
Exit code: 0 valid, 1 errors, 2 wrong usage, 3 a file cannot be read.

  limen policy check policy.yaml
  limen policy check --json policy.d/
`;

/** @param args what follows `policy check` */
export async function policyCheck(args: readonly string[], io: Io): Promise<number> {
  const json = args.includes("--json");
  const files = args.filter((arg) => !arg.startsWith("-"));
  const unknown = args.find(
    (arg) => arg.startsWith("-") && !["--json", "--help", "-h"].includes(arg),
  );
  if (args.includes("--help") || args.includes("-h")) {
    io.stdout(HELP);
    return 0;
  }
  if (unknown !== undefined || files.length === 0) {
    const what = unknown === undefined ? "no file is named" : `unknown option ${unknown}`;
    io.stderr(`limen policy check: ${what}; see limen policy check --help\n`);
    return 2;
  }
  try {
    const documents = await loadPolicies(files);
    const names = documents.map((document) => document.name);
    const result = { digest: digestOf(documents), policies: names, warnings: lint(documents) };
    if (json) io.stdout(`${JSON.stringify({ ok: true, ...result, errors: [] })}\n`);
    else {
      io.stderr(result.warnings.map((warning) => printed("warning", warning)).join(""));
      const warned = result.warnings.length === 0 ? "" : `, ${count(result.warnings, "warning")}`;
      io.stdout(`ok: ${names.join(", ")}${warned}\ndigest ${result.digest}\n`);
    }
    return 0;
  } catch (error) {
    if (!(error instanceof LimenError)) throw error;
    if (json) {
      io.stdout(
        `${JSON.stringify({ ok: false, policies: [], warnings: [], errors: error.problems })}\n`,
      );
    } else {
      io.stderr(error.problems.map((problem) => printed("error", problem)).join(""));
      io.stderr(`${count(error.problems, "error")}\n`);
    }
    return error.code === "file_unreadable" ? 3 : 1;
  }
}
