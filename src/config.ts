/**
 * `limen.yaml` to one frozen configuration: where Limen listens, which policies it loads, where evidence goes.
 * Every key has a default, unknown keys are errors, all problems come at once. The gRPC port believes what
 * its caller says about identity and route, so plaintext stays on this machine unless the operator states
 * that something else authenticates the callers.
 */
import { readFileSync, statSync } from "node:fs";
import { BlockList, isIP } from "node:net";
import { dirname, resolve } from "node:path";
import { type Label, ownLabel } from "./core/brand.ts";
import { LimenError, type Problem } from "./core/errors.ts";
import type { Trust } from "./core/identity.ts";
import {
  type Decode,
  decoder,
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

type HostPort = { readonly host: string; readonly port: number };

/** Who may talk to the gRPC port, and how. All paths are absolute. */
export type Listen =
  | { readonly kind: "unix"; readonly path: string }
  /** `mesh`: a sidecar or waypoint authenticates the peers, by the operator's word. */
  | (HostPort & { readonly kind: "plaintext"; readonly trusted: "loopback" | "mesh" })
  | (HostPort & {
      readonly kind: "tls";
      readonly cert: string;
      readonly key: string;
      readonly ca: string;
      /** URI and DNS names, of which a client certificate must have one, exactly. */
      readonly peers: readonly string[];
    });

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
  readonly drain: { readonly seconds: number };
};

export type Env = Readonly<Record<string, string | undefined>>;

const MAX_FILE_BYTES = 1024 ** 2;
/** `sun_path` of Linux holds 108 bytes with the final NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

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
  readonly drainSeconds?: number | undefined;
};
type TrustSaid = {
  /** By what it stands for. */
  readonly headers?: ReadonlyMap<string, string> | undefined;
  readonly jwtPayload?: string | undefined;
};
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
    drain: { seconds: said.drainSeconds ?? 20 },
  });
}

type Context = { readonly base: string; readonly env: Env };

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
      drainSeconds: key.optional(
        "drain",
        object((drain) => drain.required("seconds", integer("seconds", 0, 3600))),
      ),
    };
  });
};

/** `decode`, and then one more test of what it gave. */
const checked =
  <A, B>(decode: Decode<A>, check: (read: A) => Read<B>): Decode<B> =>
  (value, path, problems) => {
    const read = decode(value, path, problems);
    return read === undefined ? undefined : decoder(() => check(read))(value, path, problems);
  };

const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** Text in which `${NAME}` stands for a variable of the environment; one that is not set is an error. */
const expanded = (env: Env): Decode<string> =>
  checked(text(), (written) => {
    const unset = [...written.matchAll(VARIABLE)].find(([, name = ""]) => !env[name]);
    if (unset === undefined) return { ok: written.replace(VARIABLE, (_, name) => env[name] ?? "") };
    const what = `the environment variable ${unset[1]} is not set`;
    return { what, fix: "set it, or write the value" };
  });

const pathIn = ({ base, env }: Context): Decode<string> =>
  checked(expanded(env), (path) => ({ ok: resolve(base, path) }));

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

const hostPort = (env: Env): Decode<HostPort> =>
  checked(expanded(env), (address) => {
    const [, host = "", digits = ""] =
      /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})$/.exec(address) ?? [];
    const port = Number(digits);
    if (host !== "" && port <= 65_535) return { ok: { host: host.replace(/^\[|\]$/g, ""), port } };
    return {
      what: `${quote(address)} is not an address`,
      fix: "write host:port, like 127.0.0.1:9002 or [::1]:9002",
    };
  });

const listens = (context: Context): Decode<readonly Listen[]> => {
  const one = listen(context);
  const several = list(one, { min: 1, max: 16 });
  return (value, path, problems) => {
    if (value.kind === "list") return several(value, path, problems);
    const single = one(value, path, problems);
    return single && [single];
  };
};

