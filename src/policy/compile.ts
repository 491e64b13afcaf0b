/**
 * Documents to the set that exchanges are decided with: frozen, named by a digest, the same whatever the
 * order of files. What can match is found by walking the selectors; what a combination of matching
 * policies comes to is computed once and kept.
 */
import { createHash } from "node:crypto";
import { type Label, ownLabel } from "../core/brand.ts";
import type { CallControl, RequestControl, TextControl } from "../core/control.ts";
import type { EffectivePolicy, PolicySet, SelectionFacts } from "../core/policy.ts";
import type { ActionSettings, EgressSettings, IngressSettings } from "../core/settings.ts";
import { merge } from "./merge.ts";
import type { PolicyDocument, PolicySpec } from "./schema.ts";
import { anyMatches, type Matcher, matcherOf } from "./selector.ts";
import { canonicalJson } from "./yaml.ts";

/** How settings become controls; passed in, because policies know no control. */
export type ControlFactories = {
  ingress(settings: IngressSettings): RequestControl;
  egress(settings: EgressSettings): TextControl;
  action(settings: ActionSettings): RequestControl & CallControl;
};

/** Combinations of matching policies that are kept; a client chooses path and model, so there is an end. */
const MAX_KEPT = 256;
/** Model names are traffic. A longer one is treated as unknown: every policy on models may match it. */
const MAX_MODEL_UNITS = 256;

/**
 * SHA-256 over the canonical JSON of the documents.
 * @param documents sorted by name, as `parsePolicies` gives them
 */
export function digestOf(documents: readonly PolicyDocument[]): Label {
  const text = `[${documents.map((document) => canonicalJson(document.written)).join(",")}]`;
  return ownLabel(createHash("sha256").update(text).digest("hex"));
}

/**
 * @param documents sorted by name, as `parsePolicies` gives them
 * @throws Error when a factory does: the settings of every policy alone and of all together are built here,
 *   so that a control that cannot be built fails the load and not an exchange
 */
export function compile(
  documents: readonly PolicyDocument[],
  factories: ControlFactories,
): PolicySet {
  const policies = documents.map(compilePolicy);
  const effective = keeper(policies, factories);
  for (const policy of policies)
    effective([policy], policy.models === undefined ? undefined : policy);
  effective(policies, undefined);
  return Object.freeze({
    digest: digestOf(documents),
    names: Object.freeze(policies.map((policy) => policy.name)),
    printable: printableOf(documents),
    select(facts: SelectionFacts): EffectivePolicy | undefined {
      const known = facts.model !== undefined && facts.model.length <= MAX_MODEL_UNITS;
      const model = known ? facts.model : undefined;
      const who = facts.identity.reveal();
      const about = policies.filter(({ concerns }) => concerns(facts, model));
      // Who is doubtful may be the one a policy is about: to pass it over would leave the looser ones.
      if (who.doubtful && about.some(({ admits }) => admits !== undefined)) return undefined;
      const matching = about.filter(({ admits }) => admits === undefined || admits(who));
      const isNamed = facts.route !== "" || matching.some(({ isAbout }) => isAbout(facts.path));
      if (matching.length === 0 || !isNamed) return undefined;
      return effective(matching, deciding(matching, model));
    },
  });
}

type Policy = Matcher & {
  readonly index: number;
  readonly name: Label;
  readonly spec: PolicySpec;
  /** Globs of models that may be used; undefined: any. */
  readonly models: readonly string[] | undefined;
};

function compilePolicy({ name, spec }: PolicyDocument, index: number): Policy {
  return { index, name, spec, models: spec.ingress?.models, ...matcherOf(spec.selector) };
}

/**
 * Lists of models intersect, and globs have no intersection that is a glob. So the list that decides is
 * picked for the model at hand: the first that refuses it, else the first there is.
 */
function deciding(matching: readonly Policy[], model: string | undefined): Policy | undefined {
  const listing = matching.filter((policy) => policy.models !== undefined);
  const refuses = (policy: Policy): boolean =>
    model !== undefined && !anyMatches(policy.models ?? [], model);
  return listing.find(refuses) ?? listing[0];
}

/** The merged policy of a combination, made when it is first asked for. */
function keeper(policies: readonly Policy[], factories: ControlFactories) {
  const kept = keep<EffectivePolicy>(MAX_KEPT);
  // Combinations often differ in one section only: controls are kept by what they are made of.
  const ingress = keep<RequestControl>(MAX_KEPT);
  const egress = keep<TextControl>(MAX_KEPT);
  const action = keep<RequestControl & CallControl>(MAX_KEPT);
  return (matching: readonly Policy[], decider: Policy | undefined): EffectivePolicy => {
    const key = `${matching.length === policies.length ? "all" : matching.map((p) => p.index).join()}:${decider?.index}`;
    return kept(key, () => {
      const specs = matching.map((policy) => policy.spec);
      const settings = freeze(merge(specs, decider?.models ?? []));
      const controls = {
        ingress: ingress(JSON.stringify(settings.ingress), () =>
          factories.ingress(settings.ingress),
        ),
        egress: egress(JSON.stringify(settings.egress), () => factories.egress(settings.egress)),
        action: action(JSON.stringify(settings.action), () => factories.action(settings.action)),
      };
      const names = Object.freeze(matching.map((policy) => policy.name));
      return Object.freeze({ settings, controls: Object.freeze(controls), names });
    });
  };
}

/** A map that makes what is missing and forgets the oldest beyond `max`. */
function keep<T>(max: number): (key: string, make: () => T) => T {
  const kept = new Map<string, T>();
  return (key, make) => {
    const found = kept.get(key);
    if (found !== undefined) return found;
    const made = make();
    for (const oldest of kept.keys()) {
      if (kept.size < max) break;
      kept.delete(oldest);
    }
    kept.set(key, made);
    return made;
  };
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value))
    if (typeof part === "object" && part !== null) freeze(part);
  return Object.freeze(value);
}

/** Names without a wildcard: what the operator wrote may be printed, what traffic calls itself may not. */
function printableOf(documents: readonly PolicyDocument[]): ReadonlySet<string> {
  const names = documents.flatMap(({ spec }) => [
    ...(spec.selector?.routes ?? []),
    ...(spec.selector?.models ?? []),
    ...(spec.ingress?.models ?? []),
    ...(spec.action?.rules ?? []).flatMap((rule) => [...rule.tools, ...rule.models]),
  ]);
  return new Set(names.filter((name) => !/[*?]/.test(name)));
}
