import assert from "node:assert/strict";
import { status as Code, type ServerUnaryCall, type sendUnaryData } from "@grpc/grpc-js";
import { systemClock } from "../../src/cli/clock.ts";
import { LimenError } from "../../src/core/errors.ts";
import { StatusError, serveStream, serveUnary, type Talk } from "../../src/envoy/call.ts";
import { askOf, type Seen, talkTo } from "./calls.ts";

type Failed = Seen & { readonly failures: unknown[] };
type Ask = ServerUnaryCall<Buffer, Buffer>;
type Reply = sendUnaryData<Buffer>;

/** Runs one stream against `talk`. */
async function call(talk: Talk<Buffer, Buffer>): Promise<Failed> {
  const failures: unknown[] = [];
  const seen = await talkTo((stream: Parameters<typeof serveStream<Buffer, Buffer>>[0]) =>
    serveStream(stream, talk, (error) => failures.push(error)),
  );
  return { ...seen, failures };
}

/** Runs one unary call against `answer`. */
async function ask(
  answer: (request: Buffer) => Promise<Buffer>,
  { deadlineMs = 10_000, cancelWhen = new Promise<void>(() => {}) } = {},
): Promise<Failed> {
  const failures: unknown[] = [];
  const failed = (error: unknown) => failures.push(error);
  const clock = systemClock();
  const handler = (asked: Ask, reply: Reply) =>
    serveUnary(asked, reply, { answer, clock, deadlineMs, failed });
  return { ...(await askOf(handler, { cancelWhen })), failures };
}

const latch = (): { readonly opened: Promise<void>; readonly open: () => void } => {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
};

describe("a streaming call", () => {
  it("ends OK when the peer has half-closed and everything is answered", async () => {
    const seen = await call(async (from, { send }) => {
      for await (const message of from) await send(Buffer.from(`${message}!`));
    });
    assert.deepEqual(seen, { code: Code.OK, details: "OK", replies: ["a!", "b!"], failures: [] });
  });

  it("never ends OK when the handler leaves before the peer is done", async () => {
    const seen = await call(async (from) => {
      for await (const _ of from) return;
    });
    assert.equal(seen.code, Code.INTERNAL);
    assert.equal(seen.failures.length, 1);
  });

  it("turns a throw into INTERNAL without its message", async () => {
    const seen = await call(async (from) => {
      for await (const message of from) throw new Error(`secret ${message}`);
    });
    assert.equal(seen.code, Code.INTERNAL);
    assert.equal(seen.details, "limen: internal error");
  });

  it("turns a broken protocol into INVALID_ARGUMENT", async () => {
    const seen = await call(async () => {
      throw new LimenError("protocol", { where: "w", what: "x", fix: "y" });
    });
    assert.equal(seen.code, Code.INVALID_ARGUMENT);
  });

  it("fails at once when told to, while the reader still waits for the peer", async () => {
    const seen = await call(async (from, { fail }) => {
      fail(new StatusError(Code.UNAVAILABLE, "limen: no verdict in time"));
      for await (const _ of from);
    });
    assert.equal(seen.code, Code.UNAVAILABLE);
    assert.equal(seen.details, "limen: no verdict in time");
    assert.equal(seen.failures.length, 1);
  });

  it("sends its status behind a reply that is still on its way", async () => {
    const seen = await call(async (from, { send, fail }) => {
      for await (const message of from) {
        void send(Buffer.from(`${message}!`));
        fail(new StatusError(Code.UNAVAILABLE, "limen: no verdict in time"));
      }
    });
    assert.equal(seen.code, Code.UNAVAILABLE);
    assert.deepEqual(seen.replies, ["a!"]);
    assert.equal(seen.failures.length, 1);
  });

  it("sends one status when it fails twice", async () => {
    const seen = await call(async (_from, { fail }) => {
      fail(new StatusError(Code.UNAVAILABLE, "first"));
      throw new Error("second");
    });
    assert.equal(seen.details, "first");
    assert.equal(seen.failures.length, 1);
  });
});

describe("a unary call", () => {
  it("is answered once with what was found", async () => {
    const seen = await ask(async (request) => Buffer.from(`${request}!`));
    assert.deepEqual(seen, { code: Code.OK, details: "OK", replies: ["a!"], failures: [] });
  });

  const throws: Readonly<Record<string, () => Promise<Buffer>>> = {
    "a rejection": async () => Promise.reject(new Error("secret a")),
    "a rejection after a while": async () => {
      await new Promise((resolve) => setImmediate(resolve));
      throw new Error("secret a");
    },
    "a throw before any promise": () => {
      throw new Error("secret a");
    },
    "an answer that cannot be written": async () => "no bytes" as unknown as Buffer,
  };
  for (const [what, answer] of Object.entries(throws)) {
    it(`turns ${what} into INTERNAL without its message`, async () => {
      const { code, details, replies } = await ask(answer);
      assert.deepEqual([code, replies], [Code.INTERNAL, []]);
      assert.doesNotMatch(details, /secret|no bytes/);
    });
  }

  it("turns a broken protocol into INVALID_ARGUMENT", async () => {
    const seen = await ask(async () => {
      throw new LimenError("protocol", { where: "w", what: "x", fix: "y" });
    });
    assert.deepEqual([seen.code, seen.details], [Code.INVALID_ARGUMENT, "limen: protocol error"]);
    assert.equal(seen.failures.length, 1);
  });

  it("fails at its deadline, and what comes later changes nothing", async () => {
    const late = latch();
    const seen = await ask(
      async () => {
        await late.opened;
        return Buffer.from("late");
      },
      { deadlineMs: 20 },
    );
    late.open();
    await late.opened;
    assert.deepEqual([seen.code, seen.details], [Code.UNAVAILABLE, "limen: no verdict in time"]);
    assert.deepEqual([seen.replies, seen.failures.length], [[], 1]);
  });

  it("has told its answer that nobody waits when others hear that it was late", async () => {
    const told: boolean[] = [];
    const handler = (asked: Ask, reply: Reply): void => {
      const { promise: heard, resolve } = Promise.withResolvers<AbortSignal>();
      serveUnary(asked, reply, {
        answer: (_, gone) => {
          resolve(gone);
          return new Promise(() => {});
        },
        clock: {
          ...systemClock(),
          after: (_, late) => {
            void heard.then(late); // at once, while the peer is still there
            return () => {};
          },
        },
        deadlineMs: 1,
        failed: () => void heard.then((gone) => told.push(gone.aborted)),
      });
    };
    assert.equal((await askOf(handler)).code, Code.UNAVAILABLE);
    assert.deepEqual(told, [true]);
  });

  it("ends what it began when the peer has gone, and says nothing of it", async () => {
    const begun = latch();
    const gone = latch();
    const ended = latch();
    const failures: unknown[] = [];
    const handler = (asked: Ask, reply: Reply): void => {
      asked.once("cancelled", gone.open);
      serveUnary(asked, reply, {
        answer: async () => {
          begun.open();
          await gone.opened;
          ended.open();
          throw new Error("nobody is told");
        },
        clock: systemClock(),
        deadlineMs: 10_000,
        failed: (error) => failures.push(error),
      });
    };
    const seen = await askOf(handler, { cancelWhen: begun.opened });
    assert.equal(seen.code, Code.CANCELLED);
    await ended.opened;
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(failures, []);
  });
});
