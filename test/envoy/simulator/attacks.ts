/**
 * Bytes that nobody should send to a gRPC port, by seed: broken HTTP/2, known abuses of right HTTP/2, and right
 * HTTP/2 with rubbish for messages. No exchange among them is one that the policy of the server under attack is for.
 */
import { once } from "node:events";
import { openCall, socketTo } from "./connection.ts";
import {
  dataFrame,
  FLAG,
  frame,
  grpcFrame,
  PREFACE,
  resetFrame,
  SETTING,
  settings,
  TYPE,
  windowUpdate,
} from "./frames.ts";
import { bodyMessage, protocolConfig } from "./messages.ts";
import { ANSWER_JSON, answerHead, BUFFERED, chatHead, localReply, prompt } from "./phrases.ts";
import type { Random } from "./random.ts";

/** What one connection sends. */
type Attack = (random: Random) => readonly Uint8Array[];

const LAST_WORDS_MS = 200;
const hello: readonly Uint8Array[] = [PREFACE, settings([])];
const id = (index: number): number => index * 2 + 1;
const times = <T>(count: number, make: (index: number) => T): readonly T[] =>
  Array.from({ length: count }, (_, index) => make(index));

const conversation: readonly Buffer[] = [
  chatHead(),
  prompt,
  answerHead(),
  bodyMessage("response", ANSWER_JSON, true),
  localReply("413", "request_payload_too_large"),
  protocolConfig(BUFFERED),
];
/** A whole connection as Envoy would send it. */
const wellBehaved = Buffer.concat([
  ...hello,
  windowUpdate(0, 1 << 20),
  ...times(3, (index) => [
    openCall(id(index)),
    ...conversation.slice(0, 4).map((message) => dataFrame(id(index), grpcFrame(message))),
    dataFrame(id(index), new Uint8Array(0), FLAG.END_STREAM),
    resetFrame(id(index), 0),
  ]).flat(),
]);

/** A message that protobuf can read: fields in any order and nesting, lengths that are right. */
function message(random: Random, depth = 4): Buffer {
  const fields = times(random.int(5), () => {
    const field = 1 + random.int(14);
    const content =
      depth > 0 && random.int(3) > 0 ? message(random, depth - 1) : random.bytes(random.int(20));
    return random.int(4) === 0
      ? Buffer.of(field * 8, random.int(128))
      : Buffer.concat([Buffer.of(field * 8 + 2, content.length & 127), content.subarray(0, 127)]);
  });
  return Buffer.concat(fields).subarray(0, 127 * (depth + 1));
}

export const ATTACKS: Readonly<Record<string, Attack>> = {
  "no HTTP/2 at all": (random) => [random.bytes(4_096)],
  "half a preface": (random) => [PREFACE.subarray(0, random.int(PREFACE.length))],
  "frames at random": (random) => [
    ...hello,
    ...times(100, () =>
      frame(random.int(12), random.int(256), random.int(8), random.bytes(random.int(64))),
    ),
  ],
  "a good connection, damaged": (random) => [random.mutate(wellBehaved, 6)],
  "messages at random": (random) => [
    ...hello,
    ...times(40, (index) => {
      const first =
        random.int(2) === 0
          ? Buffer.concat([message(random), protocolConfig(BUFFERED)])
          : chatHead();
      const more = times(random.int(5), () =>
        random.int(2) === 0 ? message(random) : random.mutate(random.pick(conversation), 3),
      );
      return Buffer.concat([
        openCall(id(index)),
        ...[first, ...more].map((one) =>
          dataFrame(id(index), grpcFrame(one, random.int(16) === 0 ? 1 : 0)),
        ),
        random.int(2) === 0 ? resetFrame(id(index), random.int(14)) : Buffer.alloc(0),
      ]);
    }),
  ],
  "lengths that lie": (random) => [
    ...hello,
    ...times(100, (index) => {
      const lie = grpcFrame(chatHead());
      lie.writeUInt32BE(random.pick([0, 1, 0x7fffffff, 0xffffffff, random.int(2 ** 22)]), 1);
      return Buffer.concat([openCall(id(index)), dataFrame(id(index), lie)]);
    }),
  ],
  "a flood of settings": (random) => [
    ...hello,
    ...times(3_000, () => settings([[1 + random.int(6), random.int(1 << 14)]])),
  ],
  "a flood of pings": (random) => [
    ...hello,
    ...times(5_000, () => frame(TYPE.PING, 0, 0, random.bytes(8))),
  ],
  "a header that never ends": (random) => [
    ...hello,
    frame(TYPE.HEADERS, 0, 1, random.bytes(1_000)),
    ...times(2_000, () => frame(TYPE.CONTINUATION, 0, 1, Buffer.alloc(1_000, 0x40))),
  ],
  "a flood of empty continuations": () => [
    ...hello,
    frame(TYPE.HEADERS, 0, 1),
    ...times(5_000, () => frame(TYPE.CONTINUATION, 0, 1)),
  ],
  "resets at once": () => [
    ...hello,
    ...times(5_000, (index) => Buffer.concat([openCall(id(index)), resetFrame(id(index), 8)])),
  ],
  "streams that ask and never read": () => [
    PREFACE,
    settings([[SETTING.INITIAL_WINDOW_SIZE, 0]]),
    ...times(500, (index) =>
      Buffer.concat([openCall(id(index)), dataFrame(id(index), grpcFrame(chatHead()))]),
    ),
  ],
  "windows that overflow": (random) => [
    ...hello,
    openCall(1),
    ...times(50, () => windowUpdate(random.int(2), random.pick([0, 1, 0x7fffffff]))),
  ],
  "windows that open by single bytes": () => [
    PREFACE,
    settings([[SETTING.INITIAL_WINDOW_SIZE, 1]]),
    openCall(1),
    dataFrame(1, grpcFrame(chatHead())),
    ...times(3_000, () => windowUpdate(1, 1)),
  ],
  "a header that unpacks to much more": () => {
    const name = Buffer.concat([
      Buffer.of(0x40, 1, 0x78, 0x7f, 0xa9, 0x1e),
      Buffer.alloc(4_008, 0x61),
    ]);
    // Index 62, the entry just made, once per byte.
    const bomb = Buffer.concat([name, Buffer.alloc(12_000, 0xbe)]);
    return [
      ...hello,
      ...times(50, (index) => frame(TYPE.HEADERS, FLAG.END_HEADERS, id(index), bomb)),
    ];
  },
  "empty data without end": () => [
    ...hello,
    openCall(1),
    ...times(5_000, () => dataFrame(1, new Uint8Array(0))),
    ...times(2_000, () => dataFrame(1, new Uint8Array(0), 0, 255)),
  ],
  "priorities and unknown frames": (random) => [
    ...hello,
    ...times(3_000, (index) => frame(TYPE.PRIORITY, 0, id(index), random.bytes(5))),
    ...times(1_000, () =>
      frame(16 + random.int(200), random.int(256), random.int(9), random.bytes(30)),
    ),
  ],
};

/** Sends all of it as fast as the server reads, and leaves. @returns when the connection is gone */
export async function attack(address: string, bytes: readonly Uint8Array[]): Promise<void> {
  const socket = socketTo(address);
  socket.on("error", () => undefined); // the server may hang up at any byte
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.resume();
  for (const part of bytes) {
    if (socket.destroyed) break;
    if (!socket.write(part))
      await Promise.race([closed, once(socket, "drain").catch(() => undefined)]);
  }
  socket.end();
  const late = setTimeout(() => socket.destroy(), LAST_WORDS_MS);
  await closed;
  clearTimeout(late);
}
