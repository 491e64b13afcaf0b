/** Frames of HTTP/2 (RFC 9113 sections 4 and 6), written and read byte by byte: right ones, and ones that no library sends. */
export const TYPE = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;
export const FLAG = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 32 } as const;
/** Error codes of section 7. */
export const ERROR = { NO_ERROR: 0, PROTOCOL_ERROR: 1, INTERNAL_ERROR: 2, CANCEL: 8 } as const;
export const SETTING = { HEADER_TABLE_SIZE: 1, INITIAL_WINDOW_SIZE: 4, MAX_FRAME_SIZE: 5 } as const;

export const PREFACE: Buffer = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const HEAD_BYTES = 9;

export type Frame = {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
};

export function frame(type: number, flags: number, stream: number, payload?: Uint8Array): Buffer {
  const length = payload?.length ?? 0;
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + length);
  bytes.writeUIntBE(length, 0, 3);
  bytes.writeUInt8(type, 3);
  bytes.writeUInt8(flags, 4);
  bytes.writeUInt32BE(stream, 5);
  if (payload !== undefined) bytes.set(payload, HEAD_BYTES);
  return bytes;
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const settings = (entries: readonly (readonly [id: number, value: number])[]): Buffer =>
  frame(
    TYPE.SETTINGS,
    0,
    0,
    Buffer.concat(entries.map(([id, value]) => Buffer.concat([Buffer.of(0, id), uint32(value)]))),
  );
export const resetFrame = (stream: number, code: number): Buffer =>
  frame(TYPE.RST_STREAM, 0, stream, uint32(code));
export const windowUpdate = (stream: number, bytes: number): Buffer =>
  frame(TYPE.WINDOW_UPDATE, 0, stream, uint32(bytes));
/** @param padding bytes of zeros behind the data; undefined leaves even their length out */
export const dataFrame = (stream: number, data: Uint8Array, flags = 0, padding?: number): Buffer =>
  padding === undefined
    ? frame(TYPE.DATA, flags, stream, data)
    : frame(
        TYPE.DATA,
        flags | FLAG.PADDED,
        stream,
        Buffer.concat([Buffer.of(padding), data, Buffer.alloc(padding)]),
      );

/** The bytes of DATA, HEADERS without their padding and priority. */
export function contentOf({ type, flags, payload }: Frame): Buffer {
  const padded = (flags & FLAG.PADDED) !== 0;
  const priority = type === TYPE.HEADERS && (flags & FLAG.PRIORITY) !== 0;
  const start = (padded ? 1 : 0) + (priority ? 5 : 0);
  return payload.subarray(start, payload.length - (padded ? (payload[0] ?? 0) : 0));
}

/** Bytes in, frames out, however they are cut. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);
  #preface: number;

  /** @param side whose frames these are: a client's begin with the preface */
  constructor(side: "client" | "server") {
    this.#preface = side === "client" ? PREFACE.length : 0;
  }

  push(chunk: Buffer): readonly Frame[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Frame[] = [];
    let at = 0;
    if (bytes.length >= this.#preface) {
      at = this.#preface;
      this.#preface = 0;
    }
    while (this.#preface === 0 && bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + bytes.readUIntBE(at, 3);
      if (bytes.length < end) break;
      frames.push({
        type: bytes.readUInt8(at + 3),
        flags: bytes.readUInt8(at + 4),
        stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
        payload: bytes.subarray(at + HEAD_BYTES, end),
      });
      at = end;
    }
    this.#rest = bytes.subarray(at);
    return frames;
  }
}

/** gRPC's length-prefixed messages (5 bytes before each), however they are cut. */
export class MessageReader {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): readonly Buffer[] {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: Buffer[] = [];
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const end = 5 + bytes.readUInt32BE(1);
      messages.push(bytes.subarray(5, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
    return messages;
  }
}

/** @param flag 1 says that the message is compressed */
export const grpcFrame = (message: Uint8Array, flag = 0): Buffer =>
  Buffer.concat([Buffer.of(flag), uint32(message.length), message]);
