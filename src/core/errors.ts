/**
 * What only a person can repair is thrown as a `LimenError`; what traffic can cause is a `Result`.
 * Operator text (file names, policy values) may be quoted in it, traffic never.
 */
export const ERROR_CODES = [
  "usage", // wrong arguments: exit code 2
  "policy_invalid", // exit code 1
  "config_invalid", // exit code 1
  "log_corrupt", // exit code 1
  "file_unreadable", // exit code 3
  "port_unavailable", // exit code 3
  "log_locked", // exit code 3
  "audit_unavailable", // exit code 3
  "detector_unavailable", // exit code 3
  "protocol", // the peer broke ext_proc or ext_authz: a non-OK gRPC status
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

export type Problem = {
  /** File, line and path in the document, or the argument. */
  readonly where: string;
  readonly what: string;
  readonly fix: string;
  /** The line of the operator's file with carets under the place, for a terminal. */
  readonly excerpt?: string;
};

export class LimenError extends Error {
  readonly code: ErrorCode;
  readonly problems: readonly Problem[];
  /** @param problems all that were found, never only the first */
  constructor(code: ErrorCode, problems: Problem | readonly Problem[]) {
    const list = Array.isArray(problems) ? (problems as readonly Problem[]) : [problems as Problem];
    super(list.map(({ where, what, fix }) => `${where}: ${what}; ${fix}`).join("\n"));
    this.name = "LimenError";
    this.code = code;
    this.problems = list;
  }
}
