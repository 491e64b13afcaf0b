/**
 * Why something could not be read, inspected or decided: the closed list. One row gives the HTTP status
 * of the refusal, what happens when the policy says nothing, and whether a policy may say `allow`.
 * README.md prints this table; `test/rules/` compares the two.
 */
export type CauseRow = {
  readonly status: 400 | 403 | 413 | 415 | 503;
  readonly fallback: "deny" | "allow";
  /** False: no policy can open this. */
  readonly allowable: boolean;
  readonly meaning: string;
};

const row = (
  status: CauseRow["status"],
  allowable: "allowable" | "never",
  meaning: string,
  fallback: CauseRow["fallback"] = "deny",
): CauseRow => ({ status, fallback, allowable: allowable === "allowable", meaning });

export const CAUSES = {
  malformed_json: row(
    400,
    "never",
    "the body or a stream frame is not one strict JSON value in UTF-8",
  ),
  duplicate_key: row(400, "never", "an object has the same key twice"),
  trailing_data: row(400, "allowable", "bytes follow the JSON value"),
  unknown_shape: row(400, "allowable", "the path or the body is none of the APIs Limen reads"),
  limit_exceeded: row(403, "never", "a limit of the policy is exceeded"),
  body_too_large: row(413, "allowable", "the body is larger than the policy's limit"),
  unsupported_media_type: row(415, "allowable", "the content type is not the one the API uses"),
  encoded_body: row(
    415,
    "allowable",
    "the body has a content-encoding that Limen does not read, or is not what it says",
  ),
  body_not_shown: row(403, "allowable", "the proxy's processing mode keeps a body from Limen"),
  no_policy: row(403, "never", "no policy matches the exchange"),
  upgrade_refused: row(403, "never", "an upgrade or CONNECT on an inspected route"),
  malformed_arguments: row(
    403,
    "allowable",
    "the arguments of a tool call are not one strict JSON object",
  ),
  hold_exceeded: row(403, "allowable", "a held part of a stream is larger than the policy's bound"),
  detector_error: row(403, "never", "a detector failed: a defect, not something to open"),
  detector_timeout: row(
    503,
    "allowable",
    "a detector had not read all of the request in the policy's time",
  ),
  detector_unavailable: row(503, "allowable", "a detector cannot be asked"),
  media_not_inspected: row(
    403,
    "allowable",
    "images, audio or files that Limen does not look into",
    "allow",
  ),
  audit_unavailable: row(503, "never", "the audit log cannot record the exchange"),
  overloaded: row(503, "never", "Limen has more exchanges open, or more to judge, than it may"),
} as const satisfies Record<string, CauseRow>;

export type Cause = keyof typeof CAUSES;
export const causes = Object.keys(CAUSES) as readonly Cause[];

/** Tells a cause from the other reasons of a refusal. */
export const isCause = (reason: string): reason is Cause => Object.hasOwn(CAUSES, reason);

/** The policy's word for a cause: `unknown_shape` is `failure.unknownShape`. Derived, never listed twice. */
export const policyKey = (cause: Cause): string =>
  cause.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());

/** What traffic can cause is a value: the thing asked for, or why it cannot be had. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly cause: Cause };

export const ok = <T>(value: T): Result<T> => ({ ok: true, value });
export const fail = (cause: Cause): { readonly ok: false; readonly cause: Cause } => ({
  ok: false,
  cause,
});
