/**
 * What Envoy says about the sender of an exchange, for both of its protocols: the certificate that it has verified,
 * the claims of the token that it has verified, and the headers that the operator says it overwrites. Everything
 * else of a request is the client's own word and does not come here; x-forwarded-client-cert is such a word.
 *
 * Who cannot be read is not nobody: what is too much, or said twice, makes the identity doubtful.
 */
import { Identity, type Trust, type Vouched } from "../core/identity.ts";
import type { Headers } from "../exchange/http.ts";
import { entryOf, fieldOf, fieldsOf, itemsOf, textOf } from "./struct.ts";

/** The words of one request. */
export type Said = {
  /** The certificate's name, of the connection or of the tunnel around it; "" when there is none. */
  readonly principal: string;
  readonly headers: Headers;
  /** `envoy.config.core.v3.Metadata` as the loader gives it. */
  readonly metadata: unknown;
};

const JWT_AUTHN = "envoy.filters.http.jwt_authn";
/** The longest SPIFFE ID (its standard, section 2.3); nothing else that names somebody is longer. */
const MAX_TEXT_UNITS = 2_048;
/** Texts of all claims together. Tokens travel in headers, so real ones are far below. */
const MAX_TEXTS = 1_024;

export function identityOf({ principal, headers, metadata }: Said, trust: Trust): Identity {
  const spiffe = isSpiffeId(principal) ? principal : undefined;
  const token = claimsIn(
    fieldOf(entryOf(entryOf(metadata, "filter_metadata"), JWT_AUTHN), trust.jwtPayload),
  );
  const written = trustedOf(headers, trust.headers);
  return new Identity({
    spiffe,
    claims: token.claims,
    headers: written.headers,
    tenant: trust.tenant === undefined ? undefined : written.headers.get(trust.tenant),
    profile: trust.profile === undefined ? undefined : written.headers.get(trust.profile),
    doubtful:
      (spiffe === undefined && principal.startsWith(SPIFFE)) || token.doubtful || written.doubtful,
  });
}

const SPIFFE = "spiffe://";
const SEGMENT = new Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-_");

/** SPIFFE-ID, section 2: what a path such as `/a/../b` would mean is nobody's to guess. */
function isSpiffeId(text: string): boolean {
  if (!text.startsWith(SPIFFE) || text.length > MAX_TEXT_UNITS) return false;
  return text
    .slice(SPIFFE.length)
    .split("/")
    .every((part) => !["", ".", ".."].includes(part) && [...part].every((c) => SEGMENT.has(c)));
}

/**
 * Claims that are texts or lists; of a list, its texts. Numbers, truth values and objects are no names: they are
 * left out, as if the token did not say them.
 * @param payload a Value that should be a Struct
 */
function claimsIn(payload: unknown): Pick<Vouched, "claims" | "doubtful"> {
  const claims = new Map<string, readonly string[]>();
  let left = MAX_TEXTS;
  for (const [name, value] of fieldsOf(entryOf(payload, "structValue"))) {
    const items = itemsOf(value) ?? [value];
    left -= items.length;
    if (left < 0) return { claims, doubtful: true };
    const texts = items.flatMap((item) => textOf(item) || []);
    if (texts.some((text) => text.length > MAX_TEXT_UNITS)) return { claims, doubtful: true };
    if (texts.length > 0) claims.set(name, texts);
  }
  return { claims, doubtful: false };
}

/**
 * A trusted header comes once. Two lines are one value with a comma here, and so is a comma that a client wrote: one
 * of the parts may be the client's, so neither counts.
 */
function trustedOf(
  headers: Headers,
  names: readonly string[],
): Pick<Vouched, "headers" | "doubtful"> {
  const trusted = new Map<string, string>();
  let doubtful = false;
  for (const name of names) {
    const value = headers.get(name) ?? "";
    if (value === "") continue;
    if (isOneName(value)) trusted.set(name, value);
    else doubtful = true;
  }
  return { headers: trusted, doubtful };
}

function isOneName(value: string): boolean {
  if (value.length > MAX_TEXT_UNITS) return false;
  return [...value].every((c) => c >= " " && c <= "~" && c !== ",");
}
