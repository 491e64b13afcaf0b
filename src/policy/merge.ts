/**
 * Several documents as one policy. The result does not depend on their order, and no document can loosen
 * what another says: deny > redact > flag > off, the smaller limit, both lists of models. A key that no
 * matching document says has the default below, whatever else they say.
 */
import { CAUSES } from "../core/cause.ts";
import {
  type ActionSettings,
  type EgressSettings,
  INJECTION_ACTIONS,
  type IngressSettings,
  PII_ENTITIES,
  type PiiSettings,
  type PolicySettings,
  SENSITIVITIES,
  TEXT_ACTIONS,
} from "../core/settings.ts";
import { coveredBy } from "./covers.ts";
import { forEachCause, type PolicySpec } from "./schema.ts";

const MiB = 1024 ** 2;

/** What holds where no document says anything; `default.yaml` spells the same out. */
const DEFAULTS = {
  budgetMs: 1_000,
  bodyBytes: 8 * MiB,
  messages: 1000,
  maxOutputTokens: 131_072,
  jsonDepth: 64,
  passThrough: ["GET /v1/models", "GET /v1/models/*", "OPTIONS *"],
  injection: { user: "flag", document: "deny", tool: "deny", hidden: "deny" },
  sensitivity: "balanced",
  pii: { action: "flag", entities: PII_ENTITIES },
  secrets: "redact",
  promptLeak: "deny",
  holdBytes: 4096,
  toolHoldBytes: 64 * MiB,
} as const;

type Said = readonly PolicySpec[];

/** What the documents say about one key. */
const all = <T>(specs: Said, get: (spec: PolicySpec) => T | undefined): readonly T[] =>
  specs.map(get).filter((value) => value !== undefined);

const smallest = (said: readonly number[], fallback: number): number =>
  said.length === 0 ? fallback : Math.min(...said);

/** @param order from the weakest to the strictest */
const strictest = <W>(order: readonly W[], said: readonly W[], fallback: W): W =>
  order.findLast((word) => said.includes(word)) ?? fallback;

const union = <T>(lists: readonly (readonly T[])[]): readonly T[] => [...new Set(lists.flat())];

/** Entities of a document that looks for none add nothing to those that others look for. */
function pii(said: readonly PiiSettings[]): PiiSettings {
  const action = strictest(
    TEXT_ACTIONS,
    said.map((one) => one.action),
    DEFAULTS.pii.action,
  );
  const looking = said.filter((one) => one.action !== "off" || action === "off");
  const listed = union(looking.map((one) => one.entities));
  const entities = said.length === 0 ? DEFAULTS.pii.entities : listed;
  return { action, entities: PII_ENTITIES.filter((entity) => entities.includes(entity)) };
}

const secrets = (said: readonly { readonly action: (typeof TEXT_ACTIONS)[number] }[]) => ({
  action: strictest(
    TEXT_ACTIONS,
    said.map((one) => one.action),
    DEFAULTS.secrets,
  ),
});

/** What every list lets pass; where two globs overlap without one covering the other, nothing. */
function passThrough(lists: readonly (readonly string[])[]): readonly string[] {
  if (lists.length === 0) return DEFAULTS.passThrough;
  return union(lists)
    .filter((entry) => lists.every((list) => coveredBy(entry, list)))
    .sort();
}

function ingress(specs: Said, models: readonly string[]): IngressSettings {
  const limits = all(specs, (spec) => spec.ingress?.limits);
  const limit = (key: "bodyBytes" | "messages" | "maxOutputTokens" | "jsonDepth"): number =>
    smallest(
      limits.map((one) => one[key]).filter((n) => n !== undefined),
      DEFAULTS[key],
    );
  const injection = (key: keyof typeof DEFAULTS.injection) =>
    strictest(
      INJECTION_ACTIONS,
      all(specs, (spec) => spec.ingress?.injection?.[key]),
      DEFAULTS.injection[key],
    );
  return {
    limits: {
      bodyBytes: limit("bodyBytes"),
      messages: limit("messages"),
      maxOutputTokens: limit("maxOutputTokens"),
      jsonDepth: limit("jsonDepth"),
    },
    models,
    passThrough: passThrough(all(specs, (spec) => spec.ingress?.passThrough)),
    injection: {
      user: injection("user"),
      document: injection("document"),
      tool: injection("tool"),
      hidden: injection("hidden"),
      sensitivity: strictest(
        SENSITIVITIES,
        all(specs, (spec) => spec.ingress?.injection?.sensitivity),
        DEFAULTS.sensitivity,
      ),
    },
    pii: pii(all(specs, (spec) => spec.ingress?.pii)),
    secrets: secrets(all(specs, (spec) => spec.ingress?.secrets)),
  };
}

function egress(specs: Said): EgressSettings {
  const leaks = all(specs, (spec) => spec.egress?.promptLeak);
  return {
    limits: {
      bodyBytes: smallest(
        all(specs, (spec) => spec.egress?.limits?.bodyBytes),
        DEFAULTS.bodyBytes,
      ),
    },
    pii: pii(all(specs, (spec) => spec.egress?.pii)),
    secrets: secrets(all(specs, (spec) => spec.egress?.secrets)),
    promptLeak: {
      action: strictest(
        ["off", "flag", "deny"],
        leaks.map((leak) => leak.action),
        DEFAULTS.promptLeak,
      ),
      canaries: [...union(leaks.map((leak) => leak.canaries))].sort(),
    },
    holdBytes: smallest(
      all(specs, (spec) => spec.egress?.holdBytes),
      DEFAULTS.holdBytes,
    ),
    toolHoldBytes: smallest(
      all(specs, (spec) => spec.egress?.toolHoldBytes),
      DEFAULTS.toolHoldBytes,
    ),
  };
}

/** Rules add up in the order of their policies' names; a document without the section adds none. */
function action(specs: Said): ActionSettings {
  const sections = all(specs, (spec) => spec.action);
  if (sections.length === 0) return { kind: "unlisted" };
  return {
    kind: "rules",
    default: sections.some((section) => section.default === "deny") ? "deny" : "allow",
    rules: sections.flatMap((section) => section.rules),
    unlistedDefinitions: sections.some((section) => section.unlistedDefinitions === "deny")
      ? "deny"
      : "strip",
  };
}

/**
 * @param specs in order of their policies' names
 * @param models the list that decides about the exchange's model (`compile.ts`)
 */
export function merge(specs: Said, models: readonly string[]): PolicySettings {
  return {
    budgetMs: {
      request: smallest(
        all(specs, (spec) => spec.budgetMs),
        DEFAULTS.budgetMs,
      ),
    },
    ingress: ingress(specs, models),
    egress: egress(specs),
    action: action(specs),
    failure: forEachCause((cause) =>
      strictest(
        ["allow", "deny"],
        all(specs, (spec) => spec.failure?.[cause]),
        CAUSES[cause].fallback,
      ),
    ),
  };
}
