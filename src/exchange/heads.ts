/** What can be told from headers alone: whether a body may be read at all, and what kind it will be. */
import type { Cause } from "../core/cause.ts";
import { globMatch } from "../core/glob.ts";
import type { EffectivePolicy } from "../core/policy.ts";
import type { Dialect } from "../llm/dialect.ts";
import { codingOf } from "./body.ts";
import type { BodyMode, HeaderEdits, Headers, RequestHead, ResponseHead } from "./http.ts";

/** The path without its query. */
export function pathOf(path: string): string {
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

const UTF8: ReadonlySet<string> = new Set(["utf-8", '"utf-8"', "utf8"]);

/**
 * `application/json` of `Application/JSON; charset="UTF-8"`; "" when it is absent, or names another charset: bytes that
 * the receiver decodes otherwise than we do are another text.
 */
function mediaType(headers: Headers): string {
  const [type = "", ...parameters] = (headers.get("content-type") ?? "").toLowerCase().split(";");
  const isRead = parameters.every((parameter) => {
    const [name = "", value = ""] = parameter.split("=").map((part) => part.trim());
    return name !== "charset" || UTF8.has(value);
  });
  return isRead ? type.trim() : "";
}

/** An entry is `METHOD path-glob`, as in `GET /v1/models/*`. */
export function isPassThrough({ method, path }: RequestHead, policy: EffectivePolicy): boolean {
  return policy.settings.ingress.passThrough.some((entry) => {
    const space = entry.indexOf(" ");
    return entry.slice(0, space) === method && globMatch(entry.slice(space + 1), pathOf(path));
  });
}

/** Envoy never ends the body of an upgraded request (envoyproxy/envoy#47081): it is refused before one begins. */
export const isUpgrade = ({ method, headers }: RequestHead): boolean =>
  method === "CONNECT" || headers.has("upgrade");

/** Why the body of this request will not be read, if so. */
export function requestCause(
  head: RequestHead,
  dialect: Dialect | undefined,
  policy: EffectivePolicy,
): Cause | undefined {
  if (dialect === undefined || head.endOfStream) return "unknown_shape";
  if (mediaType(head.headers) !== "application/json") return "unsupported_media_type";
  if (codingOf(head.headers) === "unknown") return "encoded_body";
  const announced = Number(head.headers.get("content-length") ?? "0");
  return announced > policy.settings.ingress.limits.bodyBytes ? "body_too_large" : undefined;
}

export const isSuccess = (status: number): boolean => status >= 200 && status <= 299;

/** How the body of a response will be read; `unreadable_error`: in a charset that is not read. */
export type ResponseKind = "answer" | "stream" | "error" | "unreadable_error" | "none" | Cause;

export function responseKind(
  head: ResponseHead,
  request: RequestHead | undefined,
  mode: BodyMode,
): ResponseKind {
  // A client that follows it leaves the boundary with its prompt.
  if (head.status >= 300 && head.status <= 399 && head.headers.has("location")) {
    return "unknown_shape";
  }
  if (head.endOfStream || request?.method === "HEAD") return "none";
  if (mode === "hidden") return "body_not_shown";
  const coding = codingOf(head.headers);
  if (coding === "unknown") return "encoded_body";
  const kind = kindOf(head);
  // The header that names the coding has left before a body that is judged whole.
  const isLate = mode === "streamed" && kind !== "stream" && coding !== "identity";
  return isLate ? "encoded_body" : kind;
}

function kindOf({ status, headers }: ResponseHead): ResponseKind {
  if (!isSuccess(status)) {
    const isReadable = !headers.has("content-type") || mediaType(headers) !== "";
    return isReadable ? "error" : "unreadable_error";
  }
  switch (mediaType(headers)) {
    case "application/json":
      return "answer";
    case "text/event-stream":
      return "stream";
    default:
      return "unsupported_media_type";
  }
}

/** What goes upstream: an answer that can be read, and none of the headers that Limen itself speaks. */
export const upstreamEdits = ({ headers }: RequestHead): HeaderEdits => ({
  set: [["accept-encoding", "identity"]],
  remove: [...headers.keys()].filter((name) => name.startsWith("x-limen-")),
});
