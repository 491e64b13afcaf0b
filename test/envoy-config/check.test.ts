import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { parse, parseAllDocuments } from "yaml";
import { MAX_BUDGET_MS } from "../../src/core/settings.ts";
import { RULES } from "../../src/envoy-config/check.ts";
import { REPLY_DEADLINE_MS } from "../../src/envoy-config/rule.ts";
import { type Case, CHAIN_CASES, CLUSTER_CASES, FILTER_CASES, MODE_CASES } from "./cases.ts";
import { applied, check, edit, LIMITS, lineOf, SHIPPED } from "./edits.ts";

const CASES: readonly Case[] = [...MODE_CASES, ...FILTER_CASES, ...CHAIN_CASES, ...CLUSTER_CASES];
const SEVERITY = new Map(RULES.map(({ id, severity }) => [id, severity]));
const rulesOf = (text: string, filter?: string, limits = LIMITS): readonly string[] =>
  check(text, filter, limits).map(({ rule }) => rule);

describe("limen envoy check: what is shipped", () => {
  for (const [name, text] of Object.entries(SHIPPED)) {
    it(`has nothing to say about ${name}`, () => assert.deepEqual(check(text), []));
    it(`has nothing to say about ${name} as JSON`, () => {
      assert.deepEqual(check(jsonOf(text, (json) => json)), []);
    });
    it(`has nothing to say about ${name} with names in camelCase`, () => {
      assert.deepEqual(check(jsonOf(text, camelCased)), []);
    });
  }

  it("is every file with a filter", () => {
    const root = new URL("../../", import.meta.url);
    const files = ["envoy", "istio"].flatMap((folder) =>
      readdirSync(new URL(`${folder}/`, root)).map((file) => `${folder}/${file}`),
    );
    const others = ["docker-compose", "kustomization", "limen", "istio/ext-authz"];
    for (const file of files.filter((one) => one.endsWith(".yaml")))
      assert.ok(file in SHIPPED || others.some((other) => file.includes(`${other}.`)), file);
  });
});

describe("limen envoy check: one defect at a time", () => {
  CASES.forEach(([rule, file, edits, line], i) => {
    it(`finds ${rule} in ${file}, ${i}: ${line}`, () => {
      const text = applied(file, edits);
      const found = check(text);
      assert.deepEqual(new Set(found.map((one) => one.rule)), new Set([rule]));
      assert.equal(found[0]?.severity, SEVERITY.get(rule));
      const [first] = found;
      const shown = first === undefined ? "" : lineOf(text, first);
      assert.ok(shown.startsWith(line), shown);
    });
  });

  for (const { id } of RULES) {
    it(`has a case for ${id}`, () => {
      const elsewhere = id === "filter-matched"; // below: it wraps the whole filter
      assert.ok(elsewhere || CASES.some(([rule]) => rule === id));
    });
  }

  it("has the rules that docs/envoy-check.md lists, in its words", () => {
    const page = readFileSync(new URL("../../docs/envoy-check.md", import.meta.url), "utf8");
    const [, table = ""] = /<!-- rules -->([\s\S]*?)<!-- \/rules -->/.exec(page) ?? [];
    const rows = RULES.map(
      ({ id, severity, what, so }) => `| \`${id}\` | ${severity} | ${what}: ${so} |`,
    );
    assert.deepEqual(table.trim().split("\n").slice(2), rows);
  });

  it("takes from the service how long Limen takes to answer", () => {
    const serve = readFileSync(new URL("../../src/cli/serve.ts", import.meta.url), "utf8");
    const written = (name: string): number => {
      const [, digits = ""] = new RegExp(`${name} = ([\\d_]+);`).exec(serve) ?? [];
      return Number(digits.replaceAll("_", ""));
    };
    assert.equal(written("REPLY_DEADLINE_MS"), REPLY_DEADLINE_MS);
    // Judging, the wait for the log, and a loop that is busy with somebody else's body.
    assert.ok(MAX_BUDGET_MS + written("AUDIT_WAIT_MS") + 500 <= REPLY_DEADLINE_MS);
  });

  it("has each rule once", () => {
    assert.equal(SEVERITY.size, RULES.length);
    assert.ok(RULES.length > 60);
  });
});

