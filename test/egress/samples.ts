/** Texts for the tests of both controls. Keys are put together here, so that no scanner takes them for real. */
import type { EgressSettings, IngressSettings } from "../../src/core/settings.ts";
import { PII_ENTITIES } from "../../src/core/settings.ts";
import { checkDigits } from "../../src/detect/secrets/check-digits.ts";

const random = "q7Rk2mZp9XwLf4TbVn8GsHy3JdCe6u";
export const GITHUB_TOKEN = ["gh", "p_", random, checkDigits(random)].join("");
export const OPENAI_KEY = ["sk-", "proj-", "Vq7Rk2mZp9XwLf4Tb-Vn8GsHy3JdCe6uAo5", "_Pi1Mx0Rw"].join(
  "",
);
export const AWS_KEY = ["AK", "IA", "QYLPMN5HFIQR7XYA"].join("");
export const AWS_SECRET = ["v9Qm2ZpR4xTn7LwK1sYb", "8GdHc3JfVe6Ua5PoXi0M"].join("");
export const PEM = [
  "-----BEGIN ",
  "PRIVATE KEY-----\n",
  "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgq7Rk2mZp9XwLf4Tb\n",
  "Vn8GsHy3JdCe6uAo5Pi1Mx0RwQhRANCAAR2\n-----END ",
  "PRIVATE KEY-----",
].join("");
export const CARD = "4539 5787 6362 1486";
export const IBAN = "DE89 3704 0044 0532 0130 00";
export const EMAIL = "maria.lopez+orders@mail.example.com";
export const SSN = "SSN: 536-22-8726";
export const CANARY = "cnry-7f3a9b2e5d";

export const INGRESS: IngressSettings = {
  limits: { bodyBytes: 1_000_000, messages: 10, maxOutputTokens: 1_000, jsonDepth: 64 },
  models: [],
  passThrough: [],
  injection: {
    user: "deny",
    document: "deny",
    tool: "deny",
    hidden: "deny",
    sensitivity: "balanced",
  },
  pii: { action: "redact", entities: PII_ENTITIES },
  secrets: { action: "redact" },
};

export const EGRESS: EgressSettings = {
  limits: { bodyBytes: 1_000_000 },
  pii: { action: "redact", entities: PII_ENTITIES },
  secrets: { action: "redact" },
  promptLeak: { action: "deny", canaries: [CANARY] },
  holdBytes: 4_096,
  toolHoldBytes: 1_048_576,
};
