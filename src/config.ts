/**
 * `limen.yaml` to one frozen configuration: where Limen listens, which policies it loads, where evidence goes.
 * Every key has a default, unknown keys are errors, all problems come at once.
 */
import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type HostPort, hostPort, type Listen, listens } from "./config-listen.ts";
import { type Context, checked, type Env, expanded, pathIn } from "./config-values.ts";
import { type Label, ownLabel } from "./core/brand.ts";
import { LimenError, type Problem } from "./core/errors.ts";
import type { Trust } from "./core/identity.ts";
import {
  type Decode,
  entries,
  integer,
  list,
  object,
  type Read,
  text,
  word,
} from "./policy/shape.ts";
import { DEFAULT_POLICY } from "./policy/store.ts";
import { inOrder, parseYaml, problemAt, quote } from "./policy/yaml.ts";

export type Config = {
  readonly listen: readonly Listen[];
  readonly admin: HostPort;
  /** Files and folders; `DEFAULT_POLICY` alone when none is configured. */
  readonly policies: readonly string[];
  readonly audit: {
    readonly dir: string;
    readonly origin: Label;
    /**
     * Beside the log by default, never in it: the log's folder is handed to auditors, or served as it is.
     * `ifMissing`: whether a key that is not there is made (the default key of a new log) or an error.
     */
    readonly key: { readonly file: string; readonly ifMissing: "make" | "fail" };
  };
  /** What is believed of the proxy's words about a sender. */
  readonly trust: Trust;
  readonly detection: Detection;
  readonly drain: { readonly seconds: number };
};

/** The learned detector of injections. */
export type Detection = {
  /** The weights that ship with Limen, others, or `off`: rules alone. */
  readonly model:
    | { readonly kind: "default" | "off" }
    | { readonly kind: "folder"; readonly path: string };
  /** Each keeps a core busy and has the weights in memory; undefined: as many as the machine is good for. */
  readonly threads: number | undefined;
};

const MAX_FILE_BYTES = 1024 ** 2;
/**
 * @param file undefined: the defaults, relative to the working directory
 * @param env what `${NAME}` in a text stands for, so that replicas can share a file
 * @throws LimenError `file_unreadable`, or `config_invalid` with everything that is wrong
 */
export function loadConfig(file: string | undefined, env: Env): Config {
  const base = file === undefined ? process.cwd() : dirname(resolve(file));
  if (file === undefined) return complete({}, base);
  const problems: Problem[] = [];
  const values = parseYaml({ name: file, text: readConfig(file) }, problems);
  const [, second] = values;
  if (second !== undefined) {
    const fault = { what: "a second document", fix: "write one document per file" };
    problems.push(problemAt(second.place, "", fault));
  }
  const decode = document({ base, env });
  const said = values[0] === undefined ? {} : decode(values[0], "", problems);
  if (problems.length > 0 || said === undefined)
    throw new LimenError("config_invalid", inOrder(problems));
  return complete(said, base);
}

function readConfig(file: string): string {
  const refused = (what: string, fix = "name a configuration file"): LimenError =>
    new LimenError("file_unreadable", { where: file, what, fix });
  let bytes: Buffer;
  try {
    const info = statSync(file);
    // Reading a pipe or a device may never end.
    if (!info.isFile()) throw refused("this is not a file");
    if (info.size > MAX_FILE_BYTES)
      throw refused(`the file is larger than ${MAX_FILE_BYTES} bytes`);
    bytes = readFileSync(file);
  } catch (error) {
    if (error instanceof LimenError) throw error;
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    const what = code === "ENOENT" ? "there is no such file" : `it cannot be read (${code})`;
    throw refused(what, "check the path, or run `limen init` to get a commented one");
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refused("the file is not UTF-8", "save it as UTF-8");
  }
}

type Said = {
  readonly listen?: readonly Listen[] | undefined;
  readonly admin?: HostPort | undefined;
  readonly policies?: readonly string[] | undefined;
  readonly audit?: AuditSaid | undefined;
  readonly trust?: TrustSaid | undefined;
  readonly detection?: DetectionSaid | undefined;
  readonly drainSeconds?: number | undefined;
};
type TrustSaid = {
  /** By what it stands for. */
  readonly headers?: ReadonlyMap<string, string> | undefined;
  readonly jwtPayload?: string | undefined;
};
type DetectionSaid = { readonly [K in keyof Detection]?: Detection[K] | undefined };
type AuditSaid = {
  readonly dir?: string | undefined;
  readonly origin?: string | undefined;
  readonly keyFile?: string | undefined;
};