describe("limen envoy check: forms of a configuration", () => {
  type Json = { [key: string]: Json } & Json[];
  const bootstrap = (): Json => parse(SHIPPED["envoy/envoy.yaml"]);
  const chainOf = (config: Json): Json =>
    config["static_resources"]!["listeners"]![0]!["filter_chains"]![0]!["filters"]![0]![
      "typed_config"
    ]!;
  const open = (config: Json): Json => {
    chainOf(config)["http_filters"]![0]!["typed_config"]!["failure_mode_allow"] = true as never;
    return config;
  };
  const rules = (config: unknown): readonly string[] => rulesOf(JSON.stringify(config));

  it("reads a filter in a TypedStruct", () => {
    const config = open(bootstrap());
    const [filter] = chainOf(config)["http_filters"]!;
    const { "@type": type_url, ...value } = filter!["typed_config"]!;
    for (const wrapper of ["udpa", "xds"]) {
      const type = `type.googleapis.com/${wrapper}.type.v${wrapper === "xds" ? 3 : 1}.TypedStruct`;
      filter!["typed_config"] = { "@type": type, type_url, value } as never;
      assert.deepEqual(rules(config), ["failure-mode-allow"]);
    }
  });

  it("finds filter-matched where a matcher stands in front of the filter", () => {
    const config = bootstrap();
    const [filter] = chainOf(config)["http_filters"]!;
    const type = "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher";
    const inner = { name: "x", typed_config: filter!["typed_config"] };
    filter!["typed_config"] = { "@type": type, extension_config: inner } as never;
    assert.deepEqual(rules(config), ["filter-matched"]);
  });

  it("reads a dump of the admin port, routes by name included", () => {
    const config = open(bootstrap());
    const manager = chainOf(config);
    const routes = manager["route_config"];
    delete manager["route_config"];
    manager["rds"] = { route_config_name: "inference" } as never;
    routes!["virtual_hosts"]![0]!["routes"]![0]!["route"]!["idle_timeout"] = "0s" as never;
    const { listeners, clusters } = config["static_resources"]!;
    const section = (name: string, body: object) => ({
      "@type": `type.googleapis.com/envoy.admin.v3.${name}`,
      ...body,
    });
    const dump = [
      section("BootstrapConfigDump", { bootstrap: config }),
      section("ClustersConfigDump", { static_clusters: clusters!.map((cluster) => ({ cluster })) }),
      section("ListenersConfigDump", {
        dynamic_listeners: [{ name: "x", active_state: { listener: listeners![0] } }],
      }),
      section("RoutesConfigDump", { dynamic_route_configs: [{ route_config: routes }] }),
    ];
    assert.deepEqual(rules({ configs: dump }), ["failure-mode-allow", "route-idle-timeout"]);
    const parts = [
      { "@type": "x", active_state: { listener: listeners![0] } },
      { "@type": "x", route_config: routes },
      ...clusters!.map((cluster) => ({ "@type": "x", cluster })),
    ];
    assert.deepEqual(rules({ configs: parts }), ["failure-mode-allow", "route-idle-timeout"]);
    dump[1] = section("ClustersConfigDump", {});
    assert.ok(rules({ configs: dump }).includes("cluster-missing"));
    dump.splice(1, 1);
    assert.ok(!rules({ configs: dump }).includes("cluster-missing"), "clusters were not dumped");
  });

  it("reads the resources of a watched file, and misses no cluster that it cannot see", () => {
    const listener = open(bootstrap())["static_resources"]!["listeners"]![0]!;
    const type = "type.googleapis.com/envoy.config.listener.v3.Listener";
    const file = { resources: [{ "@type": type, ...listener }] };
    assert.deepEqual(rules(file), ["failure-mode-allow"]);
  });

  it("misses no cluster when a management server has more of them", () => {
    const missing = edit(
      SHIPPED["envoy/envoy.yaml"],
      "cluster_name: limen\n                          #",
      "cluster_name: limen-2\n                          #",
    );
    assert.deepEqual(rulesOf(missing), ["cluster-missing"]);
    assert.deepEqual(rulesOf(`${missing}\ndynamic_resources: { cds_config: { ads: {} } }\n`), []);
  });

  it("reads EnvoyFilters among other documents and in lists", () => {
    const gateway = edit(
      SHIPPED["istio/gateway.yaml"],
      "failure_mode_allow: false",
      "failure_mode_allow: true",
    );
    assert.deepEqual(rulesOf(`kind: ConfigMap\ndata: { a: b }\n---\n${gateway}`), [
      "failure-mode-allow",
    ]);
    assert.deepEqual(rules({ kind: "List", items: [parse(gateway)] }), ["failure-mode-allow"]);
  });

  it("knows Limen by the name or the cluster that it is told", () => {
    const renamed = edit(SHIPPED["envoy/envoy.yaml"], "name: limen.ext_proc", "name: guard");
    assert.deepEqual(rulesOf(renamed), ["no-filter"]);
    assert.deepEqual(rulesOf(renamed, "guard"), []);
    assert.deepEqual(rulesOf(renamed, "limen"), []);
    assert.deepEqual(rulesOf(SHIPPED["envoy/envoy.yaml"], "guard"), ["no-filter"]);
  });

  it("holds Envoy's buffers against the limits of the policy", () => {
    const large = { requestBytes: 33_554_433, responseBytes: 1 };
    const buffers = ["buffer-connection", "buffer-http2", "route-buffer"];
    assert.deepEqual(rulesOf(SHIPPED["envoy/envoy.yaml"], undefined, large).toSorted(), buffers);
    const answers = { requestBytes: 1, responseBytes: 33_554_433 };
    assert.deepEqual(rulesOf(SHIPPED["envoy/envoy.yaml"], undefined, answers).toSorted(), buffers);
    // In full duplex Envoy holds no answer.
    assert.deepEqual(rulesOf(SHIPPED["envoy/strict-stream.yaml"], undefined, answers), []);
    const exact = { requestBytes: 33_554_432, responseBytes: 33_554_432 };
    assert.deepEqual(rulesOf(SHIPPED["envoy/envoy.yaml"], undefined, exact), []);
  });

  it("leaves a route alone that asks for headers only, or switches an upgrade off", () => {
    const route = "                            cluster: model\n";
    const off =
      "                            upgrade_configs: [{ upgrade_type: websocket, enabled: false }]\n";
    assert.deepEqual(rulesOf(edit(SHIPPED["envoy/envoy.yaml"], route, route + off)), []);
    const host = '                      domains: ["*"]\n';
    const only = `${host}                      typed_per_filter_config: { limen.ext_proc: { overrides: { processing_mode: { request_header_mode: SEND } } } }\n`;
    assert.deepEqual(rulesOf(edit(SHIPPED["envoy/envoy.yaml"], host, only)), []);
  });
});

const jsonOf = (text: string, form: (json: unknown) => unknown): string =>
  parseAllDocuments(text)
    .map((document) => JSON.stringify(form(document.toJS())))
    .join("\n---\n");

function camelCased(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(camelCased);
  if (typeof json !== "object" || json === null) return json;
  // Keys of maps are no field names: they have dots.
  const name = (key: string): string =>
    key.includes(".") ? key : key.replace(/_(\w)/g, (_, c: string) => c.toUpperCase());
  return Object.fromEntries(
    Object.entries(json).map(([key, value]) => [name(key), camelCased(value)]),
  );
}
