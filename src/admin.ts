/**
 * The admin port: whether the process lives, whether it may get traffic, what it counts and what is in
 * force. Read-only, for probes, Prometheus and people; it shows codes, digests and counts, never content.
 * Plain HTTP without authentication: it belongs on loopback or behind the cluster's own network rules.
 */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type AddressInfo, isIPv6, type Socket } from "node:net";
import type { Label } from "./core/brand.ts";
import { LimenError } from "./core/errors.ts";
import type { DetectorEntry } from "./core/record.ts";
import type { Metrics } from "./telemetry/metrics.ts";

/** What `/status` says. */
export type Status = {
  readonly version: Label;
  readonly policy: {
    readonly digest: Label;
    readonly names: readonly Label[];
    readonly reload_failed: boolean;
  };
  readonly detector: DetectorEntry;
  readonly audit: { readonly size: number; readonly checkpoint: number; readonly vkey: Label };
  readonly exchanges_open: number;
};

export type AdminOptions = {
  readonly address: { readonly host: string; readonly port: number };
  readonly metrics: Pick<Metrics, "text" | "contentType">;
  /** Reasons not to send traffic; ready when none is true. */
  readonly ready: () => Readonly<Record<string, boolean>>;
  readonly status: () => Status;
};

export type Admin = {
  /** `host:port` as bound. */
  readonly address: string;
  close(): Promise<void>;
};

const CONNECTIONS = 64;
const LIMITS = {
  maxHeaderSize: 8192,
  headersTimeout: 5000,
  requestTimeout: 5000,
  connectionsCheckingInterval: 1000,
} as const;

type Answer = { readonly status: number; readonly type: string; readonly body: string };

/** @throws LimenError `port_unavailable` */
export async function openAdmin(options: AdminOptions): Promise<Admin> {
  const server = createServer(LIMITS, (request, response) => {
    // Cannot reject: a failed answer becomes a 500.
    void answer(options, request).then((found) => send(request, response, found));
  });
  limitConnections(server);
  await listen(server, options.address);
  // Too many open files: accepting failed, and this port is no reason to stop the boundary.
  server.on("error", () => {});
  return {
    address: printed(server.address() as AddressInfo),
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/**
 * Above the limit the oldest connection goes, not the newest: each gets one answer at once, so an old one has nothing
 * to say, and a Limen whose probes are kept out by idle connections would be restarted.
 */
function limitConnections(server: Server): void {
  const open = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    const [oldest] = open;
    if (oldest !== undefined && open.size >= CONNECTIONS) {
      open.delete(oldest);
      oldest.destroy();
    }
    open.add(socket);
    socket.once("close", () => open.delete(socket));
  });
}

async function answer(options: AdminOptions, { method, url }: IncomingMessage): Promise<Answer> {
  if (method !== "GET" && method !== "HEAD") return json(405, { error: "method_not_allowed" });
  try {
    switch (url?.split("?", 1)[0]) {
      case "/healthz":
        return json(200, { alive: true });
      case "/readyz":
        return readiness(options.ready());
      case "/status":
        return json(200, { ...options.status(), uptime_seconds: Math.floor(process.uptime()) });
      case "/metrics": {
        const { metrics } = options;
        return { status: 200, type: metrics.contentType, body: await metrics.text() };
      }
      default:
        return json(404, { error: "not_found" });
    }
  } catch {
    return json(500, { error: "internal" });
  }
}

function readiness(reasons: Readonly<Record<string, boolean>>): Answer {
  const holding = Object.keys(reasons).filter((reason) => reasons[reason]);
  const ready = holding.length === 0;
  return json(ready ? 200 : 503, { ready, reasons: holding });
}

const json = (status: number, value: object): Answer => ({
  status,
  type: "application/json",
  body: `${JSON.stringify(value)}\n`,
});

function send(request: IncomingMessage, response: ServerResponse, found: Answer): void {
  response.writeHead(found.status, {
    "content-type": found.type,
    "content-length": Buffer.byteLength(found.body),
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    // One answer per connection: a body that was sent along is never read, and none is kept idle.
    connection: "close",
    ...(found.status === 405 ? { allow: "GET, HEAD" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : found.body);
}

async function listen(server: Server, { host, port }: AdminOptions["address"]): Promise<void> {
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (error) {
    const taken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
    throw new LimenError("port_unavailable", {
      where: `admin ${host}:${port}`,
      what: taken ? "another process listens there" : "this address cannot be listened on",
      fix: taken
        ? "stop that process, or set `admin` to a free port in limen.yaml"
        : "set `admin` to an address of this machine and a port above 1023 in limen.yaml",
    });
  }
}

const printed = ({ address, port }: AddressInfo): string =>
  `${isIPv6(address) ? `[${address}]` : address}:${port}`;
