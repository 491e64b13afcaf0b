/**
 * `limen serve`: the one place that knows every room. It opens them in the order in which they depend on each
 * other, closes them in reverse, and passes each what it needs; nothing here decides about traffic.
 */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { createAction } from "../action/action.ts";
import { openAdmin } from "../admin.ts";
import { formatKeyFile, generateLogKey } from "../audit/checkpoint.ts";
import { createFile } from "../audit/file.ts";
import type { AuditLog } from "../audit/log.ts";
import { openAuditLog } from "../audit/open.ts";
import { type Config, type Listen, loadConfig } from "../config.ts";
import { ownLabel } from "../core/brand.ts";
import type { Clock } from "../core/clock.ts";
import { LimenError } from "../core/errors.ts";
import type { PolicySet } from "../core/policy.ts";
import type { ExchangeRecord } from "../core/record.ts";
import { createEgress } from "../egress/egress.ts";
import { BoundaryServer } from "../envoy/server.ts";
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
import { packageVersion } from "./version.ts";

type Io = { readonly stdout: (text: string) => void; readonly stderr: (text: string) => void };

const HELP = `limen serve [-c FILE]

Runs the filter service: gRPC for Envoy (ext_proc), admin port, audit log. Without a file the defaults hold:
gRPC on 127.0.0.1:9002, admin on 127.0.0.1:9003, the built-in policy, the log in limen-data/audit.
SIGTERM drains and stops, SIGHUP reads the policies again.

  limen serve -c limen.yaml
`;

