/**
 * The files of istio/, as far as they can be judged without Istio: their filter is that of envoy/envoy.yaml, what
 * they carry for Limen is what Limen accepts, and golden/ holds what they say. What Istio and Kubernetes make of
 * them, istiod.slow.ts asks.
 */
import assert from "node:assert/strict";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse, parseAllDocuments } from "yaml";
import { loadConfig } from "../../src/config.ts";
import { loadPolicies } from "../../src/policy/store.ts";
import { goldenOf, PLACES } from "./golden.ts";

type Json = { readonly [key: string]: unknown };
type Patch = { readonly applyTo: string; readonly patch: { readonly value: Json } };
type EnvoyFilter = {
  readonly kind: string;
  readonly spec: { readonly configPatches: readonly Patch[] };
};

const folder = new URL("../../istio/", import.meta.url);
const text = (name: string): string => readFileSync(new URL(name, folder), "utf8");
const documents = (name: string): readonly Json[] =>
  parseAllDocuments(text(name)).map((document) => document.toJS() as Json);

/** The values of the patches of one kind, in a file's EnvoyFilter. */
function patches(name: string, applyTo: string): readonly Json[] {
  const filter = documents(name).find(({ kind }) => kind === "EnvoyFilter") as
    | EnvoyFilter
    | undefined;
  assert.ok(filter, name);
  return filter.spec.configPatches
    .filter((one) => one.applyTo === applyTo)
    .map(({ patch }) => patch.value);
}
const typed = (value: Json | undefined): Json => value?.["typed_config"] as Json;

type Container = {
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly resources: Readonly<Record<"requests" | "limits", { readonly memory: string }>>;
};
type Workload = Json & {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly Container[] } };
  };
};
const mebibytes = (quantity: string): number =>
  Number.parseInt(quantity, 10) * (quantity.endsWith("Gi") ? 1024 : 1);

const FILES = ["gateway.yaml", "sidecar-outbound.yaml", "sidecar-inbound.yaml", "waypoint.yaml"];
const HOST = "limen.limen-system.svc.cluster.local";

describe("the files for Istio", () => {
  const envoy = parse(readFileSync(new URL("../envoy/envoy.yaml", folder), "utf8")) as {
    static_resources: {
      listeners: {
        per_connection_buffer_limit_bytes: number;
        filter_chains: { filters: { typed_config: Json }[] }[];
      }[];
      clusters: Json[];
    };
  };
  const [listener] = envoy.static_resources.listeners;
  const manager = listener?.filter_chains[0]?.filters[0]?.typed_config;
  const filters = manager?.["http_filters"] as readonly Json[];

  for (const file of FILES) {
    it(`${file} has the filter of envoy.yaml, and asks Limen by its name in the mesh`, () => {
      const [refusal, filter] = patches(file, "HTTP_FILTER");
      assert.equal(refusal?.["name"], "limen.unsupported_proxy");
      assert.equal(filter?.["name"], "limen.ext_proc");
      const want = structuredClone(typed(filters.find(({ name }) => name === "limen.ext_proc")));
      const service = want["grpc_service"] as { envoy_grpc: Json };
      service.envoy_grpc = { cluster_name: `outbound|9002||${HOST}`, authority: HOST };
      // A waypoint's connections have no certificate of their own.
      const tunnel = file === "waypoint.yaml" ? ["filter_state['io.istio.peer_principal']"] : [];
      (want["request_attributes"] as string[]).splice(3, 0, ...tunnel);
      assert.deepEqual(typed(filter), want);
    });

    it(`${file} has the settings of envoy.yaml around it`, () => {
      assert.partialDeepStrictEqual(manager, typed(patches(file, "NETWORK_FILTER")[0]));
      const limit = listener?.per_connection_buffer_limit_bytes;
      const listeners = patches(file, "LISTENER");
      assert.ok(listeners.length > 0);
      for (const value of listeners)
        assert.deepEqual(value, { per_connection_buffer_limit_bytes: limit });
      assert.deepEqual(patches(file, "HTTP_ROUTE"), [{ request_body_buffer_limit: limit }]);
      const own = envoy.static_resources.clusters.find(({ name }) => name === "limen");
      const cluster = JSON.stringify(patches(file, "CLUSTER")[0])
        .replaceAll(HOST, "limen.local")
        // The one thing more: Limen's own sidecar takes fewer resets than Limen.
        .replace('"common_http_protocol_options":{"max_requests_per_connection":900},', "");
      assert.partialDeepStrictEqual(own, JSON.parse(cluster) as Json);
    });
  }

  it("kustomization.yaml names every file that Kubernetes can take, and only those", () => {
    const [kustomization] = documents("kustomization.yaml");
    const named = kustomization?.["resources"] as readonly string[];
    assert.deepEqual(named, ["limen.yaml", "gateway.yaml"]);
    const commented = [...text("kustomization.yaml").matchAll(/^ +# - (\S+)$/gm)].map(
      ([, name]) => name,
    );
    const objects = readdirSync(folder).filter(
      (name) => documents(name)[0]?.["metadata"] !== undefined,
    );
    assert.deepEqual([...named, ...commented].sort(), objects.sort());
  });

  for (const place of PLACES) {
    it(`golden/${place}.want.json is what the file says today`, () => {
      const golden = JSON.stringify(goldenOf(place));
      const file = place === "ext-authz" ? undefined : `${place}.yaml`;
      // Without a word of it in the file, only Istio can tell: the provider of ext-authz.yaml.
      if (file === undefined) return assert.match(golden, /"max_request_bytes":8388608/);
      const { listener, clusters } = goldenOf(place);
      const [chain] = listener.filter_chains;
      const found = chain?.filters[0]?.typed_config.http_filters.find(
        ({ name }) => name === "limen.ext_proc",
      );
      assert.deepEqual(plain(found), plain(patches(file, "HTTP_FILTER")[1]));
      const limen = clusters.find(({ name }) => name.includes(HOST));
      assert.partialDeepStrictEqual(plain(limen), plain(patches(file, "CLUSTER")[0]) as object);
    });
  }
});

/** A value without what the encoder of protobuf leaves out or writes another way: defaults, and 64-bit numbers. */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return String(value);
  const kept = Object.entries(value).filter(([, one]) => one !== false && one !== 0);
  return Object.fromEntries(kept.map(([key, one]) => [key, plain(one)]));
}

