/**
 * The addresses of limen.yaml, and who may talk to them. The gRPC port believes what its caller says about identity
 * and route, so plaintext stays on this machine unless the operator states that something else authenticates the
 * callers.
 */
import { BlockList, isIP } from "node:net";
import { resolve } from "node:path";
import { type Context, checked, type Env, expanded, pathIn } from "./config-values.ts";
import { type Decode, list, object, type Read, text, word } from "./policy/shape.ts";
import { quote } from "./policy/yaml.ts";

export type HostPort = { readonly host: string; readonly port: number };

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

/** `sun_path` of Linux holds 108 bytes with the final NUL. */
const MAX_SOCKET_PATH_BYTES = 107;

export const hostPort = (env: Env): Decode<HostPort> =>
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

export const listens = (context: Context): Decode<readonly Listen[]> => {
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
