import assert from "node:assert/strict";
import { _iterSSEMessages as anthropicEvents } from "@anthropic-ai/sdk/core/streaming";
import fc from "fast-check";
import { _iterSSEMessages as openaiEvents } from "openai/core/streaming";
import { type SseFrame, SseFramer, withData } from "../../../src/llm/framing/sse.ts";

const bytes = (text: string): Uint8Array => Buffer.from(text, "utf8");
const LIMIT = 4096;

function framesOf(chunks: readonly Uint8Array[], limit = LIMIT): readonly SseFrame[] {
  const framer = new SseFramer(limit);
  const frames: SseFrame[] = [];
  for (const chunk of chunks) {
    const pushed = framer.push(chunk);
    assert.ok(pushed.ok, "the fixture must be readable");
    frames.push(...pushed.value);
  }
  const last = framer.end();
  assert.ok(last.ok);
  return [...frames, ...last.value];
}
const plain = (frames: readonly SseFrame[]) =>
  frames.map(({ raw, event, data }) => ({ raw: Buffer.from(raw).toString("hex"), event, data }));
const dataOf = (text: string): readonly (string | undefined)[] =>
  framesOf([bytes(text)]).map(({ data }) => data);

/** `whole` cut at the given places. */
const cutAt = (whole: Uint8Array, places: readonly number[]): readonly Uint8Array[] => {
  const borders = [...new Set(places.map((place) => place % (whole.length + 1)))].sort(
    (a, b) => a - b,
  );
  return [0, ...borders].map((from, at) => whole.subarray(from, borders[at]));
};

