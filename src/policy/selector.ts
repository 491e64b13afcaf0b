/**
 * Which exchanges a policy is about, and whom: AND over keys, OR inside a list; a key that is left out asks nothing.
 * In a SPIFFE ID a `*` crosses slashes as everywhere: `spiffe://prod/ns/agents/*` is all that is below, however deep.
 * The trust domain has no wildcard, because each one is vouched for by another authority.
 */
import { globMatch } from "../core/glob.ts";
import type { Vouched } from "../core/identity.ts";
import { DIALECTS } from "../core/inference.ts";
import type { SelectionFacts } from "../core/policy.ts";
import { type Decode, type Decoded, entries, list, object, text, word } from "./shape.ts";
import { problemAt, quote } from "./yaml.ts";

export const MAX_GLOBS = 100;
const MAX_NAMES = 16;

export const globs = list(text(), { min: 1, max: MAX_GLOBS });

/** `llm-*` is a glob on Envoy's route name; an entry that starts with `/` is about the request path. */
const routes = list(
  text((value) =>
    value.includes("://")
      ? {
          what: `${quote(value)} is a URL`,
          fix: "write an Envoy route name, or a path that starts with /",
        }
      : undefined,
  ),
  { min: 1, max: MAX_GLOBS },
);

const SPIFFE_GLOB = /^spiffe:\/\/[a-z0-9._-]+(\/[A-Za-z0-9._*?-]+)*$/;
const spiffe = list(
  text((value) =>
    SPIFFE_GLOB.test(value)
      ? undefined
      : {
          what: `${quote(value)} is not a SPIFFE ID`,
          fix: "write it like spiffe://prod/ns/agents/*: the trust domain in full, wildcards in the path",
        },
  ),
  { min: 1, max: MAX_GLOBS },
);

/** What a trusted header can say: `envoy/identity.ts` takes no other. */
const headerGlobs = list(
  text((value) =>
    /^[ -+\--~]+$/.test(value)
      ? undefined
      : {
          what: `${quote(value)} can match nothing: a trusted header holds printable ASCII without a comma`,
          fix: "write what Envoy writes into the header",
        },
  ),
  { min: 1, max: MAX_GLOBS },
);

/** Header names of a selector, as `trust.headers` of the service's configuration spells them. */
const byHeader = entries(
  (name): Decode<readonly string[]> =>
    (value, path, problems) => {
      if (/^[a-z0-9-]+$/.test(name)) return headerGlobs(value, path, problems);
      const what = `${quote(name)} is not the name of a header`;
      const fix = "write lower-case letters, digits and hyphens, like x-team";
      problems.push(problemAt(value.place, path, { what, fix }));
      return undefined;
    },
  { min: 1, max: MAX_NAMES },
);

const asked = object((key) => ({
  spiffe: key.optional("spiffe", spiffe),
  claims: key.optional(
    "claims",
    entries(() => globs, { min: 1, max: MAX_NAMES }),
  ),
  headers: key.optional("headers", byHeader),
}));

const identities: typeof asked = (value, path, problems) => {
  if (value.kind !== "map" || value.entries.size > 0) return asked(value, path, problems);
  const what = "it asks nothing, so everybody would match";
  const fix = "write spiffe, claims or headers below it, or leave it out";
  problems.push(problemAt(value.place, path, { what, fix }));
  return undefined;
};

export const selector = object((key) => ({
  routes: key.optional("routes", routes),
  dialects: key.optional("dialects", list(word(DIALECTS, "a dialect"), { min: 1, max: MAX_GLOBS })),
  models: key.optional("models", globs),
  identities: key.optional("identities", identities),
  tenants: key.optional("tenants", headerGlobs),
  profiles: key.optional("profiles", headerGlobs),
}));

export type Selector = Decoded<typeof selector>;

/** The question of a selector, in its two halves. */
export type Matcher = {
  /** @param model undefined while unknown: what is not known may match */
  readonly concerns: (facts: SelectionFacts, model: string | undefined) => boolean;
  /** Whether it is about `path` whatever the route is called: one that asks for a name does not let the nameless in. */
  readonly isAbout: (path: string) => boolean;
  /** Undefined: it does not ask who it is. Who says nothing about himself is nobody who is asked for. */
  readonly admits: ((who: Vouched) => boolean) | undefined;
};

export function matcherOf(selector: Selector | undefined): Matcher {
  const { routes, dialects, models } = selector ?? {};
  const byRoute = routes?.filter((entry) => !entry.startsWith("/")) ?? [];
  const byPath = routes?.filter((entry) => entry.startsWith("/")).flatMap(pathGlobs) ?? [];
  return {
    concerns: (facts, model) =>
      (routes === undefined ||
        // Unsaid is unknown: a policy that may be meant counts.
        (facts.route === "" ? byRoute.length > 0 : anyMatches(byRoute, facts.route)) ||
        anyMatches(byPath, facts.path)) &&
      (dialects === undefined || facts.dialect === undefined || dialects.includes(facts.dialect)) &&
      (models === undefined || model === undefined || anyMatches(models, model)),
    isAbout: (path) => routes === undefined || anyMatches(byPath, path),
    admits: admission(selector),
  };
}

function admission(selector: Selector | undefined): Matcher["admits"] {
  const { identities, tenants, profiles } = selector ?? {};
  type Question = readonly [globs: readonly string[] | undefined, of: (who: Vouched) => Answer];
  type Answer = string | readonly string[] | undefined;
  const questions: readonly Question[] = [
    [identities?.spiffe, (who) => who.spiffe],
    [tenants, (who) => who.tenant],
    [profiles, (who) => who.profile],
    ...[...(identities?.claims ?? [])].map(
      ([name, asked]): Question => [asked, (who) => who.claims.get(name)],
    ),
    ...[...(identities?.headers ?? [])].map(
      ([name, asked]): Question => [asked, (who) => who.headers.get(name)],
    ),
  ];
  const put = questions.filter(([asked]) => asked !== undefined);
  if (put.length === 0) return undefined;
  return (who) =>
    put.every(([asked = [], of]) =>
      [of(who) ?? []].flat().some((answer) => anyMatches(asked, answer)),
    );
}

export const anyMatches = (globs: readonly string[], text: string): boolean =>
  globs.some((glob) => globMatch(glob, text));

/** A path and what is below it: `/v1/chat` is not a prefix of `/v1/chats`. */
const pathGlobs = (entry: string): readonly string[] =>
  entry.endsWith("/") || entry.endsWith("*") ? [`${entry}*`] : [entry, `${entry}/*`];
