/** The detectors of credentials. */
import type { Detector } from "../detector.ts";
import { awsSecretKey } from "./aws-secret-key.ts";
import { privateKey } from "./private-key.ts";
import { PROVIDER_TOKENS } from "./providers.ts";
import { token } from "./token.ts";

export const SECRETS: readonly Detector[] = [
  ...PROVIDER_TOKENS.map(token),
  awsSecretKey,
  privateKey,
];
