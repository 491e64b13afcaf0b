/** Problems for a terminal, as `policy check` and `envoy check` print them. */
import type { Problem } from "../core/errors.ts";

export const count = (problems: readonly unknown[], noun: string): string =>
  `${problems.length} ${noun}${problems.length === 1 ? "" : "s"}`;

/** Where and what, the line with carets, what to write instead. */
export function printed(kind: "error" | "warning", { where, what, fix, excerpt }: Problem): string {
  const lines = excerpt === undefined ? [] : excerpt.split("\n").map((line) => `  ${line}`);
  return [`${kind}: ${where}: ${what}`, ...lines, `  fix: ${fix}`, "", ""].join("\n");
}
