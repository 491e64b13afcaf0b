/**
 * `limen envoy check` without its arguments: one file in, findings out. What Envoy accepts and must not be in front
 * of a model is a row in one of the tables below; this file only brings each row together with what it is about.
 */
import type { Problem } from "../core/errors.ts";
import { inOrder, parseYaml, type Source } from "../policy/yaml.ts";
import { AUTHZ_RULES } from "./authz.ts";
import { CLUSTER_RULES, clustersOf } from "./clusters.ts";
import { MANAGER_RULES } from "./connection-manager.ts";
import { Cursor } from "./cursor.ts";
import { PROVIDER_RULES } from "./extension-provider.ts";
import { FILTER_RULES, PROC_RULES } from "./filters.ts";
import { SERVICE_RULES } from "./grpc-service.ts";
import { MODE_RULES, OVERRIDE_MODE_RULES } from "./modes.ts";
import { OVERRIDE_RULES, overridesOf, targetsOf, WAY_RULES, waysOf } from "./routes.ts";
import { type Limits, type Rule, type RuleText, spotIf } from "./rule.ts";
import { type Guard, type Manager, type Scene, sceneOf } from "./scene.ts";

export type Finding = Problem & Pick<RuleText, "severity"> & { readonly rule: string };

/** Deeper than any configuration we know (EnvoyFilters with retry predicates: 25). */
const READING = { aliases: "followed", maxDepth: 64 } as const;
/** More are as good as none: they are one mistake, repeated. */
const MAX_FINDINGS = 500;

const GRACEFUL_CLOSE = "envoy.reloadable_features.ext_proc_graceful_grpc_close";

const RUNTIME_RULES: readonly Rule<Cursor>[] = [
  {
    id: "graceful-close",
    severity: "error",
    what: "ext_proc_graceful_grpc_close is on",
    so: "Envoy 1.36 to 1.40 ends with a segmentation fault when an exchange of more than about 50 s ends in order",
    fix: "leave it out, or set it to false",
    find: (layer) => {
      const flag = layer.at(GRACEFUL_CLOSE);
      return spotIf(flag.boolean() === true, flag);
    },
  },
];

const FILE_RULES: readonly Rule<{ readonly scene: Scene; readonly top: Cursor }>[] = [
  {
    id: "no-filter",
    severity: "error",
    what: "no filter of Limen is in this file",
    so: "nothing that this file configures is read by Limen",
    fix: "name the right file; a filter that is not called limen... is named with --filter",
    find: ({ scene, top }) =>
      spotIf(scene.managers.length === 0 && scene.providers.length === 0, top),
  },
  {
    id: "listener-unguarded",
    severity: "warning",
    what: "a listener without Limen leads to a cluster that Limen guards in another",
    so: "whoever reaches this listener asks the model unread",
    fix: "put the filter here too, or make sure that no client reaches it",
    find: ({ scene }) => {
      const targets = scene.managers.flatMap(targetsOf).map((target) => target.text());
      const guarded = new Set(targets.filter((name) => name !== undefined));
      return scene.unguarded.flatMap((manager) => {
        const at = targetsOf(manager).find((target) => guarded.has(target.text() ?? ""));
        return at === undefined ? [] : spotIf(true, at);
      });
    },
  },
];

const UNREADABLE: Pick<Finding, "rule" | "severity"> = { rule: "yaml", severity: "error" };

/** Every rule, for the documentation. */
export const RULES: readonly RuleText[] = [
  ...FILE_RULES,
  ...FILTER_RULES,
  ...MODE_RULES,
  ...OVERRIDE_MODE_RULES,
  ...PROC_RULES,
  ...AUTHZ_RULES,
  ...PROVIDER_RULES,
  ...SERVICE_RULES,
  ...MANAGER_RULES,
  ...OVERRIDE_RULES,
  ...WAY_RULES,
  ...CLUSTER_RULES,
  ...RUNTIME_RULES,
];