/** Exchanges at a time; above it new ones are refused with \`overloaded\`. */
const MAX_EXCHANGES = 4_096;
/** Frames of tool calls that wait for their end, over all streams. */
const MAX_HELD_BYTES = 256 * 1024 * 1024;
/** Envoy's buffer limit in envoy/envoy.yaml (32 MiB) plus what it may send in one piece beyond it. */
const MAX_MESSAGE_BYTES = 33 * 1024 * 1024;
/** Below Envoy's message_timeout (5 s), above the largest budget plus the wait for the log. */
const REPLY_DEADLINE_MS = 4_000;
/** An event loop that is silent for so long is stuck. The largest hostile body takes a few seconds to read. */
const STUCK_MS = 10_000;
/** A disk that stalls makes exchanges slow before it makes them fail; both records fit below the reply deadline. */
const AUDIT_WAIT_MS = 1_500;

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
  readonly #stopped = new Promise<number>((resolve) => {
    this.#stop = resolve;
  });

  constructor(config: Config, clock: Clock, log: Log) {
    this.#config = config;
    this.#clock = clock;
    this.#log = log;
  }

  async open(): Promise<void> {
    try {
      const watchdog = openWatchdog(this.#clock, STUCK_MS);
      this.#closers.push(() => watchdog.close());
      const audit = await this.#openAudit();
      const policy = await this.#openPolicies(audit);
      const metrics = this.#createMetrics(audit, policy);
      const server = await this.#openServer(audit, policy.store, metrics);
      await this.#openAdmin(audit, policy, metrics, server);
    } catch (error) {
      await this.#close();
      throw error;
    }
    const begin = (): void => this.#stop(0);
    process.once("SIGTERM", begin).once("SIGINT", begin);
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

  async #openAudit(): Promise<AuditLog> {
    const { dir, origin, key } = this.#config.audit;
    if (!existsSync(key.file) && key.ifMissing === "make") {
      mkdirSync(dirname(key.file), { recursive: true });
      createFile(key.file, formatKeyFile(generateLogKey(origin)), 0o600);
      this.#log("key_generated");
    }
    const audit = await openAuditLog({
      dir,
      origin,
      keyFile: key.file,
      clock: this.#clock,
      build: ownLabel(packageVersion()),
      limits: { ageMs: AUDIT_WAIT_MS },
      onState: () => {
        // Only a start re-reads what the disk really holds; until then everything is refused.
        this.#log("audit_unwritable");
        this.#stop(3);
      },
    });
    this.#closers.push(() => audit.close());
    const { torn, dangling, clean } = audit.stats().recovery;
    if (!clean) this.#log("audit_recovered", { torn, dangling });
    return audit;
  }

  async #openPolicies(audit: AuditLog): Promise<LivePolicies> {
    const live: LivePolicies = { store: undefined as never, sinceMs: 0, reloadFailed: false };
    const announce = ({ digest, names }: PolicySet): void => {
      live.sinceMs = this.#clock.monotonicMs();
      live.reloadFailed = false;
      // Cannot reject; a log that does not take it refuses every exchange as well.
      void audit.appendPatiently([{ type: "config.activated", digest, names }]);
    };
    const listener = (event: PolicyEvent): void => {
      if (event.kind === "swapped") {
        announce(event.set);
        this.#log("policy_swapped", { digest: event.set.digest });
      } else {
        live.reloadFailed = true;
        const { problems } = event.error;
        const [{ where, what, fix } = { where: "", what: "", fix: "" }] = problems;
        // Operator text: it is what somebody wrote into a policy.
        const first = { where: ownLabel(where), what: ownLabel(what), fix: ownLabel(fix) };
        this.#log("policy_reload_failed", { problems: problems.length, ...first });
      }
    };
    const factories = { ingress: createIngress, egress: createEgress, action: createAction };
    const store = await openPolicyStore({
      paths: this.#config.policies,
      factories,
      clock: this.#clock,
      listener,
    });
    this.#closers.push(() => store.close());
    live.store = store;
    announce(store.current());
    if (this.#config.policies.includes(DEFAULT_POLICY)) this.#log("default_policy");
    const reload = (): void => void store.reload(); // cannot reject: failures go to the listener
    process.on("SIGHUP", reload);
    this.#closers.push(() => void process.off("SIGHUP", reload));
    return live;
  }

  #createMetrics(audit: AuditLog, policy: LivePolicies): Metrics {
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
    });
  }

  async #openServer(
    audit: AuditLog,
    policies: PolicyStore,
    metrics: Metrics,
  ): Promise<BoundaryServer> {
    const recorded = (record: ExchangeRecord): void => {
      if (record.type === "request.decision") metrics.countDecision(record);
      else metrics.countOutcome(record);
    };
    const server = new BoundaryServer({
      clock: this.#clock,
      maxExchanges: MAX_EXCHANGES,
      maxHeldBytes: MAX_HELD_BYTES,
      maxMessageBytes: MAX_MESSAGE_BYTES,
      replyDeadlineMs: REPLY_DEADLINE_MS,
      callFailed: (error) => {
        const protocol = error instanceof LimenError && error.code === "protocol";
        this.#log(protocol ? "peer_protocol_error" : "call_failed");
      },
      exchangeDeps: () => ({
        policies: policies.current(),
        recorder: audit,
        clock: this.#clock,
        recorded,
      }),
    });
    this.#closers.push(() => server.drain(this.#config.drain.seconds * 1000));
    for (const listen of this.#config.listen) {
      const address = await server.bind(addressOf(listen));
      this.#log("service_started", { grpc: ownLabel(address) });
    }
    return server;
  }

  async #openAdmin(
    audit: AuditLog,
    policy: LivePolicies,
    metrics: Metrics,
    server: BoundaryServer,
  ): Promise<void> {
    const admin = await openAdmin({
      address: this.#config.admin,
      metrics,
      ready: () => ({
        audit_unwritable: !audit.stats().writable,
        draining: server.draining,
      }),
      status: () => {
        const { digest, names } = policy.store.current();
        const { size, checkpoint, vkey } = audit.stats();
        return {
          version: ownLabel(packageVersion()),
          policy: { digest, names, reload_failed: policy.reloadFailed },
          audit: { size, checkpoint: checkpoint.size, vkey: ownLabel(vkey) },
          exchanges_open: server.open,
        };
      },
    });
    this.#closers.push(() => admin.close());
    this.#log("service_started", { admin: ownLabel(admin.address) });
  }
}

/** What is in force, and since when. */
type LivePolicies = { store: PolicyStore; sinceMs: number; reloadFailed: boolean };

function addressOf(listen: Listen): string {
  switch (listen.kind) {
    case "unix":
      return `unix://${listen.path}`;
    case "plaintext":
      return `${listen.host.includes(":") ? `[${listen.host}]` : listen.host}:${listen.port}`;
    case "tls":
      throw new LimenError("config_invalid", {
        where: "listen",
        what: "this version does not serve TLS itself",
        fix: "listen on a unix socket or on loopback, or state `transport: mesh`",
      });
  }
}
