import assert from "node:assert/strict";
import { once } from "node:events";
import { request } from "node:http";
import { connect, type Socket } from "node:net";
import { text } from "node:stream/consumers";
import { type Admin, openAdmin, type Status } from "../src/admin.ts";
import { ownLabel } from "../src/core/brand.ts";
import { LimenError } from "../src/core/errors.ts";

const STATUS: Status = {
  version: ownLabel("1.2.3"),
  policy: { digest: ownLabel("ab12"), names: [ownLabel("support")], reload_failed: false },
  detector: { injection: ownLabel("ef56") },
  audit: { size: 7, checkpoint: 5, vkey: ownLabel("origin+01234567+key") },
  exchanges_open: 3,
};
const LOOPBACK = { host: "127.0.0.1", port: 0 };

describe("admin port", () => {
  let admin: Admin;
  let reasons: Record<string, boolean>;
  let failing: boolean;
  const open = (address = LOOPBACK): Promise<Admin> =>
    openAdmin({
      address,
      metrics: { text: () => Promise.resolve("limen_up 1\n"), contentType: "text/plain; v=1" },
      ready: () => reasons,
      status: () => {
        if (failing) throw new Error("with a detail that stays inside");
        return STATUS;
      },
    });
  const portOf = ({ address }: Admin): number =>
    Number(address.slice(address.lastIndexOf(":") + 1));

  beforeEach(async () => {
    reasons = { audit_unwritable: false, draining: false };
    failing = false;
    admin = await open();
  });
  afterEach(() => admin.close());

  async function ask(path: string, method = "GET") {
    const sent = request({ port: portOf(admin), host: "127.0.0.1", path, method }).end();
    const [answer] = await once(sent, "response");
    const { statusCode: status, headers } = answer;
    return { status, headers, body: await text(answer) };
  }

  /** What comes back for these bytes until the server closes. */
  async function raw(bytes: string): Promise<string> {
    const socket = connect(portOf(admin), "127.0.0.1");
    socket.write(bytes);
    return text(socket);
  }

  it("says that the process lives", async () => {
    const { status, body, headers } = await ask("/healthz");
    assert.deepEqual([status, body], [200, '{"alive":true}\n']);
    assert.equal(headers["content-type"], "application/json");
    assert.equal(headers["cache-control"], "no-store");
  });

  it("is ready while no reason is against it, and names those that are", async () => {
    const ready = await ask("/readyz");
    assert.deepEqual([ready.status, ready.body], [200, '{"ready":true,"reasons":[]}\n']);
    reasons = { audit_unwritable: true, draining: false };
    const one = await ask("/readyz");
    assert.deepEqual(
      [one.status, one.body],
      [503, '{"ready":false,"reasons":["audit_unwritable"]}\n'],
    );
    reasons = { audit_unwritable: true, draining: true };
    assert.deepEqual(JSON.parse((await ask("/readyz")).body).reasons, [
      "audit_unwritable",
      "draining",
    ]);
  });

  it("hands out the metrics as they are, query or not", async () => {
    for (const path of ["/metrics", "/metrics?name[]=limen_up"]) {
      const { status, body, headers } = await ask(path);
      assert.deepEqual([status, body], [200, "limen_up 1\n"]);
      assert.equal(headers["content-type"], "text/plain; v=1");
    }
  });

  it("states version, policy, log and open exchanges", async () => {
    const { status, body } = await ask("/status");
    const { uptime_seconds, ...stated } = JSON.parse(body);
    assert.equal(status, 200);
    assert.deepEqual(stated, STATUS);
    assert.ok(Number.isInteger(uptime_seconds));
  });

  it("answers HEAD with the same headers and no body", async () => {
    const { status, body, headers } = await ask("/healthz", "HEAD");
    assert.deepEqual([status, body, headers["content-length"]], [200, "", "15"]);
  });

  for (const path of ["/", "/console", "/healthz/", "/metrics/../status", "//status", "*"]) {
    it(`knows no ${path}`, async () => {
      const { status, body } = await ask(path);
      assert.deepEqual([status, body], [404, '{"error":"not_found"}\n']);
    });
  }

  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
    it(`refuses ${method}`, async () => {
      const { status, headers } = await ask("/status", method);
      assert.deepEqual([status, headers.allow], [405, "GET, HEAD"]);
    });
  }

  it("answers an inner error without its words", async () => {
    failing = true;
    const { status, body } = await ask("/status");
    assert.deepEqual([status, body], [500, '{"error":"internal"}\n']);
  });

  it("closes after one answer and never reads the second request of a connection", async () => {
    const get = "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n";
    const answers = await raw(get + get);
    assert.equal(answers.split("HTTP/1.1 200").length - 1, 1);
    assert.match(answers, /^connection: close\r$/im);
  });

  it("takes 8 KiB of headers at most", async () => {
    const get = (filler: number) =>
      `GET /healthz HTTP/1.1\r\nhost: x\r\nx-filler: ${"x".repeat(filler)}\r\n\r\n`;
    assert.match(await raw(get(7900)), /^HTTP\/1\.1 200 /);
    assert.match(await raw(get(8192)), /^HTTP\/1\.1 431 /);
  });

  it("answers while somebody holds more connections than it takes, of which the oldest go", async () => {
    const idle: Socket[] = [];
    for (let count = 0; count < 70; count += 1) {
      const socket = connect(portOf(admin), "127.0.0.1").resume();
      socket.on("error", () => undefined);
      await once(socket, "connect");
      idle.push(socket);
    }
    assert.equal((await ask("/healthz")).status, 200);
    for (const socket of idle.slice(0, 7)) if (!socket.closed) await once(socket, "close");
    assert.ok(idle.slice(7).every(({ closed }) => !closed));
    for (const socket of idle) socket.destroy();
  });

  it("answers what is not HTTP with 400 and no echo", async () => {
    const answer = await raw("canary-7f3a\r\n\r\n");
    assert.match(answer, /^HTTP\/1\.1 400 /);
    assert.doesNotMatch(answer, /canary/);
  });

  it("says which port is taken and what to do", async () => {
    const port = portOf(admin);
    await assert.rejects(open({ host: "127.0.0.1", port }), (error) => {
      assert.ok(error instanceof LimenError);
      assert.equal(error.code, "port_unavailable");
      assert.deepEqual(error.problems, [
        {
          where: `admin 127.0.0.1:${port}`,
          what: "another process listens there",
          fix: "stop that process, or set `admin` to a free port in limen.yaml",
        },
      ]);
      return true;
    });
  });

  it("says so when the address is not one of this machine", async () => {
    await assert.rejects(open({ host: "192.0.2.1", port: 0 }), {
      code: "port_unavailable",
      message: /^admin 192\.0\.2\.1:0: this address cannot be listened on; /,
    });
  });

  it("closes although a client keeps its connection open", async () => {
    const other = await open();
    const socket = connect(portOf(other), "127.0.0.1");
    await once(socket, "connect");
    const closed = once(socket, "close");
    socket.resume();
    await other.close();
    await closed;
    await assert.rejects(once(connect(portOf(other), "127.0.0.1"), "connect"), {
      code: "ECONNREFUSED",
    });
  });
});
