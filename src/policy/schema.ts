/**
 * The policy document: every key that exists, its bounds and its words. What a document leaves out it does
 * not say; `merge.ts` fills what no matching document says. All problems of all files come at once.
 */
import { type Label, ownLabel } from "../core/brand.ts";
import { CAUSES, type Cause, causes, policyKey } from "../core/cause.ts";
import type { Problem } from "../core/errors.ts";
import {
  type ActionRule,
  INJECTION_ACTIONS,
  MAX_BUDGET_MS,
  PII_ENTITIES,
  type PiiSettings,
  SENSITIVITIES,
  TEXT_ACTIONS,
} from "../core/settings.ts";
import { globs, MAX_GLOBS, selector } from "./selector.ts";
import {
  type Decode,
  type Decoded,
  decoder,
  integer,
  list,
  object,
  type Read,
  text,
  word,
} from "./shape.ts";
import { type Place, parseYaml, problemAt, quote, type Source, type Value } from "./yaml.ts";

const MAX_POLICIES = 256;
const MAX_RULES = 500;
const MiB = 1024 ** 2;

/** A Kubernetes name: it is printed in every record, so its alphabet is closed. */
const NAME = /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/;
/** A rule id becomes `action.<id>`. Ids of our own are these two words, or hold an underscore. */
const RULE_ID = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const OWN_RULES: readonly string[] = ["default", "unlisted"];

const NAME_FIX =
  "use at most 63 lower-case letters, digits and hyphens, with a letter or digit at both ends";

const name = text((value) =>
  NAME.test(value) ? undefined : { what: `${quote(value)} is not a name`, fix: NAME_FIX },
);

const ruleName = text((value) => {
  if (OWN_RULES.includes(value)) {
    return { what: `${quote(value)} is an id of Limen's own`, fix: "choose another id" };
  }
  return RULE_ID.test(value)
    ? undefined
    : { what: `${quote(value)} is not a rule id`, fix: NAME_FIX };
});

/** Only methods that carry no prompt: a POST that passes would be a prompt nobody read. */
const PASS = /^(GET|HEAD|OPTIONS) (\/\S*|\*)$/;
const passThrough = list(
  text((value) => {
    if (PASS.test(value)) return undefined;
    const method = /^([A-Za-z]+) /.exec(value)?.[1]?.toUpperCase() ?? "";
    return ["POST", "PUT", "PATCH", "DELETE"].includes(method)
      ? {
          what: `${method} may carry a prompt and cannot pass unread`,
          fix: "leave it out; only GET, HEAD and OPTIONS may pass",
        }
      : {
          what: `${quote(value)} is not a method and a path`,
          fix: 'write it like "GET /v1/models"',
        };
  }),
  { min: 0, max: MAX_GLOBS },
);

const apiVersion = word(["limen.dev/v1alpha1"], "an API version of Limen");

const mode = decoder((value): Read<"enforce"> => {
  const written = value.kind === "text" ? value.value : "";
  if (written === "enforce") return { ok: "enforce" };
  return {
    what: ["off", "shadow"].includes(written)
      ? `the mode ${quote(written)} does not exist yet: every policy is enforced`
      : `${written === "" ? "this" : quote(written)} is not a mode`,
    fix: 'use "enforce", or leave the key out',
  };
});

const textAction = word(TEXT_ACTIONS, "an action");
const injectionAction = word(INJECTION_ACTIONS, "an action");

const entities: Decode<PiiSettings["entities"]> = (value, path, problems) => {
  const written = list(word([...PII_ENTITIES, "all"], "an entity"), { min: 1, max: 16 });
  const words = written(value, path, problems);
  return words && PII_ENTITIES.filter((entity) => words.includes("all") || words.includes(entity));
};

/** `entities` left out means all that exist. */
const pii = object((key): PiiSettings | undefined => {
  const action = key.required("action", textAction);
  const found = key.optional("entities", entities) ?? PII_ENTITIES;
  return action === undefined ? undefined : { action, entities: found };
});

const secrets = object((key) => {
  const action = key.required("action", textAction);
  return action === undefined ? undefined : { action };
});

