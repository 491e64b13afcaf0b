/**
 * Policies that ask for what nobody vouches for: they would never be chosen, and what they forbid would be allowed
 * by those that are. Only the service knows, because only its configuration says what it trusts.
 */
import type { Problem } from "../core/errors.ts";
import type { Trust } from "../core/identity.ts";
import { type PolicyDocument, valueAt } from "./schema.ts";
import { joinPath, problemAt, quote } from "./yaml.ts";

export function unvouched(documents: readonly PolicyDocument[], trust: Trust): readonly Problem[] {
  return documents.flatMap(({ spec: { selector }, written }) => {
    const asked: (readonly [path: readonly string[], as: string])[] = [];
    if (selector?.tenants !== undefined && trust.tenant === undefined)
      asked.push([["tenants"], "tenant: x-tenant"]);
    if (selector?.profiles !== undefined && trust.profile === undefined)
      asked.push([["profiles"], "profile: x-agent-profile"]);
    for (const name of selector?.identities?.headers?.keys() ?? [])
      if (!trust.headers.includes(name))
        asked.push([["identities", "headers", name], `NAME: ${name}`]);
    return asked.map(([path, as]) => {
      const steps = ["spec", "selector", ...path];
      return problemAt(valueAt(written, ...steps).place, steps.reduce(joinPath, ""), {
        what: `limen.yaml trusts no header for ${quote(path.at(-1) ?? "")}, so this policy would never be chosen`,
        fix: `let Envoy overwrite a header and add it to trust.headers, like {${as}}, or leave the key out`,
      });
    });
  });
}
