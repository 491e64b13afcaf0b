/**
 * A second reading of ext_proc messages, by google-protobuf's reader and the numbers of Envoy's published files,
 * written down here once more: if `proto/` has a wrong number or type, the two readings differ.
 */
import protobuf from "google-protobuf";

type Reader = InstanceType<typeof protobuf.BinaryReader>;
type FieldType = "string" | "bytes" | "bool" | "enum" | "int32" | { readonly message: Schema };
export type Schema = () => Readonly<
  Record<number, readonly [name: string, type: FieldType, many?: "many"]>
>;

export const sub = (message: Schema): FieldType => ({ message });

const headerValue: Schema = () => ({ 1: ["key", "string"], 3: ["raw_value", "bytes"] });
const headerMap: Schema = () => ({ 1: ["headers", sub(headerValue), "many"] });
const httpHeaders: Schema = () => ({
  1: ["headers", sub(headerMap)],
  3: ["end_of_stream", "bool"],
});
const httpBody: Schema = () => ({ 1: ["body", "bytes"], 2: ["end_of_stream", "bool"] });
const httpTrailers: Schema = () => ({ 1: ["trailers", sub(headerMap)] });
const value: Schema = () => ({ 3: ["string", "string"], 5: ["struct", sub(struct)] });
const structEntry: Schema = () => ({ 1: ["key", "string"], 2: ["value", sub(value)] });
const struct: Schema = () => ({ 1: ["fields", sub(structEntry), "many"] });
const attributesEntry: Schema = () => ({ 1: ["key", "string"], 2: ["value", sub(struct)] });
const metadata: Schema = () => ({ 1: ["filter_metadata", sub(attributesEntry), "many"] });
const protocolConfig: Schema = () => ({
  1: ["request_body_mode", "enum"],
  2: ["response_body_mode", "enum"],
});
const mode: Schema = () => ({
  1: ["request_header_mode", "enum"],
  2: ["response_header_mode", "enum"],
  3: ["request_body_mode", "enum"],
  4: ["response_body_mode", "enum"],
  5: ["request_trailer_mode", "enum"],
  6: ["response_trailer_mode", "enum"],
});
export const boolValue: Schema = () => ({ 1: ["value", "bool"] });
const headerValueOption: Schema = () => ({
  1: ["header", sub(headerValue)],
  2: ["append", sub(boolValue)],
  3: ["append_action", "enum"],
});
const headerMutation: Schema = () => ({
  1: ["set_headers", sub(headerValueOption), "many"],
  2: ["remove_headers", "string", "many"],
});
const streamedResponse: Schema = () => ({ 1: ["body", "bytes"], 2: ["end_of_stream", "bool"] });
const bodyMutation: Schema = () => ({
  1: ["body", "bytes"],
  2: ["clear_body", "bool"],
  3: ["streamed_response", sub(streamedResponse)],
});
const common: Schema = () => ({
  2: ["header_mutation", sub(headerMutation)],
  3: ["body_mutation", sub(bodyMutation)],
});
const inner: Schema = () => ({ 1: ["response", sub(common)] });
const trailersResponse: Schema = () => ({ 1: ["header_mutation", sub(headerMutation)] });
export const httpStatus: Schema = () => ({ 1: ["code", "int32"] });
const immediate: Schema = () => ({
  1: ["status", sub(httpStatus)],
  2: ["headers", sub(headerMutation)],
  3: ["body", "bytes"],
  5: ["details", "string"],
});

const processingRequest: Schema = () => ({
  2: ["request_headers", sub(httpHeaders)],
  3: ["response_headers", sub(httpHeaders)],
  4: ["request_body", sub(httpBody)],
  5: ["response_body", sub(httpBody)],
  6: ["request_trailers", sub(httpTrailers)],
  7: ["response_trailers", sub(httpTrailers)],
  8: ["metadata_context", sub(metadata)],
  9: ["attributes", sub(attributesEntry), "many"],
  10: ["observability_mode", "bool"],
  11: ["protocol_config", sub(protocolConfig)],
});
const processingResponse: Schema = () => ({
  1: ["request_headers", sub(inner)],
  2: ["response_headers", sub(inner)],
  3: ["request_body", sub(inner)],
  4: ["response_body", sub(inner)],
  5: ["request_trailers", sub(trailersResponse)],
  6: ["response_trailers", sub(trailersResponse)],
  7: ["immediate_response", sub(immediate)],
  9: ["mode_override", sub(mode)],
});

export type Decoded = { [field: string]: unknown };

function readScalar(reader: Reader, type: Exclude<FieldType, object>): unknown {
  switch (type) {
    case "string":
      return reader.readString();
    case "bytes":
      return Buffer.from(reader.readBytes()).toString("latin1");
    case "bool":
      return reader.readBool();
    case "enum":
      return reader.readEnum();
    case "int32":
      return reader.readInt32();
  }
}

function readMessage(reader: Reader, schema: Schema): Decoded {
  const fields = schema();
  const decoded: Decoded = {};
  while (reader.nextField() && !reader.isEndGroup()) {
    const field = fields[reader.getFieldNumber()];
    if (field === undefined) {
      reader.skipField();
      continue;
    }
    const [name, type, many] = field;
    let read: unknown;
    if (typeof type === "string") read = readScalar(reader, type);
    else {
      reader.readMessage({} as never, () => {
        read = readMessage(reader, type.message);
      });
    }
    if (many === "many") decoded[name] = [...((decoded[name] as unknown[]) ?? []), read];
    else decoded[name] = read;
  }
  return decoded;
}

export const decodeWith =
  (schema: Schema) =>
  (bytes: Uint8Array): Decoded =>
    readMessage(new protobuf.BinaryReader(bytes), schema);

export const readRequest = decodeWith(processingRequest);
export const readResponse = decodeWith(processingResponse);