describe("the ConfigMap of Limen", () => {
  const config = documents("limen.yaml").find(({ kind }) => kind === "ConfigMap");
  const data = config?.["data"] as Record<"limen.yaml" | "policy.yaml", string>;
  let dir: string;

  // As the kubelet lays it out: what is seen are links into a folder that is exchanged as a whole.
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "limen-"));
    mkdirSync(join(dir, "..1", "policy.d"), { recursive: true });
    writeFileSync(join(dir, "..1", "limen.yaml"), data["limen.yaml"]);
    writeFileSync(join(dir, "..1", "policy.d", "policy.yaml"), data["policy.yaml"]);
    symlinkSync("..1", join(dir, "..data"));
    symlinkSync("..data/limen.yaml", join(dir, "limen.yaml"));
    symlinkSync("..data/policy.d", join(dir, "policy.d"));
  });
  after(() => {
    rmSync(dir, { recursive: true });
  });

  it("is a configuration that serve accepts, with a log of its own for each pod", () => {
    const read = loadConfig(join(dir, "limen.yaml"), { POD_NAME: "limen-1" });
    assert.deepEqual(read.listen, [
      { kind: "plaintext", host: "0.0.0.0", port: 9002, trusted: "mesh" },
    ]);
    assert.deepEqual(read.admin, { host: "0.0.0.0", port: 9003 });
    assert.deepEqual(read.policies, ["/etc/limen/policy.d"]);
    assert.equal(String(read.audit.origin), "example.com/limen/limen-1");
    assert.equal(read.audit.dir, "/var/lib/limen/audit");
    assert.throws(() => loadConfig(join(dir, "limen.yaml"), {}), /POD_NAME/);
  });

  it("has a policy that compiles, found through the links of a mounted volume", async () => {
    assert.equal((await loadPolicies([join(dir, "policy.d")])).length, 1);
  });

  it("leaves room in its container for all that Limen may take", () => {
    const workload = documents("limen.yaml").find(({ kind }) => kind === "StatefulSet") as Workload;
    const container = workload.spec.template.spec.containers[0]!;
    const options = container.env.find(({ name }) => name === "NODE_OPTIONS")?.value ?? "";
    const heap = Number(/^--max-old-space-size=(\d+)$/.exec(options)?.[1]);
    const { detection } = loadConfig(join(dir, "limen.yaml"), { POD_NAME: "limen-1" });
    assert.ok(detection.threads !== undefined, "as many as the node's cores allow");
    const idle = 120 + 140 * detection.threads; // MiB; models/README.md says what a thread takes
    const held = 2 * 256; // MAX_HELD_BYTES of cli/serve.ts, for bodies and for frames
    const incoming = 8 * 33; // MAX_MESSAGE_BYTES, from as many workers of Envoy
    const { requests, limits } = container.resources;
    assert.ok(idle + heap + held + incoming <= mebibytes(limits.memory));
    assert.ok(idle + held <= mebibytes(requests.memory));
  });
});
