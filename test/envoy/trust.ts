/** What a service without `trust` in its configuration believes: what the proxy has verified itself. */
import type { Trust } from "../../src/core/identity.ts";

export const NO_TRUST: Trust = {
  headers: [],
  tenant: undefined,
  profile: undefined,
  jwtPayload: "jwt",
};
