/**
 * Envoy's messages of ext_proc, written by field number (envoy.service.ext_proc.v3, external_processor.proto): no
 * schema is loaded, so that a wrong number in `proto/` cannot hide behind the same number here.
 */
const varint = (value: number): Buffer => {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  return Buffer.from([...bytes, rest]);
};

/** A field of wire type 0. */
const number = (field: number, value: number): Buffer =>
  Buffer.concat([varint(field * 8), varint(value)]);
/** A field of wire type 2: a message, a string, bytes. */
const bytes = (field: number, value: Uint8Array | string): Buffer => {
  const content = Buffer.from(value);
  return Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
};
const flag = (field: number, value: boolean): Buffer =>
  value ? number(field, 1) : Buffer.alloc(0);

/** BodySendMode (processing_mode.proto). */
const MODES = {
  NONE: 0,
  STREAMED: 1,
  BUFFERED: 2,
  BUFFERED_PARTIAL: 3,
  FULL_DUPLEX_STREAMED: 4,
  GRPC: 5,
} as const;
type BodyMode = keyof typeof MODES;
export type Modes = { readonly request: BodyMode; readonly response: BodyMode };

type HeaderFields = Readonly<Record<string, string>>;
export type Direction = "request" | "response";

/** Numbers of the oneof `request`. */
const HEADERS = { request: 2, response: 3 } as const;
const BODY = { request: 4, response: 5 } as const;
const TRAILERS = { request: 6, response: 7 } as const;

const headerMap = (headers: HeaderFields): Buffer =>
  Buffer.concat(
    Object.entries(headers).map(([key, value]) =>
      bytes(1, Buffer.concat([bytes(1, key), bytes(3, Buffer.from(value, "latin1"))])),
    ),
  );

/** map<string, Struct> with Envoy's one key; every value is a string. */
const attributes = (fields: HeaderFields): Buffer => {
  const entries = Object.entries(fields).map(([name, value]) =>
    bytes(1, Buffer.concat([bytes(1, name), bytes(2, bytes(3, value))])),
  );
  const struct = Buffer.concat(entries);
  return bytes(9, Buffer.concat([bytes(1, "envoy.filters.http.ext_proc"), bytes(2, struct)]));
};

/** Said in a stream's first message from Envoy 1.34 on. */
export const protocolConfig = ({ request, response }: Modes): Buffer =>
  bytes(11, Buffer.concat([number(1, MODES[request]), number(2, MODES[response])]));

export type HeadersOptions = {
  readonly endOfStream?: boolean;
  readonly attributes?: HeaderFields;
  readonly modes?: Modes | undefined;
};

export const headersMessage = (
  direction: Direction,
  headers: HeaderFields,
  options: HeadersOptions = {},
): Buffer =>
  Buffer.concat([
    bytes(
      HEADERS[direction],
      Buffer.concat([bytes(1, headerMap(headers)), flag(3, options.endOfStream === true)]),
    ),
    options.attributes === undefined ? Buffer.alloc(0) : attributes(options.attributes),
    options.modes === undefined ? Buffer.alloc(0) : protocolConfig(options.modes),
  ]);

export const bodyMessage = (
  direction: Direction,
  body: Uint8Array | string,
  endOfStream = false,
): Buffer => bytes(BODY[direction], Buffer.concat([bytes(1, body), flag(2, endOfStream)]));

export const trailersMessage = (direction: Direction, trailers: HeaderFields = {}): Buffer =>
  bytes(TRAILERS[direction], bytes(1, headerMap(trailers)));

/** A message that asks for no reply: observability_mode stands in each one. */
export const observed = (message: Buffer): Buffer => Buffer.concat([message, number(10, 1)]);

/** flow_control_init, which comes beside a oneof or alone, and client_window_update. */
export const flowControlInit: Buffer = bytes(12, number(1, 65_536));
export const clientWindowUpdate: Buffer = bytes(13, number(1, 4_096));
/** A field that no version has, of every wire type. */
export const unknownFields: Buffer = Buffer.concat([
  number(900, 7),
  bytes(901, "a field of tomorrow"),
  Buffer.concat([varint(902 * 8 + 5), Buffer.alloc(4, 1)]),
  Buffer.concat([varint(903 * 8 + 1), Buffer.alloc(8, 1)]),
]);
