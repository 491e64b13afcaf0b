/**
 * A second reading of ext_authz messages, by the numbers of Envoy's published files, written down here once more:
 * see ext-proc/second-decoder.ts.
 */
import { boolValue, decodeWith, httpStatus, type Schema, sub } from "../ext-proc/second-decoder.ts";

const headerValue: Schema = () => ({
  1: ["key", "string"],
  2: ["value", "string"],
  3: ["raw_value", "bytes"],
});
const headerMap: Schema = () => ({ 1: ["headers", sub(headerValue), "many"] });
const stringEntry: Schema = () => ({ 1: ["key", "string"], 2: ["value", "string"] });
const listValue: Schema = () => ({ 1: ["values", sub(value), "many"] });
const value: Schema = () => ({
  3: ["string", "string"],
  5: ["struct", sub(struct)],
  6: ["list", sub(listValue)],
});
const fieldEntry: Schema = () => ({ 1: ["key", "string"], 2: ["value", sub(value)] });
const struct: Schema = () => ({ 1: ["fields", sub(fieldEntry), "many"] });
const structEntry: Schema = () => ({ 1: ["key", "string"], 2: ["value", sub(struct)] });
const metadata: Schema = () => ({ 1: ["filter_metadata", sub(structEntry), "many"] });
const peer: Schema = () => ({ 4: ["principal", "string"] });
const httpRequest: Schema = () => ({
  2: ["method", "string"],
  3: ["headers", sub(stringEntry), "many"],
  4: ["path", "string"],
  11: ["body", "string"],
  12: ["raw_body", "bytes"],
  13: ["header_map", sub(headerMap)],
});
const request: Schema = () => ({ 2: ["http", sub(httpRequest)] });
const attributes: Schema = () => ({
  1: ["source", sub(peer)],
  4: ["request", sub(request)],
  10: ["context_extensions", sub(stringEntry), "many"],
  11: ["metadata_context", sub(metadata)],
});
const checkRequest: Schema = () => ({ 1: ["attributes", sub(attributes)] });

const rpcStatus: Schema = () => ({ 1: ["code", "int32"] });
const headerOption: Schema = () => ({
  1: ["header", sub(headerValue)],
  2: ["append", sub(boolValue)],
  3: ["append_action", "enum"],
});
const denied: Schema = () => ({
  1: ["status", sub(httpStatus)],
  2: ["headers", sub(headerOption), "many"],
  3: ["body", "string"],
});
const okay: Schema = () => ({
  5: ["headers_to_remove", "string", "many"],
  6: ["response_headers_to_add", sub(headerOption), "many"],
});
const checkResponse: Schema = () => ({
  1: ["status", sub(rpcStatus)],
  2: ["denied_response", sub(denied)],
  3: ["ok_response", sub(okay)],
  4: ["dynamic_metadata", sub(struct)],
});

export const readCheck = decodeWith(checkRequest);
export const readReply = decodeWith(checkResponse);
