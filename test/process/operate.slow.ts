/** What an operator does to the service, and what a machine does: signals, sockets, closed pipes, no HOME. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, status as Code, credentials, type StatusObject } from "@grpc/grpc-js";
import { stringify } from "yaml";
import { LIMEN } from "../real/limen.ts";
import { stopProcess, until } from "../real/process.ts";

const PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process";
const plain = (value: Buffer): Buffer => value;

class Service {
  readonly child: ChildProcess;
  diary = "";
  readonly exit: Promise<unknown[]>;

  constructor(dir: string, drainSeconds = 1, openFiles = "unlimited") {
    const file = join(dir, "limen.yaml");
    const audit = { dir: "audit", origin: "example.org/limen/test" };
    const listen = `unix://${join(dir, "limen.sock")}`;
    const document = { listen, admin: "127.0.0.1:0", audit, drain: { seconds: drainSeconds } };
    writeFileSync(file, stringify(document));
    const limit = openFiles === "unlimited" ? "" : `ulimit -n ${openFiles} && `;
    const args = ["-c", `${limit}exec "$0" serve -c "$1"`, LIMEN, file];
    this.child = spawn("sh", args, { stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr?.on("data", (chunk: Buffer) => {
      this.diary += chunk.toString();
    });
    this.exit = once(this.child, "close");
  }

  said(event: string, field = ""): Promise<string> {
    return until(20_000, `"${event}" in:\n${this.diary}`, () =>
      this.diary
        .split("\n")
        .find((line) => line.includes(`"event":"${event}"`) && line.includes(`"${field}`)),
    );
  }

  started(): Promise<string> {
    return this.said("service_started", "grpc");
  }

  async stop(): Promise<void> {
    this.child.kill("SIGTERM");
    assert.deepEqual(await this.exit, [0, null]);
  }

  async admin(path: string): Promise<{ status: number; body: string }> {
    const line = await this.said("service_started", "admin");
    const { admin } = JSON.parse(line) as { admin: string };
    const response = await fetch(`http://${admin}${path}`);
    return { status: response.status, body: await response.text() };
  }
}

describe("the service in an operator's hands", function () {
  this.timeout(60_000);
  let dir: string;
  let service: Service | undefined;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "limen-operate-"));
  });
  afterEach(async () => {
    if (service !== undefined) await stopProcess(service.child);
    service = undefined;
    rmSync(dir, { recursive: true });
  });

  const verified = (): number | null =>
    spawnSync(LIMEN, ["audit", "verify", `${dir}/audit`]).status;

  it("ends at the drain's deadline what Envoy keeps open, never with OK, and says so meanwhile", async () => {
    service = new Service(dir, 2);
    await service.started();
    const client = new Client(`unix:${dir}/limen.sock`, credentials.createInsecure());
    const call = client.makeBidiStreamRequest(PROCESS, plain, plain);
    call.on("error", () => {}).on("data", () => {});
    const ended = new Promise<StatusObject>((resolve) => call.on("status", resolve));
    const running = service;
    await until(5_000, "the stream to be open", async () => {
      const { body } = await running.admin("/status");
      return body.includes('"exchanges_open":1') || undefined;
    });
    service.child.kill("SIGTERM");
    await service.said("service_draining");
    assert.deepEqual(await service.admin("/readyz"), {
      status: 503,
      body: '{"ready":false,"reasons":["draining"]}\n',
    });
    const { code } = await ended;
    assert.notEqual(code, Code.OK);
    assert.deepEqual(await service.exit, [0, null]);
    client.close();
    assert.equal(verified(), 0);
  });

  it("drains once however many signals come, and closes its log", async () => {
    service = new Service(dir);
    await service.started();
    service.child.kill("SIGTERM");
    await service.said("service_draining");
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) service.child.kill(signal);
    assert.deepEqual(await service.exit, [0, null]);
    service = new Service(dir);
    await service.started();
    assert.ok(!service.diary.includes("audit_recovered"), "the log was closed");
  });

  it("takes SIGHUP and SIGTERM while it starts", async () => {
    service = new Service(dir);
    await service.said("key_generated"); // the first thing that a start says
    service.child.kill("SIGHUP");
    service.child.kill("SIGTERM");
    assert.deepEqual(await service.exit, [0, null]);
    assert.equal(verified(), 0);
  });

  it("takes over the socket of a killed process, and leaves anything else at its path alone", async () => {
    service = new Service(dir);
    await service.started();
    service.child.kill("SIGKILL");
    await service.exit;
    const socket = join(dir, "limen.sock");
    assert.ok(existsSync(socket));
    service = new Service(dir);
    await service.started();
    service.child.kill("SIGTERM");
    await service.exit;
    assert.ok(!existsSync(socket));

    writeFileSync(socket, "somebody's");
    service = new Service(dir);
    assert.deepEqual(await service.exit, [3, null]);
    assert.match(service.diary, /limen\.sock: there is something that is no socket/);
    assert.equal(readFileSync(socket, "utf8"), "somebody's");
    rmSync(socket);

    const other = createServer().listen(socket);
    await once(other, "listening");
    service = new Service(dir);
    assert.deepEqual(await service.exit, [3, null]);
    assert.match(service.diary, /limen\.sock: something else listens there/);
    assert.doesNotMatch(service.diary, /^E /m); // lines of grpc-js's own
    assert.ok(existsSync(socket));
    other.close();
  });

  it("says what is wrong with a caller's messages and counts the call", async () => {
    service = new Service(dir);
    await service.started();
    const client = new Client(`unix:${dir}/limen.sock`, credentials.createInsecure());
    const call = client.makeBidiStreamRequest(PROCESS, plain, plain);
    call.on("error", () => {}).on("data", () => {});
    const ended = new Promise<StatusObject>((resolve) => call.on("status", resolve));
    call.write(Buffer.from([0x22, 0])); // a body, without a word about how bodies are sent
    assert.equal((await ended).code, Code.FAILED_PRECONDITION);
    client.close();
    const { what } = JSON.parse(await service.said("peer_protocol_error")) as { what: string };
    assert.match(what, /protocol_config is missing: use Envoy 1\.36 or newer$/);
    const { body } = await service.admin("/metrics");
    assert.match(body, /^limen_calls_failed_total\{error="protocol"\} 1$/m);
    assert.match(body, /^limen_calls_failed_total\{error="defect"\} 0$/m);
    assert.match(body, /^limen_exchanges_open 0$/m);
    assert.match(body, /^limen_tls_certificate_expiry_timestamp_seconds \+Inf$/m);
  });

  it("does not open an inspector on SIGUSR1", async () => {
    service = new Service(dir);
    await service.started();
    service.child.kill("SIGUSR1");
    assert.equal((await service.admin("/healthz")).status, 200);
    service.child.kill("SIGTERM");
    await service.exit;
    assert.doesNotMatch(service.diary, /Debugger/);
  });

  it("says where the key is that it made and how to verify with it, and when others may read it", async () => {
    service = new Service(dir);
    const made = JSON.parse(await service.said("key_generated")) as { file: string; vkey: string };
    await service.started();
    assert.doesNotMatch(service.diary, /key_exposed/);
    await service.stop();
    assert.equal(made.file, `${dir}/audit.key`); // beside the log: its folder can be handed on
    const { status } = spawnSync(LIMEN, ["audit", "verify", "--key", made.vkey, `${dir}/audit`]);
    assert.equal(status, 0);
    chmodSync(made.file, 0o644);
    service = new Service(dir);
    const { file } = JSON.parse(await service.said("key_exposed")) as { file: string };
    assert.equal(file, made.file);
    await service.started();
  });

  it("warns when so few files may be open that connections could stop the log", async () => {
    service = new Service(dir, 1, "256");
    const { limit } = JSON.parse(await service.said("few_open_files")) as { limit: number };
    assert.equal(limit, 256);
    await service.started();
    await service.stop();
    service = new Service(dir, 1, "4096");
    await service.started();
    assert.doesNotMatch(service.diary, /few_open_files/);
  });

  it("makes no second key for a log whose key is gone", async () => {
    service = new Service(dir);
    await service.started();
    await service.stop();
    rmSync(join(dir, "audit.key"));
    service = new Service(dir);
    assert.deepEqual(await service.exit, [3, null]);
    assert.match(
      service.diary,
      /audit\.key: there is no such key file\n {2}put the key of this log back/,
    );
    assert.ok(!existsSync(join(dir, "audit.key")));
  });

  it("says where it cannot keep its log, without a stack", async () => {
    writeFileSync(join(dir, "audit"), "a file");
    service = new Service(dir);
    assert.deepEqual(await service.exit, [3, null]);
    assert.match(service.diary, /^limen: \S+audit: cannot be made \(EEXIST\)\n {2}name a folder/);
  });
});

describe("limen in a pipe", () => {
  it("ends quietly when its reader has seen enough", function () {
    this.timeout(20_000);
    const dir = mkdtempSync(join(tmpdir(), "limen-pipe-"));
    const texts = join(dir, "texts.jsonl");
    writeFileSync(texts, '{"text":"good morning"}\n'.repeat(5_000));
    const script = `{ "${LIMEN}" scan "${texts}"; echo $? >"${dir}/rc"; } | head -n 1`;
    const { stdout, stderr } = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    assert.match(stdout, /^\{.*\}\n$/);
    assert.equal(stderr, "");
    assert.equal(readFileSync(join(dir, "rc"), "utf8"), "0\n");
    rmSync(dir, { recursive: true });
  });

  it("helps with a group of commands, and refuses what is none", () => {
    for (const [args, code] of [
      [["policy", "--help"], 0],
      [["audit", "-h"], 0],
      [["policy"], 2],
      [["nonsense", "--help"], 2],
    ] as const) {
      const { status, stdout, stderr } = spawnSync(LIMEN, args, { encoding: "utf8" });
      assert.equal(status, code, args.join(" "));
      assert.match(code === 0 ? stdout : stderr, /usage: limen COMMAND/);
    }
  });

  it("runs without HOME", () => {
    const { HOME: _, ...env } = process.env;
    const { status, stdout } = spawnSync(LIMEN, ["--version"], { env, encoding: "utf8" });
    assert.deepEqual([status, stdout.startsWith("limen ")], [0, true]);
  });
});
