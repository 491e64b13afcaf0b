/**
 * Whose earlier detector results an exchange may use. How fast an answer comes tells whether somebody asked the same
 * before, so a tenant shares with nobody; who belongs to no tenant, with nobody of another name.
 */
import { createHash } from "node:crypto";
import type { Identity } from "../core/identity.ts";

/** Claims that name somebody (RFC 7519, section 4.1). Others change with every token: nothing would be found again. */
const WHO = ["iss", "sub"] as const;

export function scopeOf(identity: Identity): string {
  const { tenant, spiffe, claims, headers } = identity.reveal();
  const who =
    tenant === undefined
      ? { spiffe, claims: WHO.map((name) => claims.get(name)), headers: [...headers].sort() }
      : { tenant };
  return createHash("sha256").update(JSON.stringify(who)).digest("base64url");
}
