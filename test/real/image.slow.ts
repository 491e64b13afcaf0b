/** The container image and the compose file, as far as they can be tried without a container engine. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { loadConfig } from "../../src/config.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string): string => readFileSync(`${root}${path}`, "utf8");

/** The instructions of the last stage and all before it, continuation lines joined. */
const instructions = (): readonly { word: string; rest: string }[] =>
  read("Dockerfile")
    .replace(/^\s*#.*\n/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => ({
      word: line.split(" ")[0] ?? "",
      rest: line.slice(line.indexOf(" ") + 1).trim(),
    }));

/** Paths that COPY takes from the checkout. */
const copied = (): readonly string[] =>
  instructions()
    .filter(({ word, rest }) => word === "COPY" && !rest.startsWith("--from="))
    .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));

/** The value of the last instruction of that name, which is a JSON list. */
const listOf = (name: string): readonly string[] =>
  JSON.parse(instructions().findLast(({ word }) => word === name)?.rest ?? "[]") as string[];

describe("the container image", () => {
  it("copies what exists and what .dockerignore lets through, and nothing else is let through", () => {
    assert.ok(copied().length >= 6);
    const [everything, ...allowed] = read(".dockerignore")
      .split("\n")
      .filter((line) => /^[^#]/.test(line));
    assert.equal(everything, "*");
    for (const path of copied()) {
      assert.ok(existsSync(`${root}${path}`), path);
      assert.ok(
        allowed.some((line) => `${path}/`.startsWith(`${line.slice(1)}/`)),
        `${path} is ignored`,
      );
    }
    for (const line of allowed) {
      assert.ok(
        copied().some((path) => `${path}/`.startsWith(`${line.slice(1)}/`)),
        `${line} is not copied`,
      );
    }
  });

  it("carries every module that the service imports at run time", () => {
    const { dependencies } = JSON.parse(read("package.json")) as {
      dependencies: Record<string, string>;
    };
    const source = spawnSync("grep", ["-rhoE", 'from "[^./][^"]*"', "src"], {
      cwd: root,
      encoding: "utf8",
    });
    const imported = new Set(source.stdout.match(/"[^"]+"/g)?.map((name) => name.slice(1, -1)));
    assert.ok(imported.size > 5);
    for (const name of imported) {
      assert.ok(
        name.startsWith("node:") || Object.hasOwn(dependencies, name),
        `${name} is no dependency`,
      );
    }
  });

  it("starts the command that it names, as a user who is not root", () => {
    const [command, ...args] = listOf("ENTRYPOINT");
    assert.deepEqual([command, args.at(-1)], ["node", "/opt/limen/src/main.ts"]);
    const here = args.map((arg) => arg.replace("/opt/limen/", root));
    const started = spawnSync(process.execPath, [...here, "serve", "--help"], {
      encoding: "utf8",
      cwd: "/",
    });
    assert.equal(started.status, 0, started.stderr);
    assert.match(started.stdout, /serve/);
    assert.match(
      instructions().findLast(({ word }) => word === "USER")?.rest ?? "root",
      /^[1-9]\d*:[1-9]\d*$/,
    );
  });

  it("has a configuration that serve accepts and that envoy.yaml and the health check agree with", () => {
    assert.deepEqual(listOf("CMD").slice(0, 2), ["serve", "-c"]);
    const config = loadConfig(`${root}envoy/limen.yaml`, {});
    assert.ok(Object.isFrozen(config));
    const limen = parse(read("envoy/limen.yaml")) as { listen: string; admin: string };
    const envoy = parse(read("envoy/envoy.yaml")) as {
      static_resources: { clusters: { name: string; load_assignment: unknown }[] };
    };
    const cluster = envoy.static_resources.clusters.find(({ name }) => name === "limen");
    const [address, port] = limen.listen.split(":");
    assert.match(
      JSON.stringify(cluster),
      new RegExp(`"address":"${address}","port_value":${port}\\b`),
    );
    assert.ok(
      instructions().some(
        ({ word, rest }) => word === "HEALTHCHECK" && rest.includes(`http://${limen.admin}/readyz`),
      ),
    );
  });
});

describe("the compose file", () => {
  type Service = {
    image?: string;
    build?: { context: string; dockerfile: string };
    volumes?: string[];
    network_mode?: string;
  };
  const compose = parse(read("envoy/docker-compose.yaml"), { merge: true }) as {
    services: Record<string, Service>;
    volumes: Record<string, unknown>;
  };

  it("mounts and builds only what exists", () => {
    assert.deepEqual(Object.keys(compose.services), ["envoy", "limen", "model"]);
    let mounts = 0;
    for (const [name, service] of Object.entries(compose.services)) {
      assert.ok(service.image ?? service.build, name);
      for (const volume of service.volumes ?? []) {
        const [source = ""] = volume.split(":");
        mounts += 1;
        if (source.startsWith(".")) assert.ok(existsSync(`${root}envoy/${source}`), volume);
        else assert.ok(source in compose.volumes, volume);
      }
    }
    assert.equal(mounts, 5);
    assert.ok(existsSync(`${root}envoy/${compose.services["limen"]?.build?.context}/Dockerfile`));
  });

  it("puts Limen and the model where envoy.yaml looks for them, and out of reach from outside", () => {
    for (const name of ["limen", "model"]) {
      assert.equal(compose.services[name]?.network_mode, "service:envoy");
      assert.equal("ports" in (compose.services[name] ?? {}), false);
    }
  });

  it("runs everything locked down", () => {
    for (const service of Object.values(compose.services) as Record<string, unknown>[]) {
      assert.deepEqual([service["read_only"], service["cap_drop"]], [true, ["ALL"]]);
      assert.deepEqual(service["security_opt"], ["no-new-privileges:true"]);
    }
  });
});