describe("SSE frames", () => {
  const rows: readonly (readonly [string, string, readonly (string | undefined)[]])[] = [
    ["one space after the colon is not value", "data: a\n\n", ["a"]],
    ["no space after the colon", "data:a\n\n", ["a"]],
    ["the second space is value", "data:  a\n\n", [" a"]],
    ["several data lines join with LF", "data: a\ndata\ndata: b\n\n", ["a\n\nb"]],
    ["comments are no data", ": hello\n\ndata: a\n: x\n\n", [undefined, "a"]],
    ["CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", ["a", "b"]],
    ["CR", "data: a\r\rdata: b\r\r", ["a", "b"]],
    ["line ends mixed", "data: a\r\n\ndata: b\n\r\ndata: c\r\n\r", ["a", "b", "c"]],
    ["an unterminated last frame", "data: a\n\ndata: b", ["a", "b"]],
    ["a last frame without its blank line", "data: a\n", ["a"]],
    ["a byte order mark at the start", "\ufeffdata: a\n\n", [undefined, "a"]],
    ["blank lines between frames", "\n\ndata: a\n\n\n\ndata: b\n\n", ["a", "b"]],
    ["other fields", "id: 1\nretry: 5\nid\n\n", [undefined]],
    ["nothing but a byte order mark", "\ufeff", [undefined]],
    ["a mark in the middle of a line", "data: \ufeff\n\n: \ufeff\n\n", ["\ufeff", undefined]],
    ["nothing", "", []],
  ];
  for (const [what, text, want] of rows) {
    it(`read: ${what}`, () => assert.deepEqual(dataOf(text), want));
  }

  const unknown: readonly (readonly [string, string])[] = [
    ["a byte order mark before a field", "\ufeffdata: b\n\n"],
    ["a byte order mark before a comment", "\ufeff: b\n\n"],
    ["a byte order mark alone, a blank line to some", "data: b\n\ufeff\ndata: c\n\n"],
    ["a byte order mark as the last line", "\ufeff"],
    ["a name of no field", "nonsense\n\n"],
    ["a longer name", "datax: b\n\n"],
    ["a space before the colon", "data : b\n\n"],
    ["a space before the name", " data: b\n\n"],
    ["another case", "Data: b\n\n"],
    ["a zero byte in the name", "data\0: b\n\n"],
    ["a body that is no stream", '{"choices":[]}'],
  ];
  for (const [what, line] of unknown) {
    it(`are unknown_shape behind what came before: ${what}`, () => {
      const framer = new SseFramer(LIMIT);
      const pushed = framer.push(bytes(`data: a\n\n${line}`));
      assert.deepEqual(pushed.ok && pushed.value.map(({ data }) => data), ["a"]);
      assert.deepEqual(framer.end(), { ok: false, cause: "unknown_shape" });
    });
  }

  it("begin with one byte order mark at most", () => {
    const framer = new SseFramer(LIMIT);
    assert.equal(framer.push(bytes("\ufeff\ufeffdata: a\n\n")).ok, true);
    assert.deepEqual(framer.end(), { ok: false, cause: "unknown_shape" });
  });

  it("have the last event name", () => {
    const [named, unnamed] = framesOf([
      bytes("event: x\nevent: y\ndata: 1\n\nevent:\ndata: 2\n\n"),
    ]);
    assert.equal(named?.event, "y");
    assert.equal(unnamed?.event, undefined);
  });

  const lines = fc.constantFrom(
    ...["data: é😀", "data:x", "data", ": c", "event: e", "id: 7", "", "", "data: \ufeff"],
  );
  const ends = fc.constantFrom("\n", "\r\n", "\r");
  const stream = fc
    .tuple(fc.constantFrom("", "\ufeff"), fc.array(fc.tuple(lines, ends), { maxLength: 24 }))
    .map(([mark, parts]) => bytes(mark + parts.flat().join("")));

  it("are the same however the bytes are cut, and are the bytes", () => {
    let seen = 0;
    fc.assert(
      fc.property(stream, fc.array(fc.nat(), { maxLength: 12 }), (whole, places) => {
        const frames = framesOf([whole]);
        seen += frames.length;
        assert.deepEqual(plain(framesOf(cutAt(whole, places))), plain(frames));
        assert.deepEqual(
          plain(framesOf([...whole].map((byte) => Uint8Array.of(byte)))),
          plain(frames),
        );
        assert.deepEqual(Buffer.concat(frames.map(({ raw }) => raw)), Buffer.from(whole));
      }),
    );
    assert.ok(seen > 100, "the streams must hold frames");
  });

  it("leave as soon as the blank line is complete", () => {
    const framer = new SseFramer(LIMIT);
    const count = (text: string): number => {
      const pushed = framer.push(bytes(text));
      return pushed.ok ? pushed.value.length : -1;
    };
    const rows = [
      ["data: a\n", 0],
      ["\n", 1],
      ["data: b\r\n", 0],
      ["\r", 0], // a client waits for the LF too
      ["\n", 1],
      ["data: c\r", 0],
      ["\r", 1],
      ["data: d\r\n", 0],
      ["\r", 0],
      ["d", 1], // no LF: the frame ended before this byte
    ] as const;
    for (const [text, want] of rows) assert.equal(count(text), want, JSON.stringify(text));
  });

  const bounds = [
    { what: "terminated", text: `data: ${"x".repeat(56)}\n\n`, limit: 64, ok: true },
    { what: "terminated", text: `data: ${"x".repeat(57)}\n\n`, limit: 64, ok: false },
    { what: "unterminated", text: ":".repeat(64), limit: 64, ok: true },
    { what: "unterminated", text: ":".repeat(65), limit: 64, ok: false },
    { what: "nothing but blank lines", text: "\n".repeat(65), limit: 64, ok: false },
  ];
  for (const { what, text, limit, ok } of bounds) {
    it(`of ${text.length} bytes, ${what}, are ${ok ? "taken" : "hold_exceeded"} under ${limit}`, () => {
      for (const chunks of [[bytes(text)], [...text].map(bytes)]) {
        const framer = new SseFramer(limit);
        const results = chunks.map((chunk) => framer.push(chunk));
        const last = results.at(-1);
        assert.equal(last?.ok, ok);
        if (!last?.ok) assert.equal(last?.cause, "hold_exceeded");
        assert.equal(framer.end().ok, ok);
      }
    });
  }

  it("that are no UTF-8 are malformed_json, and so is all that follows", () => {
    const framer = new SseFramer(LIMIT);
    const broken = [...bytes("data: "), 0xff, 0x0a, 0x0a];
    assert.deepEqual(framer.push(Uint8Array.from(broken)), { ok: false, cause: "malformed_json" });
    assert.deepEqual(framer.push(bytes("data: a\n\n")), { ok: false, cause: "malformed_json" });
    assert.deepEqual(framer.end(), { ok: false, cause: "malformed_json" });
  });

  it("before a refused one come in any case, and the cause after them", () => {
    for (const bad of [[0x61, 0xff, 0x0a, 0x0a], new Array(LIMIT + 1).fill(0x61)]) {
      const framer = new SseFramer(LIMIT);
      const pushed = framer.push(Uint8Array.from([...bytes("data: a\n\n"), ...bad]));
      assert.deepEqual(pushed.ok && pushed.value.map(({ data }) => data), ["a"]);
      assert.equal(framer.push(bytes("")).ok, false);
      assert.equal(framer.end().ok, false);
    }
  });

  it("do not share memory with a chunk that is used again", () => {
    const framer = new SseFramer(LIMIT);
    const chunk = Buffer.from("data: a");
    framer.push(chunk);
    chunk.fill("x");
    const pushed = framer.push(bytes("\n\n"));
    assert.equal(pushed.ok && pushed.value[0]?.data, "a");
  });

  it("of a megabyte in single bytes cost linear time", () => {
    const framer = new SseFramer(1 << 20);
    const one = Uint8Array.of(0x78);
    const started = process.hrtime.bigint();
    for (let at = 0; at < 1 << 20; at += 1) framer.push(one);
    const ms = Number(process.hrtime.bigint() - started) / 1e6;
    assert.ok(ms < 3000, `${ms} ms`); // quadratic copying would take minutes
  });
});

