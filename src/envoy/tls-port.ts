/**
 * A port beyond this machine. Who may talk to Limen is decided here, on the certificate, before a byte of HTTP/2 is
 * read: a caller without one, with one of another authority, or with a name that is not on the list gets no
 * connection, for health checks as for exchanges. What gets through is served as if it came over a socket.
 */
import { constants, X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { Socket } from "node:net";
import { createServer, type SecureContextOptions, type Server, type TLSSocket } from "node:tls";
import { type Label, ownLabel } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { LimenError } from "../core/errors.ts";
import { readTlsFiles, type TlsFiles, type TlsMaterial } from "./tls-files.ts";

export type TlsListen = TlsFiles & {
  readonly host: string;
  readonly port: number;
  /** URI and DNS names, of which a caller's certificate must have one, exactly. */
  readonly peers: readonly string[];
};

export type TlsPortEvent =
  /** `reason`: OpenSSL's or Node's word, like CERT_HAS_EXPIRED. */
  | { readonly kind: "handshake_failed"; readonly reason: Label }
  | { readonly kind: "not_listed" }
  | { readonly kind: "swapped" }
  | { readonly kind: "reload_failed"; readonly error: LimenError };

export type TlsPortDeps = {
  readonly clock: Clock;
  /** A reload that fails in the way of the one before is told once. */
  readonly listener: (event: TlsPortEvent) => void;
};

/** Certificates are renewed by others, without a signal: SPIRE every half hour, cert-manager every few weeks. */
const RELOAD_MS = 30_000;
const HANDSHAKE_MS = 10_000;
/** Envoy opens one per worker thread. Strangers cannot take the descriptors that the audit log needs. */
const MAX_CONNECTIONS = 1_024;

export class TlsPort {
  readonly #listen: TlsListen;
  readonly #deps: TlsPortDeps;
  readonly #names: ReadonlySet<string>;
  readonly #server: Server;
  /** Open ones, those in their handshake included. */
  readonly #connections = new Set<Socket>();
  #material: TlsMaterial;
  #failure: string | undefined;
  #cancel: () => void = () => {};
  #accept: (socket: TLSSocket) => void = () => {};

  /** @throws LimenError `file_unreadable` or `config_invalid`: the files cannot serve */
  constructor(listen: TlsListen, deps: TlsPortDeps) {
    this.#listen = listen;
    this.#deps = deps;
    this.#names = new Set(
      listen.peers.map((name) => (name.includes("://") ? "URI:" : "DNS:") + name),
    );
    this.#material = this.#read();
    this.#server = createServer({
      ...contextOf(this.#material),
      requestCert: true,
      rejectUnauthorized: true, // there is no `secureConnection` without a certificate of an authority
      ALPNProtocols: ["h2"],
      handshakeTimeout: HANDSHAKE_MS,
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server
      .on("connection", (socket: Socket) => {
        this.#connections.add(socket);
        socket.once("close", () => this.#connections.delete(socket));
      })
      .on("error", () => {}) // one that could not be accepted; when listening fails, `open` says so
      .on("tlsClientError", (error, socket) =>
        deps.listener({ kind: "handshake_failed", reason: reasonOf(error, socket) }),
      )
      .on("secureConnection", (socket: TLSSocket) => this.#admit(socket));
  }

  /**
   * @param accept gets the connections of listed peers
   * @returns the address in use
   * @throws the system's error when it cannot be listened on
   */
  async open(accept: (socket: TLSSocket) => void): Promise<string> {
    this.#accept = accept;
    const { host, port } = this.#listen;
    this.#server.listen(port, host);
    await once(this.#server, "listening");
    this.#later();
    const bound = this.#server.address();
    return this.addressWith(typeof bound === "object" && bound !== null ? bound.port : port);
  }

  /** As configured, with this port. */
  addressWith(port: number = this.#listen.port): string {
    const { host } = this.#listen;
    return `${host.includes(":") ? `[${host}]` : host}:${port}`;
  }

  /**
   * Reads the files again. New connections get what they say; open ones stay until they end. Files that cannot serve
   * change nothing.
   */
  reload(): void {
    try {
      const material = this.#read();
      this.#failure = undefined;
      if (isSame(material, this.#material)) return;
      this.#server.setSecureContext(contextOf(material));
      this.#material = material;
      this.#deps.listener({ kind: "swapped" });
    } catch (error) {
      if (!(error instanceof LimenError)) throw error;
      const failure = String(error);
      if (failure !== this.#failure) this.#deps.listener({ kind: "reload_failed", error });
      this.#failure = failure;
    }
  }

  /** When our own certificate stops to be one, in Unix time. */
  get expirySeconds(): number {
    return new X509Certificate(this.#material.cert).validToDate.getTime() / 1000;
  }

  /** The files cannot serve any more; what they said before is served. */
  get reloadFailed(): boolean {
    return this.#failure !== undefined;
  }

  /** No new connections; open ones go on. */
  close(): void {
    this.#cancel();
    this.#server.close();
  }

  /** Ends every connection, whatever is under way on it. */
  destroy(): void {
    for (const socket of this.#connections) socket.destroy();
  }

  #read(): TlsMaterial {
    return readTlsFiles(this.#listen, Number(this.#deps.clock.wallUs() / 1000n));
  }

  #later(): void {
    this.#cancel = this.#deps.clock.after(RELOAD_MS, () => {
      this.reload();
      this.#later();
    });
  }

  #admit(socket: TLSSocket): void {
    socket.on("error", () => {}); // a peer that breaks off; its calls learn of it by themselves
    if (namesOf(socket).some((name) => this.#names.has(name))) {
      this.#accept(socket);
      return;
    }
    this.#deps.listener({ kind: "not_listed" });
    socket.destroy();
  }
}

/**
 * Alternative names of the peer's certificate, as `URI:...` and `DNS:...`. Node joins them with commas, and writes a
 * comma inside a name as an escape: one name is never read as two.
 */
const namesOf = (socket: TLSSocket): readonly string[] =>
  socket.getPeerX509Certificate()?.subjectAltName?.split(", ") ?? [];

/**
 * What is wrong with a certificate is known to the socket alone: the error is then that the connection was cut. Both are
 * words of tables; what is none is not printed.
 */
function reasonOf(error: NodeJS.ErrnoException, { authorizationError }: TLSSocket): Label {
  const word = String(authorizationError ?? error.code);
  return ownLabel(/^[A-Z][A-Z0-9_]*$/.test(word) ? word : "other");
}

/** No tickets: a session that is taken up again would bring a certificate that nobody looks at any more. */
const contextOf = (material: TlsMaterial): SecureContextOptions => ({
  ...material,
  minVersion: "TLSv1.2",
  secureOptions: constants.SSL_OP_NO_TICKET,
});

const isSame = (a: TlsMaterial, b: TlsMaterial): boolean =>
  a.cert.equals(b.cert) && a.key.equals(b.key) && a.ca.equals(b.ca);
