/**
 * Keys with a prefix, one row per kind. Each row's anatomy: prefix, alphabet and length of the rest, and what
 * else the provider builds in. Lengths leave room where a provider documents none.
 */
import { ALNUM, alphabet, DIGITS, LOWER, UPPER } from "../ascii.ts";
import { hasCheckDigits } from "./check-digits.ts";
import type { TokenShape } from "./token.ts";

const alnum = alphabet(ALNUM);
const base32 = alphabet(`${UPPER}234567`);
const base64url = alphabet(`${ALNUM}_-`);
const dotted = alphabet(`${ALNUM}_-.`);
const dashed = alphabet(`${ALNUM}-`);
const pathLike = alphabet(`${ALNUM}/`);
const hex = alphabet(`${DIGITS}abcdef`);

const hasDigitAndLetter = (body: string): boolean => {
  const units = [...body].map((character) => character.charCodeAt(0));
  return units.some(alphabet(DIGITS)) && units.some(alphabet(UPPER + LOWER));
};

/** A JSON object in base64url whose text names an algorithm (RFC 7515 section 4). */
function isJwt(body: string): boolean {
  const parts = `eyJ${body}`.split(".");
  // Compact serialisations have three parts when signed, five when encrypted; none may be empty but the key.
  if ((parts.length !== 3 && parts.length !== 5) || (parts[2] ?? "").length < 16) return false;
  return Buffer.from(parts[0] ?? "", "base64url").includes('"alg"');
}

