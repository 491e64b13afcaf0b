/** `limen envoy check`: what Envoy accepts and must not be in front of a model. Thin over `envoy-config/`. */
import { parseArgs } from "node:util";
import { LimenError, type Problem } from "../core/errors.ts";
import { checkEnvoy, type Finding } from "../envoy-config/check.ts";
import type { Limits } from "../envoy-config/rule.ts";
import { merge } from "../policy/merge.ts";
import type { PolicyDocument } from "../policy/schema.ts";
import { DEFAULT_POLICY, loadPolicies, readText } from "../policy/store.ts";
import { count, printed } from "./problems.ts";

type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

const HELP = `limen envoy check [--json] [--policy FILE]... [--filter NAME] FILE...

Reads Envoy configurations (YAML or JSON: bootstrap files, dumps of the admin port, files of resources) and
Istio EnvoyFilters, each by itself, and reports what Envoy accepts and must not be in front of a model.

  --policy FILE   the policies whose limits Envoy's buffers must hold; without it the built-in policy
  --filter NAME   Limen's filter, or the cluster it asks; without it every filter called limen...
  --json          one JSON object on standard output

Exit code: 0 nothing or warnings only, 1 errors, 2 wrong usage, 3 a file cannot be read.

  limen envoy check envoy.yaml
  limen envoy check --policy policy.yaml envoy.yaml
`;

/** Of the worst text a gigabyte of syntax errors; of larger dumps the admin port gives parts. */
const MAX_BYTES = 1024 ** 2;

/** @param args what follows `envoy check` */
export async function envoyCheck(args: readonly string[], io: Io): Promise<number> {
  const usage = parsed(args);
  if (typeof usage === "string") {
    io.stderr(`limen envoy check: ${usage}; see limen envoy check --help\n`);
    return 2;
  }
  if (usage.help) {
    io.stdout(HELP);
    return 0;
  }
  try {
    return report(await findingsOf(usage), usage, io);
  } catch (error) {
    if (!(error instanceof LimenError)) throw error;
    const errors = error.problems;
    if (usage.json) io.stdout(`${JSON.stringify({ ok: false, errors, warnings: [] })}\n`);
    else io.stderr(errors.map((problem) => printed("error", problem)).join(""));
    return error.code === "file_unreadable" ? 3 : 1;
  }
}

/** @throws LimenError when a file cannot be read, or a policy is not valid */
async function findingsOf({ policies, filter, files }: Usage): Promise<readonly Finding[]> {
  const paths = policies.length === 0 ? [DEFAULT_POLICY] : policies;
  const limits = limitsOf(await loadPolicies(paths));
  const unread: Problem[] = [];
  const findings: Finding[] = [];
  for (const name of files) {
    const text = await readText(name, MAX_BYTES, unread);
    if (text !== undefined) findings.push(...checkEnvoy({ name, text }, { filter, limits }));
  }
  if (unread.length > 0) throw new LimenError("file_unreadable", unread);
  return findings;
}

function report(findings: readonly Finding[], { json, files }: Usage, io: Io): number {
  const errors = findings.filter(({ severity }) => severity === "error");
  const warnings = findings.filter(({ severity }) => severity === "warning");
  const ok = errors.length === 0;
  const warned = warnings.length === 0 ? "" : `, ${count(warnings, "warning")}`;
  if (json) io.stdout(`${JSON.stringify({ ok, errors, warnings })}\n`);
  else {
    for (const finding of findings) {
      const what = `${finding.what} [${finding.rule}]`;
      io.stderr(printed(finding.severity, { ...finding, what }));
    }
    if (ok) io.stdout(`ok: ${files.join(", ")}${warned}\n`);
    else io.stderr(`${count(errors, "error")}${warned}\n`);
  }
  return ok ? 0 : 1;
}

type Usage = {
  readonly help: boolean;
  readonly json: boolean;
  readonly policies: readonly string[];
  readonly filter: string | undefined;
  readonly files: readonly string[];
};

/** @returns a string: what is wrong with the arguments */
function parsed(args: readonly string[]): Usage | string {
  const strings = { type: "string", multiple: true } as const;
  const flag = { type: "boolean", default: false } as const;
  const help = { ...flag, short: "h" } as const;
  const options = { help, json: flag, policy: strings, filter: { type: "string" } } as const;
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals: true,
    });
    if (positionals.length === 0 && !values.help) return "no file is named";
    return {
      help: values.help,
      json: values.json,
      policies: values.policy ?? [],
      filter: values.filter,
      files: positionals,
    };
  } catch (error) {
    // Its sentences quote nothing but the operator's arguments.
    return error instanceof Error ? (error.message.split(". ")[0] ?? "") : "wrong arguments";
  }
}

/** What the most generous document allows when it alone is in force. */
function limitsOf(documents: readonly PolicyDocument[]): Limits {
  const settings = documents.map(({ spec }) => merge([spec], []));
  return {
    requestBytes: Math.max(...settings.map(({ ingress }) => ingress.limits.bodyBytes)),
    responseBytes: Math.max(...settings.map(({ egress }) => egress.limits.bodyBytes)),
  };
}