/**
 * @param options `filter`: the name of Limen's filter or of its cluster; without it every filter called limen...
 * @returns in order of their places, at most 500; never throws, whatever the text is
 */
export function checkEnvoy(
  source: Source,
  options: { readonly filter: string | undefined; readonly limits: Limits },
): readonly Finding[] {
  const problems: Problem[] = [];
  const documents = parseYaml(source, problems, READING);
  if (problems.length > 0) {
    // What could not be read would be missed everywhere: findings about that are no news.
    return inOrder(problems.slice(0, MAX_FINDINGS)).map((one) => ({ ...one, ...UNREADABLE }));
  }
  const [first] = documents;
  if (first === undefined) return [{ ...EMPTY, ...UNREADABLE, where: source.name }];
  const top = new Cursor(undefined, "", { ...first.place, end: first.place.start });
  const cursors = documents.map((value) => new Cursor(value, "", value.place));
  const { filter } = options;
  const scene = sceneOf(cursors, (name, cluster) =>
    filter === undefined ? name.startsWith("limen") : name === filter || cluster === filter,
  );
  const found: Finding[] = [];
  for (const finding of findings(scene, top, options.limits)) {
    if (found.push(finding) === MAX_FINDINGS) break;
  }
  return inOrder(found);
}

const EMPTY = { what: "the file holds no document", fix: "name an Envoy configuration" } as const;

function* findings(scene: Scene, top: Cursor, limits: Limits): Generator<Finding> {
  yield* judge(FILE_RULES, [{ scene, top }], limits);
  yield* judge(RUNTIME_RULES, scene.runtimes, limits);
  yield* judge(PROVIDER_RULES, scene.providers, limits);
  for (const manager of scene.managers) {
    for (const guard of manager.guards) yield* guardFindings(guard, limits);
    yield* managerFindings(scene, manager, limits);
  }
}

function* guardFindings(guard: Guard, limits: Limits): Generator<Finding> {
  yield* judge(FILTER_RULES, [guard], limits);
  yield* judge(SERVICE_RULES, [guard.body.at("grpc_service")], limits);
  if (guard.kind === "ext_authz") {
    yield* judge(AUTHZ_RULES, [guard], limits);
    return;
  }
  yield* judge(PROC_RULES, [guard], limits);
  yield* judge(OVERRIDE_MODE_RULES, [guard], limits);
  yield* judge(MODE_RULES, [{ modes: guard.body.at("processing_mode"), of: "filter" }], limits);
}

function* managerFindings(scene: Scene, manager: Manager, limits: Limits): Generator<Finding> {
  yield* judge(MANAGER_RULES, [manager], limits);
  yield* judge(WAY_RULES, waysOf(manager, limits), limits);
  const overrides = overridesOf(manager);
  yield* judge(OVERRIDE_RULES, overrides, limits);
  const modes = overrides.map(({ body }) => body.in("overrides", "processing_mode"));
  const written = modes.filter((mode) => mode.isWritten);
  yield* judge(
    MODE_RULES,
    written.map((mode) => ({ modes: mode, of: "route" })),
    limits,
  );
  const detours = overrides.flatMap(({ body }) => [
    body.in("overrides", "grpc_service"),
    body.in("check_settings", "grpc_service"),
  ]);
  yield* judge(SERVICE_RULES, detours, limits);
  const services = [...manager.guards.map(({ body }) => body.at("grpc_service")), ...detours];
  yield* judge(CLUSTER_RULES, clustersOf(scene, manager, services), limits);
}

function* judge<S>(
  rules: readonly Rule<S>[],
  subjects: readonly S[],
  limits: Limits,
): Generator<Finding> {
  for (const subject of subjects) {
    for (const { id, severity, what, so, fix, find } of rules) {
      for (const { at, detail } of find(subject, limits)) {
        yield { ...at.problem({ what: `${what}${detail}: ${so}`, fix }), rule: id, severity };
      }
    }
  }
}