export const PROVIDER_TOKENS: readonly TokenShape[] = [
  // platform.openai.com: project, service account and admin keys; "T3BlbkFJ" stands in the middle of most.
  {
    id: "openai",
    prefixes: ["sk-proj-", "sk-svcacct-", "sk-admin-"],
    alphabet: base64url,
    min: 40,
    max: 200,
    genuine: hasDigitAndLetter,
  },
  // The older user keys of the same provider: 48 letters and digits.
  { id: "openai_legacy", prefixes: ["sk-"], alphabet: alnum, min: 48, max: 48 },
  // docs.anthropic.com: kind ("api03", "admin01", "oat01"), then 93 characters and "AA".
  {
    id: "anthropic",
    prefixes: ["sk-ant-"],
    alphabet: base64url,
    min: 40,
    max: 140,
    genuine: hasDigitAndLetter,
  },
  // docs.github.com: classic personal, OAuth, user-to-server, server-to-server and refresh tokens.
  {
    id: "github_token",
    prefixes: ["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
    alphabet: alnum,
    min: 36,
    max: 36,
    genuine: hasCheckDigits,
  },
  // Fine-grained personal tokens: 22 characters, underscore, 59 characters.
  {
    id: "github_pat",
    prefixes: ["github_pat_"],
    alphabet: alphabet(`${ALNUM}_`),
    min: 82,
    max: 82,
    genuine: (body) => body.indexOf("_") === 22,
  },
  // docs.aws.amazon.com/IAM: unique ids of long-term, temporary, bearer and context keys, base 32.
  {
    id: "aws_access_key",
    prefixes: ["AKIA", "ASIA", "ABIA", "ACCA"],
    alphabet: base32,
    min: 16,
    max: 16,
  },
  // cloud.google.com/docs/authentication/api-keys: 39 characters in all.
  { id: "google_api_key", prefixes: ["AIza"], alphabet: base64url, min: 35, max: 35 },
  // api.slack.com/authentication/token-types: numbers and a random part, dashes between.
  {
    id: "slack_token",
    prefixes: ["xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxe-", "xapp-"],
    alphabet: dashed,
    min: 24,
    max: 255,
    genuine: hasDigitAndLetter,
  },
  // api.slack.com/messaging/webhooks: workspace, channel and secret as path.
  {
    id: "slack_webhook",
    prefixes: ["https://hooks.slack.com/services/"],
    alphabet: pathLike,
    min: 40,
    max: 60,
  },
  // docs.stripe.com/keys: secret and restricted keys of both modes; publishable ones are public.
  {
    id: "stripe",
    prefixes: ["sk_live_", "rk_live_", "sk_test_", "rk_test_"],
    alphabet: alnum,
    min: 24,
    max: 247,
  },
  // docs.gitlab.com/security/tokens: personal, deploy, runner, trigger and agent tokens.
  {
    id: "gitlab",
    prefixes: ["glpat-", "gldt-", "glrt-", "glptt-", "glagent-"],
    alphabet: base64url,
    min: 20,
    max: 300,
    genuine: hasDigitAndLetter,
  },
  // docs.npmjs.com: the format of GitHub's tokens, check digits included.
  {
    id: "npm",
    prefixes: ["npm_"],
    alphabet: alnum,
    min: 36,
    max: 36,
    genuine: hasCheckDigits,
  },
  // huggingface.co/docs/hub/security-tokens: 34 letters (digits in newer ones).
  { id: "huggingface", prefixes: ["hf_"], alphabet: alnum, min: 34, max: 40 },
  // docs.sendgrid.com: key id of 22 characters, dot, secret of 43.
  {
    id: "sendgrid",
    prefixes: ["SG."],
    alphabet: dotted,
    min: 66,
    max: 66,
    genuine: (body) => body.indexOf(".") === 22,
  },
  // RFC 7519: a bearer of claims is a credential, whoever issued it.
  { id: "jwt", prefixes: ["eyJ"], alphabet: dotted, min: 60, max: 3000, genuine: isJwt },
  // console.groq.com
  { id: "groq", prefixes: ["gsk_"], alphabet: alnum, min: 52, max: 52 },
  // openrouter.ai/docs: 32 random bytes.
  { id: "openrouter", prefixes: ["sk-or-v1-"], alphabet: hex, min: 64, max: 64 },
  // docs.x.ai
  { id: "xai", prefixes: ["xai-"], alphabet: alnum, min: 80, max: 80 },
  // docs.perplexity.ai
  { id: "perplexity", prefixes: ["pplx-"], alphabet: alnum, min: 48, max: 56 },
  // replicate.com/docs
  { id: "replicate", prefixes: ["r8_"], alphabet: alnum, min: 37, max: 37 },
  // docs.digitalocean.com: personal, OAuth and refresh tokens, 32 random bytes.
  {
    id: "digitalocean",
    prefixes: ["dop_v1_", "doo_v1_", "dor_v1_"],
    alphabet: hex,
    min: 64,
    max: 64,
  },
  // shopify.dev: access tokens of public, custom and private apps, shared secrets.
  {
    id: "shopify",
    prefixes: ["shpat_", "shpca_", "shppa_", "shpss_"],
    alphabet: alphabet(`${DIGITS}abcdefABCDEF`),
    min: 32,
    max: 32,
  },
  // pypi.org/help: a macaroon whose first caveat is "pypi.org" in base64.
  {
    id: "pypi",
    prefixes: ["pypi-AgEIcHlwaS5vcmc"],
    alphabet: base64url,
    min: 50,
    max: 255,
  },
  // linear.app/developers
  { id: "linear", prefixes: ["lin_api_"], alphabet: alnum, min: 40, max: 40 },
  // postman.com: key id of 24, dash, 34, both hexadecimal.
  {
    id: "postman",
    prefixes: ["PMAK-"],
    alphabet: alphabet(`${DIGITS}abcdef-`),
    min: 59,
    max: 59,
  },
  // docs.databricks.com: 32 hexadecimal digits, sometimes "-2" or the like behind.
  { id: "databricks", prefixes: ["dapi"], alphabet: hex, min: 32, max: 32 },
  // docs.doppler.com: personal, service and command-line tokens.
  { id: "doppler", prefixes: ["dp.pt.", "dp.st.", "dp.ct."], alphabet: alnum, min: 40, max: 44 },
];
