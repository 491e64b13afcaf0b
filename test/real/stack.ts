/**
 * The whole path on free ports: clients, Envoy with a file of envoy/, `scripts/limen serve` once or several
 * times, a scripted provider. One listener has the filter, one has not; everything lives in one folder and
 * ends with it.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BootstrapOptions, Profile } from "./bootstrap.ts";
import { type Envoy, startEnvoy } from "./envoy.ts";
import { type Limen, type LimenOptions, prepareLimen } from "./limen.ts";
import { type ModelServer, startModelServer } from "./model-server.ts";
import { until } from "./process.ts";

const DEMO_POLICY = fileURLToPath(new URL("../../demo/policy.yaml", import.meta.url));
/** Health check every 2 s, and one more for the margin. */
const NOTICED_LIMIT_MS = 10_000;

export type StackOptions = Pick<BootstrapOptions, "gracefulClose" | "edit"> &
  Pick<LimenOptions, "listen" | "drainSeconds" | "auditDir" | "config" | "heapMiB"> & {
    /** A policy file; the demo's when left out. */
    readonly policy?: string;
    /** The file of the listener that has the filter. */
    readonly profile?: Profile;
    /** Processes behind that listener; the first is `limen`, all are `limens`. */
    readonly processes?: number;
    /** "absent": Envoy starts without them, and `start` of each is the test's. */
    readonly limenAtStart?: "running" | "absent";
    /** Further processes, each alone behind a listener of its own of this name, that differ in this. */
    readonly others?: Readonly<Record<string, Pick<LimenOptions, "config">>>;
    /** Another provider than the scripted one. */
    readonly modelPort?: number;
    /** Further listeners of the same Envoy. */
    readonly listeners?: BootstrapOptions["listeners"];
  };

export type Stack = {
  readonly dir: string;
  readonly model: ModelServer;
  readonly envoy: Envoy;
  /** Through the filter, and past it. */
  readonly url: string;
  readonly plainUrl: string;
  readonly limen: Limen;
  readonly limens: readonly Limen[];
  /** One of `others`, and the address through it. */
  other(name: string): { readonly limen: Limen; readonly url: string };
  close(): Promise<void>;
};

export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const dir = mkdtempSync(join(tmpdir(), "limen-"));
  const opened: (() => Promise<void>)[] = [];
  const close = async (): Promise<void> => {
    for (const one of opened.splice(0).reverse()) await one();
    rmSync(dir, { recursive: true });
  };
  try {
    const model = await startModelServer();
    opened.push(model.close);
    const limen = await prepareLimen({ ...limenOptions(options), dir });
    const limens = [limen];
    for (let i = 1; i < (options.processes ?? 1); i += 1) {
      limens.push(await prepareLimen({ ...limenOptions(options), dir: join(dir, `limen-${i}`) }));
    }
    const others = new Map<string, Limen>();
    for (const [name, other] of Object.entries(options.others ?? {})) {
      const own = { ...limenOptions(options), ...other, dir: join(dir, name) };
      others.set(name, await prepareLimen(own));
    }
    for (const one of [...limens, ...others.values()]) {
      opened.push(one.stop);
      if (options.limenAtStart !== "absent") await one.start();
    }
    const filterOf = (served: readonly Limen[]) => ({
      profile: options.profile ?? ("envoy" as const),
      endpoints: served.map((one) => one.endpoint),
    });
    const beside = [...others].map(([name, one]) => [name, filterOf([one])]);
    const envoy = await startEnvoy({
      dir,
      modelPort: options.modelPort ?? model.port,
      listeners: {
        ...{ plain: undefined, limen: filterOf(limens) },
        ...Object.fromEntries(beside),
        ...options.listeners,
      },
      ...(options.gracefulClose && { gracefulClose: options.gracefulClose }),
      ...(options.edit && { edit: options.edit }),
    });
    opened.push(envoy.stop);
    const [url, plainUrl] = [envoy.url("limen"), envoy.url("plain")];
    const other = (name: string): { readonly limen: Limen; readonly url: string } => {
      const found = others.get(name);
      if (found === undefined) throw new Error(`no process is called ${name}`);
      return { limen: found, url: envoy.url(name) };
    };
    return { dir, model, envoy, limen, limens, other, url, plainUrl, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Returns when a request through `url` is judged again, after Limen was away. */
export const untilServing = (url: string): Promise<boolean> =>
  until(NOTICED_LIMIT_MS, "Envoy to find Limen again", async () => {
    const { status } = await fetch(`${url}/v1/models`);
    return status === 200 || undefined;
  });

function limenOptions(options: StackOptions): Omit<LimenOptions, "dir"> {
  const { listen, drainSeconds, auditDir, config, heapMiB } = options;
  return {
    policy: options.policy ?? DEMO_POLICY,
    ...(listen && { listen }),
    ...(drainSeconds !== undefined && { drainSeconds }),
    ...(auditDir !== undefined && { auditDir }),
    ...(config && { config }),
    ...(heapMiB !== undefined && { heapMiB }),
  };
}
