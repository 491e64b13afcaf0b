/**
 * `limen serve`: the one place that knows every room. It opens them in the order in which they depend on each
 * other, closes them in reverse, and passes each what it needs; nothing here decides about traffic.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { createAction } from "../action/action.ts";
import { openAdmin } from "../admin.ts";
import { formatKeyFile, generateLogKey } from "../audit/checkpoint.ts";
import { createFile, ensureFolder } from "../audit/file.ts";
import type { AuditLog } from "../audit/log.ts";
import { openAuditLog } from "../audit/open.ts";
import { statedKey } from "../audit/verify.ts";
import { type Config, loadConfig } from "../config.ts";
import type { Listen } from "../config-listen.ts";
import { ownLabel } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { LimenError, type Problem } from "../core/errors.ts";
import type { PolicySet } from "../core/policy.ts";
import type { ExchangeRecord } from "../core/record.ts";
import type { IngressSettings } from "../core/settings.ts";
import { createEgress } from "../egress/egress.ts";
import { failureOf, StatusError } from "../envoy/call.ts";
import { BoundaryServer } from "../envoy/server.ts";
import { TlsPort, type TlsPortEvent } from "../envoy/tls-port.ts";
import { openWatchdog } from "../envoy/watchdog.ts";
import { createIngress } from "../ingress/ingress.ts";
import {
  DEFAULT_POLICY,
  openPolicyStore,
  type PolicyEvent,
  type PolicyStore,
} from "../policy/store.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { systemClock } from "./clock.ts";
import { type Detector, openDetector, statsOf } from "./detector.ts";
import { packageVersion } from "./version.ts";

type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

const HELP = `limen serve [-c FILE]

Runs the filter service: gRPC for Envoy (ext_proc, ext_authz), admin port, audit log. Without a file the defaults hold:
gRPC on 127.0.0.1:9002, admin on 127.0.0.1:9003, the built-in policy, the log in limen-data/audit.
SIGTERM and SIGINT drain and stop; further ones change nothing. SIGHUP reads policies and certificates again.
Exit code: 0 stopped, 1 a file says what cannot be, 2 wrong usage, 3 cannot run, or the audit log failed.

  limen serve -c limen.yaml
`;

/** Exchanges at a time; above it new ones are refused with \`overloaded\`. */
const MAX_EXCHANGES = 4_096;
/** Frames that wait for a verdict, over all streams; and as much again for bodies. */
const MAX_HELD_BYTES = 256 * 1024 * 1024;
/** Envoy's buffer limit in envoy/envoy.yaml (32 MiB) plus what it may send in one piece beyond it. */
const MAX_MESSAGE_BYTES = 33 * 1024 * 1024;
/** Below Envoy's message_timeout (5 s), above the largest budget of a policy plus the wait for the log. */
const REPLY_DEADLINE_MS = 4_000;
/** An event loop that is silent for so long is stuck. The largest hostile body takes a few seconds to read. */
const STUCK_MS = 10_000;
/** A disk that stalls makes exchanges slow before it makes them fail; both records fit below the reply deadline. */
const AUDIT_WAIT_MS = 1_500;
/** Connections take them from the log, which stops Limen when it cannot open a file. */
const ENOUGH_OPEN_FILES = 4_096;

export async function serve(args: readonly string[], io: Io): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    io.stdout(HELP);
    return 0;
  }
  const [flag, file, ...rest] = args;
  const wellFormed =
    flag === undefined || ((flag === "-c" || flag === "--config") && file !== undefined);
  if (!wellFormed || rest.length > 0) {
    io.stderr("limen serve: expected [-c FILE]; see limen serve --help\n");
    return 2;
  }
  // Node builds an exception for every stream that Envoy resets, which is nearly every one: without its stack.
  Error.stackTraceLimit = 1;
  const clock = systemClock();
  const service = new Service(loadConfig(file, process.env), clock, createLog(clock));
  await service.open();
  return service.untilStopped();
}