describe("the official clients' decoders", () => {
  const clients = [
    ["openai", openaiEvents],
    ["anthropic", anthropicEvents],
  ] as const;
  const line = fc.constantFrom(
    ...["data: 1", "data:2", "data", "data: \ufeff", "event: e", "event:", "id: 1", ": c", "", ""],
    ...["\ufeff", "\ufeffdata: 3", "\ufeffevent: f", "\ufeff\ufeffdata: 4", "\ufeff: c"],
    ...["data : 5", " data: 6", "DATA: 7", "data\0: 8", "\u2028data: 9", "\vdata: 10", "\x85"],
  );
  // Most streams would end at the first odd line.
  const plainLine = fc.constantFrom("data: 1", "data:2", "event: e", "event:", ": c", "", "", "");
  const end = fc.constantFrom("\n", "\n", "\r\n", "\r");
  const lines = fc.tuple(fc.oneof({ weight: 29, arbitrary: plainLine }, line), end);
  const streams = fc.tuple(fc.constantFrom("", "\ufeff"), fc.array(lines, { maxLength: 20 }));

  for (const [name, decode] of clients) {
    it(`see no other events in what leaves than we do: ${name}`, async () => {
      let seen = 0;
      const property = fc.asyncProperty(streams, async ([mark, parts]) => {
        const framer = new SseFramer(LIMIT);
        const frames: SseFrame[] = [];
        for (const step of [framer.push(bytes(mark + parts.flat().join(""))), framer.end()]) {
          if (step.ok) frames.push(...step.value);
        }
        const left = Buffer.concat(frames.map(({ raw }) => raw));
        const ours = frames.filter(({ data }) => data !== undefined);
        const theirs: unknown[] = [];
        for await (const event of decode(new Response(left), new AbortController())) {
          // An event without data is nothing to either client.
          if (event.data !== "") theirs.push([event.event || undefined, event.data]);
        }
        seen += theirs.length;
        // One client leaves an unterminated last event unread.
        const known = ours
          .filter(({ data }) => data !== "")
          .map(({ event, data }) => [event, data]);
        assert.deepEqual(theirs, known.slice(0, theirs.length));
        assert.ok(known.length - theirs.length <= 1);
      });
      await fc.assert(property, { numRuns: 500 });
      assert.ok(seen > 100, "the streams must hold events");
    });
  }
});

describe("new data in a frame", () => {
  const rewrite = (text: string, data: string): string => {
    const [frame] = framesOf([bytes(text)]);
    assert.ok(frame);
    return Buffer.from(withData(frame, data)).toString();
  };
  const rows: readonly (readonly [string, string, string])[] = [
    ["data: a\n\n", "b", "data: b\n\n"],
    ["data:a\r\r", "b", "data:b\r\r"],
    ["id: 1\r\nevent: e\r\ndata: a\r\n: c\r\n\r", "b", "id: 1\r\nevent: e\r\ndata: b\r\n: c\r\n\r"],
    ["data: a\ndata: b\nid: 9\n\n", "c", "data: c\nid: 9\n\n"],
    ["data: a\ndata: b\n\n", "c\nd", "data: c\ndata: d\n\n"],
    ["data: a", "b", "data: b"],
    ["data: a\ndata: b", "c\nd", "data: c\ndata: d\n"],
    [": c\n\n", "b", ": c\n\n"],
  ];
  for (const [text, data, want] of rows) {
    it(`turns ${JSON.stringify(text)} into ${JSON.stringify(want)}`, () => {
      assert.equal(rewrite(text, data), want);
    });
  }

  it("reads back as that data, with the other fields as they were", () => {
    const fields = fc.array(fc.constantFrom("event: e", ": c", "id: 7", "data: old", "data"), {
      minLength: 1,
      maxLength: 5,
    });
    const text = fc.array(fc.constantFrom("a", "é", " ", ":", "\n"), { maxLength: 8 });
    fc.assert(
      fc.property(fields, text, fc.constantFrom("\n", "\r\n"), (lines, letters, end) => {
        fc.pre(lines.some((line) => line.startsWith("data")));
        const [frame] = framesOf([bytes(lines.map((line) => line + end).join("") + end)]);
        assert.ok(frame);
        const data = letters.join("");
        const [again] = framesOf([withData(frame, data)]);
        assert.equal(again?.data, data);
        assert.equal(again?.event, frame.event);
      }),
    );
  });
});