function complete(said: Said, base: string): Config {
  const dir = said.audit?.dir ?? resolve(base, "limen-data/audit");
  const keyFile = said.audit?.keyFile;
  return freeze({
    listen: said.listen ?? [
      { kind: "plaintext", host: "127.0.0.1", port: 9002, trusted: "loopback" },
    ],
    admin: said.admin ?? { host: "127.0.0.1", port: 9003 },
    policies: said.policies ?? [DEFAULT_POLICY],
    audit: {
      dir,
      origin: ownLabel(said.audit?.origin ?? "localhost/limen"),
      key:
        keyFile === undefined
          ? { file: `${dir}.key`, ifMissing: "make" }
          : { file: keyFile, ifMissing: "fail" },
    },
    trust: {
      headers: [...new Set(said.trust?.headers?.values())],
      tenant: said.trust?.headers?.get("tenant"),
      profile: said.trust?.headers?.get("profile"),
      jwtPayload: said.trust?.jwtPayload ?? "jwt",
    },
    detection: {
      model: said.detection?.model ?? { kind: "default" },
      threads: said.detection?.threads,
    },
    drain: { seconds: said.drainSeconds ?? 20 },
  });
}

const document = (context: Context): Decode<Said> => {
  const path = pathIn(context);
  return object((key) => {
    key.optional("apiVersion", word(["limen.dev/v1alpha1"], "an API version of Limen"));
    key.optional("kind", word(["Boundary"], "the kind of this document"));
    return {
      listen: key.optional("listen", listens(context)),
      admin: key.optional("admin", hostPort(context.env)),
      policies: key.optional("policies", list(path, { min: 1, max: 256 })),
      audit: key.optional(
        "audit",
        object((audit) => ({
          dir: audit.optional("dir", path),
          origin: audit.optional("origin", origin(context.env)),
          keyFile: audit.optional(
            "key",
            object((k) => k.required("file", path)),
          ),
        })),
      ),
      trust: key.optional(
        "trust",
        object((trust) => ({
          headers: trust.optional(
            "headers",
            entries(() => trustedHeader, { min: 0, max: 16 }),
          ),
          jwtPayload: trust.optional("jwtPayload", text()),
        })),
      ),
      detection: key.optional(
        "detection",
        object((detection) => ({
          model: detection.optional("model", model(path)),
          threads: detection.optional("threads", integer("threads", 1, 64)),
        })),
      ),
      drainSeconds: key.optional(
        "drain",
        object((drain) => drain.required("seconds", integer("seconds", 0, 3600))),
      ),
    };
  });
};

/** A folder that is called like one of the two words is written with a path: `./off`. */
const model =
  (path: Decode<string>): Decode<Detection["model"]> =>
  (value, at, problems) => {
    const written = value.kind === "text" ? value.value : "";
    if (written === "off" || written === "default") return { kind: written };
    const folder = path(value, at, problems);
    return folder === undefined ? undefined : { kind: "folder", path: folder };
  };

/** Names that nobody vouches for, or that no proxy hands on. */
const NEVER_TRUSTED: ReadonlyMap<string, string> = new Map([
  ["x-forwarded-client-cert", "the certificate is read from the connection itself"],
  ["x-forwarded-for", "every proxy on the way adds what it was told"],
  ["forwarded", "every proxy on the way adds what it was told"],
  ["host", "the client chooses it"],
  ["authorization", "it holds a credential; the claims of its token are read under jwtPayload"],
  ["proxy-authorization", "it holds a credential"],
  ["cookie", "it holds a credential"],
]);

/** The name of a header that the proxy writes or removes on every request, whatever the client sent. */
const trustedHeader: Decode<string> = checked(text(), (name): Read<string> => {
  const why = name.startsWith("x-limen-") ? "these names are Limen's own" : NEVER_TRUSTED.get(name);
  if (why !== undefined)
    return { what: `${quote(name)} cannot be trusted: ${why}`, fix: "leave it out" };
  // An underscore is a second spelling of the hyphen for some servers, and Envoy refuses it.
  if (/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) return { ok: name };
  const fix = "write lower-case letters, digits and hyphens, like x-tenant";
  return { what: `${quote(name)} is not the name of a header`, fix };
});

/** A name of a log: a URL without scheme, as signed notes want it (no spaces, no plus, no slash at the end). */
const origin = (env: Env): Decode<string> =>
  checked(expanded(env), (name) =>
    /^[A-Za-z0-9.-]+(\/[A-Za-z0-9._~-]+)*$/.test(name)
      ? { ok: name }
      : {
          what: `${quote(name)} is not an origin`,
          fix: "write it like example.com/limen/gateway-0/1: letters, digits, dots, hyphens and slashes",
        },
  );

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value))
    if (typeof part === "object" && part !== null) freeze(part);
  return Object.freeze(value);
}
