/**
 * docs/faults.md: what every fault did to clients, provider and log, by profile and version of Envoy. The file is
 * the expectation of the suite, row by row, and what the suite writes.
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { Profile } from "../real/bootstrap.ts";
import type { Role } from "./client.ts";
import type { Row } from "./rig.ts";

const FILE = new URL("../../docs/faults.md", import.meta.url);
const SETUP = new URL("../../scripts/setup.sh", import.meta.url);

export type Line = Omit<Row, "role"> & {
  readonly profile: string;
  readonly fault: string;
  readonly exchange: string;
  readonly bound: string;
  readonly versions: readonly string[];
};

/** What an exchange is doing when the fault comes. */
const EXCHANGES = {
  upload: "has sent half of its request",
  thinking: "waits for the model",
  answer: "has half of a JSON answer",
  stream: "reads a stream",
  secret: "begins with a secret in it",
  during: "begins meanwhile",
  after: "begins afterwards",
  large: "the exchange itself",
} as const satisfies Record<Role, string>;

const HEAD = `# Faults

What clients, the provider and the audit log see when something breaks, on the real Envoy. Written by the suite in
\`test/faults/\` (\`UPDATE_FAULTS=1 scripts/test --full\`), and compared with what every run finds. Beside the words of
a row, after every fault, the suite asserts:

- nothing passes unread: no byte of an answer that Limen did not release reaches a client (under \`ext-authz.yaml\` no
  answer is read), no request that was refused or never decided reaches the provider;
- nothing is lost or doubled: what arrives is, byte for byte, what was said and let through, up to where it was cut;
- nothing hangs: every exchange is over within the time of its row;
- the log verifies offline, has exactly one decision and one outcome for each exchange, and the metrics agree with it.

Two words in one cell are both right: chance decides. \`503\` and the like without a code are Envoy's own answers.
*allow, then mutated* is a decision to let the request pass, and an answer in which something was redacted; *broken
off* is an answer that did not reach its end; *unknown_crash* is written at the next start for a process that died. A
request that never came whole has the decision *error* and the outcome *failed_closed*, or Envoy's own *local_reply*.
`;

const COLUMNS = "| fault | exchange | client sees | provider sees | record | over within | Envoy |";
const RULE = "| --- | --- | --- | --- | --- | --- | --- |";

/** The versions that the project supports, as the scripts fetch them. */
export function matrix(): readonly string[] {
  const [, versions = ""] = /LIMEN_ENVOY_MATRIX="([^"]+)"/.exec(readFileSync(SETUP, "utf8")) ?? [];
  return versions.split(" ");
}

export const linesOf = (
  profile: Profile,
  fault: { readonly name: string; readonly limitMs: number; readonly by: string },
  rows: readonly Row[],
): readonly Omit<Line, "versions">[] =>
  rows.map(({ role, ...rest }) => ({
    ...rest,
    profile,
    fault: fault.name,
    exchange: EXCHANGES[role],
    bound: `${fault.limitMs / 1_000} s: ${fault.by}`,
  }));

export const readLines = (): readonly Line[] => parse(readFileSync(FILE, "utf8"));

export function parse(text: string): readonly Line[] {
  const lines: Line[] = [];
  let [profile, fault, bound] = ["", "", ""];
  for (const row of text.split("\n")) {
    profile = /^## envoy\/(.+)\.yaml$/.exec(row)?.[1] ?? profile;
    if (!row.startsWith("| ") || row === COLUMNS || row === RULE) continue;
    const [
      name = "",
      exchange = "",
      client = "",
      upstream = "",
      record = "",
      time = "",
      versions = "",
    ] = row.slice(2, -2).split(" | ");
    // A cell is empty where it says what the one above says.
    fault = name.trim() || fault;
    bound = time.trim() || bound;
    const seen = versions === "all" ? matrix() : versions.split(" ");
    lines.push({ profile, fault, exchange, client, upstream, record, bound, versions: seen });
  }
  return lines;
}

/** The file for these lines, in their order. */
export function print(lines: readonly Line[]): string {
  const all = matrix();
  const sections = [...new Set(lines.map(({ profile }) => profile))].map((profile) => {
    let before: Line | undefined;
    const rows = lines
      .filter((line) => line.profile === profile)
      .map((line) => {
        const isNew = line.fault !== before?.fault;
        const fault = isNew ? line.fault : "";
        const bound = isNew || line.bound !== before?.bound ? line.bound : "";
        const versions = line.versions.length === all.length ? "all" : line.versions.join(" ");
        before = line;
        const { exchange, client, upstream, record } = line;
        return `| ${[fault, exchange, client, upstream, record, bound, versions].join(" | ")} |`;
      });
    return `\n## envoy/${profile}.yaml\n\n${[COLUMNS, RULE, ...rows].join("\n")}\n`;
  });
  return HEAD + sections.join("");
}

/** Replaces what the file says of one fault on one version; `order` is that of profiles and faults. */
export function update(
  version: string,
  found: readonly Omit<Line, "versions">[],
  order: readonly string[],
): void {
  const [first] = found;
  if (first === undefined) return;
  const key = ({ profile, fault }: { profile: string; fault: string }): string =>
    `${profile} ${fault}`;
  const isSame = (a: Omit<Line, "versions">, b: Omit<Line, "versions">): boolean =>
    cells(a) === cells(b);
  const lines = readLines()
    .map((line) =>
      key(line) === key(first)
        ? { ...line, versions: line.versions.filter((one) => one !== version) }
        : line,
    )
    .filter(({ versions }) => versions.length > 0);
  const all = matrix();
  for (const line of found) {
    const at = lines.findIndex((one) => isSame(one, line));
    const versions = at < 0 ? [] : (lines[at]?.versions ?? []);
    const next = {
      ...line,
      versions: all.filter((one) => one === version || versions.includes(one)),
    };
    if (at < 0) lines.push(next);
    else lines[at] = next;
  }
  const exchanges: readonly string[] = Object.values(EXCHANGES);
  const rank = (line: Line): readonly number[] => [
    order.indexOf(key(line)),
    exchanges.indexOf(line.exchange),
    all.indexOf(line.versions[0] ?? ""),
  ];
  const sorted = lines
    .filter((line) => order.includes(key(line)))
    .sort((a, b) => compare(rank(a), rank(b)));
  writeFileSync(FILE, print(sorted));
}

const cells = ({
  profile,
  fault,
  exchange,
  client,
  upstream,
  record,
  bound,
}: Omit<Line, "versions">) =>
  [profile, fault, exchange, client, upstream, record, bound].join("\n");

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [i, one] of a.entries()) {
    const difference = one - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
