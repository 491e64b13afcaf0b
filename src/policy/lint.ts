/**
 * Warnings: what is valid and cannot be meant. Only what holds for certain is said, so that a clean check
 * stays worth reading; each document is looked at alone.
 */
import type { Problem } from "../core/errors.ts";
import type { ActionRule } from "../core/settings.ts";
import { coveredBy, covers } from "./covers.ts";
import { type PolicyDocument, valueAt } from "./schema.ts";
import { joinPath, problemAt, quote } from "./yaml.ts";

type Path = readonly (string | number)[];

export function lint(documents: readonly PolicyDocument[]): readonly Problem[] {
  return documents.flatMap((document) => [...deadRules(document), ...redundantGlobs(document)]);
}

const warning = (
  document: PolicyDocument,
  path: Path,
  fault: { readonly what: string; readonly fix: string },
): Problem => problemAt(valueAt(document.written, ...path).place, path.reduce(joinPath, ""), fault);

const RANK = { allow: 0, ask: 1, deny: 2 } as const;

/** Rules that another one always outranks or, being of the same kind, always anticipates. */
function deadRules(document: PolicyDocument): readonly Problem[] {
  const rules = document.spec.action?.rules ?? [];
  return rules.flatMap((rule, i) => {
    const stronger = rules.filter(
      (other, j) =>
        RANK[other.decision] > RANK[rule.decision] || (other.decision === rule.decision && j < i),
    );
    const by = outdone(rule, stronger);
    if (by === undefined) return [];
    const ids = [...new Set(by.map((other) => quote(other.id)))].join(" and ");
    const strict = by.every((other) => other.decision === rule.decision);
    return [
      warning(document, ["spec", "action", "rules", i], {
        what: `the rule ${quote(rule.id)} never decides: ${ids} ${
          strict ? "says the same" : `says ${by.map((other) => other.decision).join(" and ")}`
        } for all its tools`,
        fix: strict ? "leave it out" : "narrow the stricter rule, or leave this one out",
      }),
    ];
  });
}

/** The rules that take every tool of `rule` for every model it is about; undefined when one is left. */
function outdone(
  rule: ActionRule,
  stronger: readonly ActionRule[],
): readonly ActionRule[] | undefined {
  const able = stronger.filter(
    (other) =>
      other.models.length === 0 ||
      (rule.models.length > 0 && rule.models.every((model) => coveredBy(model, other.models))),
  );
  const by = rule.tools.map((tool) => able.find((other) => coveredBy(tool, other.tools)));
  return by.every((other) => other !== undefined) ? by : undefined;
}

function redundantGlobs(document: PolicyDocument): readonly Problem[] {
  const { selector, ingress, action } = document.spec;
  const rules = action?.rules ?? [];
  const { identities } = selector ?? {};
  const named = (key: "claims" | "headers"): readonly (readonly [Path, readonly string[]])[] =>
    [...(identities?.[key] ?? [])].map(([name, globs]) => [
      ["spec", "selector", "identities", key, name],
      globs,
    ]);
  const lists: readonly (readonly [Path, readonly string[] | undefined])[] = [
    [["spec", "selector", "routes"], selector?.routes],
    [["spec", "selector", "models"], selector?.models],
    [["spec", "selector", "identities", "spiffe"], identities?.spiffe],
    ...named("claims"),
    ...named("headers"),
    [["spec", "selector", "tenants"], selector?.tenants],
    [["spec", "selector", "profiles"], selector?.profiles],
    [["spec", "ingress", "validation", "models"], ingress?.models],
    [["spec", "ingress", "passThrough"], ingress?.passThrough],
    ...rules.flatMap((rule, i): readonly (readonly [Path, readonly string[]])[] => [
      [["spec", "action", "rules", i, "tools"], rule.tools],
      [["spec", "action", "rules", i, "models"], rule.models],
    ]),
  ];
  return lists.flatMap(([path, globs = []]) =>
    globs.flatMap((glob, i) => {
      // Of two equal entries the later one is the redundant one.
      const wider = globs.find(
        (other, j) => i !== j && covers(other, glob) && (j < i || !covers(glob, other)),
      );
      if (wider === undefined) return [];
      const what = `${quote(glob)} adds nothing: ${quote(wider)} in the same list matches it all`;
      return [warning(document, [...path, i], { what, fix: "leave one of them out" })];
    }),
  );
}