const bodyBytes = integer("bytes", 1, 64 * MiB);

const ingress = object((key) => ({
  limits: key.optional(
    "limits",
    object((limit) => ({
      bodyBytes: limit.optional("bodyBytes", bodyBytes),
      messages: limit.optional("messages", integer("messages", 1, 100_000)),
      maxOutputTokens: limit.optional("maxOutputTokens", integer("tokens", 1, 10_000_000)),
      jsonDepth: limit.optional("jsonDepth", integer("levels", 1, 256)),
    })),
  ),
  models: key.optional(
    "validation",
    object((validation) => validation.required("models", globs)),
  ),
  passThrough: key.optional("passThrough", passThrough),
  injection: key.optional(
    "injection",
    object((provenance) => ({
      user: provenance.optional("user", injectionAction),
      document: provenance.optional("document", injectionAction),
      tool: provenance.optional("tool", injectionAction),
      hidden: provenance.optional("hidden", injectionAction),
      sensitivity: provenance.optional("sensitivity", word(SENSITIVITIES, "a sensitivity")),
    })),
  ),
  pii: key.optional("pii", pii),
  secrets: key.optional("secrets", secrets),
}));

/** Shorter ones would be found in ordinary answers. */
const MIN_CANARY_UNITS = 8;
const canary = text((value) =>
  value.length >= MIN_CANARY_UNITS
    ? undefined
    : {
        what: "the canary is too short",
        fix: `use at least ${MIN_CANARY_UNITS} random characters`,
      },
);

const egress = object((key) => ({
  pii: key.optional("pii", pii),
  secrets: key.optional("secrets", secrets),
  promptLeak: key.optional(
    "promptLeak",
    object((leak) => {
      const action = leak.required("action", word(["off", "flag", "deny"], "an action"));
      const canaries = leak.optional("canaries", list(canary, { min: 0, max: MAX_GLOBS })) ?? [];
      return action === undefined ? undefined : { action, canaries };
    }),
  ),
  limits: key.optional(
    "limits",
    object((limit) => ({ bodyBytes: limit.optional("bodyBytes", bodyBytes) })),
  ),
  holdBytes: key.optional("holdBytes", integer("bytes", 512, MiB)),
  toolHoldBytes: key.optional("toolHoldBytes", integer("bytes", 4096, 64 * MiB)),
}));

const rule = object((key): ActionRule | undefined => {
  const id = key.required("id", ruleName);
  const decision = key.required("decision", word(["allow", "ask", "deny"], "a decision"));
  const tools = key.required("tools", globs);
  const models = key.optional("models", globs) ?? [];
  if (id === undefined || decision === undefined || tools === undefined) return undefined;
  return { id, decision, tools, models };
});

/** Inside a section that exists, what is left out is the strict word. */
const action = object((key) => ({
  default: key.optional("default", word(["deny", "allow"], "a decision")) ?? "deny",
  rules: key.optional("rules", list(rule, { min: 0, max: MAX_RULES })) ?? [],
  unlistedDefinitions:
    key.optional(
      "definitions",
      object((definition) =>
        definition.required("unlisted", word(["strip", "deny"], "a decision")),
      ),
    ) ?? "strip",
}));

const failureWord = word(["deny", "allow"], "an outcome");

/** A cause that no policy can open may still be written down, as what it is: deny. */
const closedCause = (cause: Cause): Decode<"deny" | "allow"> =>
  decoder((value) =>
    value.kind === "text" && value.value === "deny"
      ? { ok: "deny" }
      : {
          what: `${policyKey(cause)} is always a deny: ${CAUSES[cause].meaning}`,
          fix: 'write "deny", or leave it out',
        },
  );

/** One value per cause: the one place that knows that `causes` are all the keys. */
export const forEachCause = <T>(value: (cause: Cause) => T): Readonly<Record<Cause, T>> =>
  Object.fromEntries(causes.map((cause) => [cause, value(cause)])) as Record<Cause, T>;