class Service {
  readonly #config: Config;
  readonly #clock: Clock;
  readonly #log: Log;
  /** In the order of opening; closed from the last to the first. */
  readonly #closers: (() => Promise<void> | void)[] = [];
  #stop: (exitCode: number) => void = () => {};
  /** What SIGHUP does, in this order. */
  readonly #reloaders: (() => void)[] = [];
  readonly #tlsPorts: TlsPort[] = [];
  /** From `open` on. */
  #metrics: Metrics | undefined;
  #server: BoundaryServer | undefined;
  /** Every address of the configuration listens. */
  #started = false;
  readonly #stopped = new Promise<number>((resolve) => {
    this.#stop = resolve;
  });

  constructor(config: Config, clock: Clock, log: Log) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
  }

  async open(): Promise<void> {
    // First: a signal during the start stops what is open by then in order. And never taken off again: wrappers
    // send a signal twice, and the second would kill a drain.
    const begin = (): void => this.#stop(0);
    process
      .on("SIGTERM", begin)
      .on("SIGINT", begin)
      .on("SIGHUP", () => {
        for (const reload of this.#reloaders) reload();
      });
    const openFiles = openFilesLimit();
    if (openFiles < ENOUGH_OPEN_FILES) this.#log("few_open_files", { limit: openFiles });
    try {
      const watchdog = openWatchdog(this.#clock, STUCK_MS);
      this.#closers.push(() => watchdog.close());
      // Certificates that cannot serve stop the start before anything is written.
      const ports = this.#config.listen.map((listen) => this.#prepare(listen));
      const detector = await this.#openDetector();
      const audit = await this.#openAudit();
      const policy = await this.#openPolicies(audit, detector);
      const rooms = { audit, detector, policy };
      const metrics = this.#createMetrics(rooms);
      this.#metrics = metrics;
      const server = this.#createServer(rooms, metrics);
      this.#server = server;
      // Opened before and closed after the server, so that it can say `starting` and `draining`.
      await this.#openAdmin(rooms, metrics, server);
      await this.#openServer(server, ports);
    } catch (error) {
      await this.#close();
      throw error;
    }
  }

  async untilStopped(): Promise<number> {
    const exitCode = await this.#stopped;
    this.#log("service_draining");
    await this.#close();
    this.#log("service_stopped");
    return exitCode;
  }

  async #close(): Promise<void> {
    for (const close of this.#closers.splice(0).reverse()) await close();
  }

  async #openDetector(): Promise<Detector> {
    const detector = await openDetector(this.#config.detection, {
      clock: this.#clock,
      died: () => this.#log("detector_thread_died"),
    });
    const { scorer } = detector;
    if (scorer === undefined) this.#log("detector_off");
    else this.#closers.push(() => scorer.close());
    return detector;
  }

  async #openAudit(): Promise<AuditLog> {
    const { dir, origin, key } = this.#config.audit;
    // Never for a log that has one: what another key signs is no continuation of it, and the start is refused.
    if (key.ifMissing === "make" && !existsSync(key.file) && statedKey(dir) === undefined) {
      const made = generateLogKey(origin);
      ensureFolder(dir); // and the one above it, in which the key stands
      createFile(key.file, formatKeyFile(made), 0o600);
      this.#log("key_generated", { file: ownLabel(key.file), vkey: ownLabel(made.vkey) });
    }
    this.#warnIfExposed(key.file);
    const audit = await openAuditLog({
      dir,
      origin,
      keyFile: key.file,
      clock: this.#clock,
      build: ownLabel(packageVersion()),
      limits: { ageMs: AUDIT_WAIT_MS },
      onState: (_, problem) => {
        // Only a start re-reads what the disk really holds; until then everything is refused.
        this.#log("audit_unwritable", printable(problem));
        this.#stop(3);
      },
    });
    this.#closers.push(() => audit.close());
    const { torn, dangling, clean } = audit.stats().recovery;
    if (!clean) this.#log("audit_recovered", { torn, dangling });
    return audit;
  }

  /** The group is the operator's business: Kubernetes gives the files of a Secret to `fsGroup`. */
  #warnIfExposed(file: string): void {
    const mode = statSync(file, { throwIfNoEntry: false })?.mode ?? 0;
    if ((mode & 0o006) !== 0) this.#log("key_exposed", { file: ownLabel(file) });
  }

  async #openPolicies(audit: AuditLog, detector: Detector): Promise<LivePolicies> {
    const live: LivePolicies = { store: undefined as never, sinceMs: 0, reloadFailed: false };
    const announce = ({ digest, names }: PolicySet): void => {
      live.sinceMs = this.#clock.monotonicMs();
      live.reloadFailed = false;
      // Cannot reject; a log that does not take it refuses every exchange as well.
      const record = { type: "config.activated", digest, names, detector: detector.entry } as const;
      void audit.appendPatiently([record]);
    };
    const listener = (event: PolicyEvent): void => {
      if (event.kind === "swapped") {
        announce(event.set);
        this.#log("policy_swapped", { digest: event.set.digest });
      } else {
        live.reloadFailed = true;
        const { problems } = event.error;
        const [first] = problems;
        this.#log("policy_reload_failed", {
          problems: problems.length,
          ...(first && printable(first)),
        });
      }
    };
    const factories = {
      ingress: (settings: IngressSettings) => createIngress(settings, detector.scorer),
      egress: createEgress,
      action: createAction,
    };
    const store = await openPolicyStore({
      paths: this.#config.policies,
      factories,
      trust: this.#config.trust,
      clock: this.#clock,
      listener,
    });
    this.#closers.push(() => store.close());
    live.store = store;
    announce(store.current());
    if (this.#config.policies.includes(DEFAULT_POLICY)) this.#log("default_policy");
    this.#reloaders.push(() => void store.reload()); // cannot reject: failures go to the listener
    return live;
  }

  #createMetrics({ audit, detector, policy }: Rooms): Metrics {
    return createMetrics({
      version: ownLabel(packageVersion()),
      audit: () => {
        const { size, writable, checkpoint, queue, refused, fsyncErrors } = audit.stats();
        const ageSeconds = checkpoint.ageMs / 1000;
        const published = { size: checkpoint.size, ageSeconds };
        return { writable, logSize: size, checkpoint: published, queue, refused, fsyncErrors };
      },
      policy: () => ({
        digest: policy.store.current().digest,
        ageSeconds: (this.#clock.monotonicMs() - policy.sinceMs) / 1000,
        reloadFailed: policy.reloadFailed,
      }),
      detector: () => ({ digest: detector.entry.injection, ...statsOf(detector) }),
      tls: () => ({
        expirySeconds: Math.min(...this.#tlsPorts.map((port) => port.expirySeconds)),
        reloadFailed: this.#tlsPorts.some((port) => port.reloadFailed),
      }),
      exchangesOpen: () => this.#server?.open ?? 0,
    });
  }

  #createServer({ audit, detector, policy }: Rooms, metrics: Metrics): BoundaryServer {
    const recorded = (record: ExchangeRecord): void => {
      if (record.type === "request.decision") metrics.countDecision(record);
      else metrics.countOutcome(record);
    };
    return new BoundaryServer({
      clock: this.#clock,
      maxExchanges: MAX_EXCHANGES,
      maxHeldBytes: MAX_HELD_BYTES,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      replyDeadlineMs: REPLY_DEADLINE_MS,
      trust: this.#config.trust,
      callFailed: (error) => this.#callFailed(error, metrics),
      exchangeDeps: () => ({
        policies: policy.store.current(),
        recorder: audit,
        clock: this.#clock,
        detector: detector.entry,
        recorded,
      }),
    });
  }

  #callFailed(error: unknown, metrics: Metrics): void {
    const failure = failureOf(error);
    metrics.countFailedCall(failure);
    if (failure === "late") this.#log("call_late");
    else if (failure === "defect") this.#log("call_failed");
    else if (error instanceof StatusError)
      this.#log("peer_protocol_error", { what: ownLabel(error.details) });
    else {
      const [first] = error instanceof LimenError ? error.problems : [];
      this.#log("peer_protocol_error", first && printable(first));
    }
  }

  #prepare(listen: Listen): string | TlsPort {
    if (listen.kind === "unix") return `unix://${listen.path}`;
    if (listen.kind === "plaintext")
      return `${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${listen.port}`;
    const listener = (event: TlsPortEvent): void => this.#tlsHappened(event);
    const port = new TlsPort(listen, { clock: this.#clock, listener });
    this.#warnIfExposed(listen.key);
    this.#reloaders.push(() => port.reload());
    this.#tlsPorts.push(port);
    return port;
  }

  #tlsHappened(event: TlsPortEvent): void {
    if (event.kind === "not_listed") {
      this.#metrics?.countRefusedPeer(event.kind);
      this.#log("peer_not_listed");
    } else if (event.kind === "handshake_failed") {
      this.#metrics?.countRefusedPeer(event.kind);
      this.#log("tls_handshake_failed", { reason: event.reason });
    } else if (event.kind === "swapped") this.#log("tls_swapped");
    else {
      const [first] = event.error.problems;
      this.#log("tls_reload_failed", first && printable(first));
    }
  }

  async #openServer(server: BoundaryServer, ports: readonly (string | TlsPort)[]): Promise<void> {
    this.#closers.push(() => server.drain(this.#config.drain.seconds * 1000));
    for (const port of ports) {
      const address = await (typeof port === "string" ? server.bind(port) : server.bindTls(port));
      this.#log("service_started", { grpc: ownLabel(address) });
    }
    this.#started = true;
  }

  async #openAdmin(
    { audit, detector, policy }: Rooms,
    metrics: Metrics,
    server: BoundaryServer,
  ): Promise<void> {
    const admin = await openAdmin({
      address: this.#config.admin,
      metrics,
      ready: () => ({
        starting: !this.#started,
        audit_unwritable: !audit.stats().writable,
        draining: server.draining,
      }),
      status: () => {
        const { digest, names } = policy.store.current();
        const { size, checkpoint, vkey } = audit.stats();
        return {
          version: ownLabel(packageVersion()),
          policy: { digest, names, reload_failed: policy.reloadFailed },
          detector: detector.entry,
          audit: { size, checkpoint: checkpoint.size, vkey: ownLabel(vkey) },
          exchanges_open: server.open,
        };
      },
    });
    this.#closers.push(() => admin.close());
    this.#log("service_started", { admin: ownLabel(admin.address) });
  }
}

/** As Linux says it, after Node has raised it as far as it may; Infinity where nothing says it. */
function openFilesLimit(): number {
  const file = "/proc/self/limits";
  const limits = existsSync(file) ? readFileSync(file, "utf8") : "";
  return Number(/^Max open files +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}

/** What is open beside the server. */
type Rooms = {
  readonly audit: AuditLog;
  readonly detector: Detector;
  readonly policy: LivePolicies;
};

/** What is in force, and since when. */
type LivePolicies = { store: PolicyStore; sinceMs: number; reloadFailed: boolean };

/** Operator text: names of files, what somebody wrote into a policy, the system's name of a failure. */
const printable = ({ where, what, fix }: Problem) => ({
  where: ownLabel(where),
  what: ownLabel(what),
  fix: ownLabel(fix),
});
