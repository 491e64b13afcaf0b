/**
 * What grpc-js does with handlers written in the obvious way: the reasons for `call.ts`. If one of these fails after
 * an update, the library has changed, and so may the wrapper.
 */
import assert from "node:assert/strict";
import {
  status as Code,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
} from "@grpc/grpc-js";
import { askOf, talkTo } from "./calls.ts";

type Stream = ServerDuplexStream<Buffer, Buffer>;
type Ask = ServerUnaryCall<Buffer, Buffer>;
type Reply = sendUnaryData<Buffer>;

/** Long enough for a loopback answer, were there one. */
const PATIENCE = { deadlineMs: 250 };
const INTERNAL = { code: Code.INTERNAL, details: "fixed text" };

/** Runs `run`, and counts the rejections that nobody handles: in a process of ours, one would be the end. */
async function rejections(run: () => Promise<void>): Promise<number> {
  const others = process.listeners("unhandledRejection");
  let count = 0;
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", () => {
    count += 1;
  });
  try {
    await run();
  } finally {
    process.removeAllListeners("unhandledRejection");
    for (const other of others) process.on("unhandledRejection", other);
  }
  return count;
}

describe("grpc-js leaves a peer waiting for ever", () => {
  const streams: Readonly<Record<string, { escapes: number; handler: (call: Stream) => void }>> = {
    "a listener for messages throws": {
      escapes: 1,
      handler: (call) => {
        call.once("data", () => {
          throw new Error("from a listener");
        });
      },
    },
    "an async listener rejects": {
      escapes: 1,
      handler: (call) => {
        call.once("data", async () => {
          throw new Error("from an async listener");
        });
      },
    },
    "the default iterator is left and the failure is sent after it": {
      escapes: 0,
      handler: (call) => {
        const run = async (): Promise<void> => {
          for await (const _ of call) break;
          call.emit("error", INTERNAL);
        };
        void run();
      },
    },
    "the call is destroyed with an error": {
      escapes: 0,
      handler: (call) => {
        call.on("error", () => {});
        call.destroy(new Error("destroyed"));
      },
    },
  };
  for (const [shape, { escapes, handler }] of Object.entries(streams)) {
    it(`when ${shape}`, async () => {
      const escaped = await rejections(async () => {
        const { code } = await talkTo(handler, PATIENCE);
        assert.equal(code, Code.DEADLINE_EXCEEDED);
      });
      assert.equal(escaped, escapes);
    });
  }

  it("when an async unary handler rejects", async () => {
    const escaped = await rejections(async () => {
      const { code } = await askOf(async () => {
        throw new Error("from a handler");
      }, PATIENCE);
      assert.equal(code, Code.DEADLINE_EXCEEDED);
    });
    assert.equal(escaped, 1);
  });
});

describe("grpc-js answers", () => {
  it("OK when the default iterator is read to its end: on Node 20 this one hung as well", async () => {
    const seen = await talkTo((call: Stream) => {
      const run = async (): Promise<void> => {
        for await (const _ of call);
        call.end();
      };
      void run();
    });
    assert.equal(seen.code, Code.OK);
  });

  it("OK when an iterator that does not destroy the call is read to its end", async () => {
    const seen = await talkTo((call: Stream) => {
      const run = async (): Promise<void> => {
        for await (const _ of call.iterator({ destroyOnReturn: false }));
        call.end();
      };
      void run();
    });
    assert.equal(seen.code, Code.OK);
  });

  it("with the status that is emitted after such an iterator was left", async () => {
    const seen = await talkTo((call: Stream) => {
      const run = async (): Promise<void> => {
        for await (const _ of call.iterator({ destroyOnReturn: false })) break;
        call.emit("error", INTERNAL);
      };
      void run();
    });
    assert.deepEqual([seen.code, seen.details], [Code.INTERNAL, INTERNAL.details]);
  });

  it("OK to a stream that is ended with a message unanswered: to Envoy, go on without me", async () => {
    const seen = await talkTo((call: Stream) => {
      call.once("data", () => call.end());
    });
    assert.deepEqual([seen.code, seen.replies], [Code.OK, []]);
  });

  it("UNKNOWN when a unary handler throws at once", async () => {
    const seen = await askOf(() => {
      throw new Error("from a handler");
    });
    assert.equal(seen.code, Code.UNKNOWN);
  });

  it("INTERNAL when a unary answer cannot be written", async () => {
    const seen = await askOf((_: Ask, reply: Reply) => reply(null, "no bytes" as never));
    assert.equal(seen.code, Code.INTERNAL);
  });
});