/** `unix:///path`, `host:port`, or a map that says how callers beyond this machine are authenticated. */
const listen = (context: Context): Decode<Listen> => {
  const plain = checked(hostPort(context.env), loopbackOnly);
  const secured = checked(securedListen(context), ({ address, transport, tls }): Read<Listen> => {
    if (tls !== undefined && transport === undefined)
      return { ok: { kind: "tls", ...address, ...tls } };
    if (tls === undefined && transport !== undefined) {
      return { ok: { kind: "plaintext", ...address, trusted: transport } };
    }
    return {
      what: "an address needs one of tls and transport",
      fix: "add tls: {cert, key, ca, peers}, or transport: mesh",
    };
  });
  return (value, path, problems) => {
    if (value.kind === "map") return secured(value, path, problems);
    const unix = value.kind === "text" && value.value.startsWith("unix:");
    return (unix ? unixSocket(context) : plain)(value, path, problems);
  };
};

type Secured = {
  readonly address: HostPort;
  readonly transport: "mesh" | undefined;
  readonly tls:
    | {
        readonly cert: string;
        readonly key: string;
        readonly ca: string;
        readonly peers: readonly string[];
      }
    | undefined;
};

const securedListen = (context: Context): Decode<Secured> =>
  object((key) => {
    const path = pathIn(context);
    const address = key.required("address", hostPort(context.env));
    const transport = key.optional("transport", word(["mesh"], "a transport"));
    const tls = key.optional(
      "tls",
      object((files) => {
        const cert = files.required("cert", path);
        const own = files.required("key", path);
        const ca = files.required("ca", path);
        const peers = files.required("peers", list(peer, { min: 1, max: 100 }));
        if (cert === undefined || own === undefined) return undefined;
        return ca === undefined || peers === undefined ? undefined : { cert, key: own, ca, peers };
      }),
    );
    return address && { address, transport, tls };
  });

/** A URI or DNS name as a certificate holds it, in full. Node quotes the characters that are not taken here. */
const peer: Decode<string> = checked(text(), (name): Read<string> => {
  if (
    /^[a-z][a-z0-9+.-]*:\/\/[!#-&(-+\--[\]-~]+$|^[A-Za-z0-9_.-]+$/.test(name) &&
    !name.includes("*")
  )
    return { ok: name };
  const fix = "write each name out, like spiffe://prod/ns/gateways/sa/envoy or envoy.example.com";
  return { what: `${quote(name)} is not a name of a certificate`, fix };
});

const unixSocket = (context: Context): Decode<Listen> =>
  checked(expanded(context.env), (address): Read<Listen> => {
    const [, written = ""] = /^unix:\/\/(.+)$/.exec(address) ?? [];
    const path = resolve(context.base, written);
    if (written === "") {
      return {
        what: `${quote(address)} is not a socket`,
        fix: "write unix:///run/limen/limen.sock",
      };
    }
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH_BYTES) {
      const what = `the path of the socket is longer than ${MAX_SOCKET_PATH_BYTES} bytes`;
      return { what, fix: "choose a shorter one: the system cuts it" };
    }
    return { ok: { kind: "unix", path } };
  });

function loopbackOnly({ host, port }: HostPort): Read<Listen> {
  if (isLoopback(host)) return { ok: { kind: "plaintext", host, port, trusted: "loopback" } };
  return {
    what: `plaintext on ${host}: whoever reaches this port is believed about identity and route`,
    fix: `listen on loopback or a Unix socket, or write {address: "${host}:${port}", transport: mesh} if a mesh authenticates the callers`,
  };
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

const isLoopback = (host: string): boolean =>
  host === "localhost" ||
  (isIP(host) !== 0 && LOOPBACK.check(host, isIP(host) === 6 ? "ipv6" : "ipv4"));

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value))
    if (typeof part === "object" && part !== null) freeze(part);
  return Object.freeze(value);
}