const failure = object((key) =>
  forEachCause((cause) =>
    key.optional(policyKey(cause), CAUSES[cause].allowable ? failureWord : closedCause(cause)),
  ),
);

const spec = object((key) => ({
  selector: key.optional("selector", selector),
  mode: key.optional("mode", mode),
  budgetMs: key.optional(
    "budgetMs",
    object((budget) => budget.required("request", integer("milliseconds", 10, MAX_BUDGET_MS))),
  ),
  ingress: key.optional("ingress", ingress),
  egress: key.optional("egress", egress),
  action: key.optional("action", action),
  durability: key.optional(
    "audit",
    object((audit) => audit.required("durability", word(["strict"], "a durability that exists"))),
  ),
  failure: key.optional("failure", failure),
}));

/** What one document says; what it does not say is undefined. */
export type PolicySpec = Decoded<typeof spec>;

const document = object((key) => {
  key.required("apiVersion", apiVersion);
  key.required("kind", word(["BoundaryPolicy"], "a kind of document that Limen has"));
  const named = key.required(
    "metadata",
    object((metadata) => metadata.required("name", name)),
  );
  const said = key.required("spec", spec);
  return named === undefined || said === undefined ? undefined : { name: named, spec: said };
});

export type PolicyDocument = {
  readonly name: Label;
  readonly spec: PolicySpec;
  /** The document as it was written: the digest and the warnings read it. */
  readonly written: Value;
};

/** @returns documents in order of their names; incomplete when `problems` grew */
export function parsePolicies(
  sources: readonly Source[],
  problems: Problem[],
): readonly PolicyDocument[] {
  const documents: PolicyDocument[] = [];
  const all: Value[] = [];
  for (const source of sources) {
    const before = problems.length;
    const values = parseYaml(source, problems);
    if (values.length === 0 && problems.length === before) {
      const fix = "write a policy, or remove the file";
      problems.push({ where: source.name, what: "the file holds no document", fix });
    }
    all.push(...values);
    for (const written of values) {
      const parsed = document(written, "", problems);
      if (parsed) documents.push({ name: ownLabel(parsed.name), spec: parsed.spec, written });
    }
  }
  if (all.length > MAX_POLICIES) {
    const what = `${all.length} policies are more than the ${MAX_POLICIES} that may be in force`;
    problems.push({ where: "policies", what, fix: "merge some of them" });
  }
  reportDoubles(all, problems);
  return documents.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Names of policies and ids of rules stand alone in records: each may exist once in a set. */
function reportDoubles(documents: readonly Value[], problems: Problem[]): void {
  const names = new Map<string, Place>();
  const ids = new Map<string, Place>();
  const claim = (
    seen: Map<string, Place>,
    key: string,
    at: { place: Place; path: string },
  ): void => {
    const first = seen.get(key);
    if (first === undefined) {
      seen.set(key, at.place);
      return;
    }
    const line = first.file.lines.linePos(first.start).line;
    const what = `${quote(key)} is taken already, in ${first.file.name}:${line}`;
    problems.push(problemAt(at.place, at.path, { what, fix: "choose another one" }));
  };
  for (const written of documents) {
    const policy = valueAt(written, "metadata", "name");
    if (policy.kind === "text")
      claim(names, policy.value, { place: policy.place, path: "metadata.name" });
    const rules = valueAt(written, "spec", "action", "rules");
    if (rules.kind !== "list") continue;
    rules.items.forEach((one, i) => {
      const id = valueAt(one, "id");
      if (id.kind !== "text") return;
      claim(ids, id.value, { place: id.place, path: `spec.action.rules[${i}].id` });
    });
  }
}

/** What stands at a path of a document; the nearest enclosing value when it is not written out. */
export function valueAt(value: Value, ...path: readonly (string | number)[]): Value {
  let at = value;
  for (const step of path) {
    const next =
      at.kind === "list" && typeof step === "number"
        ? at.items[step]
        : at.kind === "map" && typeof step === "string"
          ? at.entries.get(step)?.value
          : undefined;
    if (next === undefined) break;
    at = next;
  }
  return at;
}
