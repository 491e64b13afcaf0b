/**
 * Loads `proto/` once. No type that comes from here leaves this folder: `decode.ts` makes closed unions of the
 * loader's loose objects, `encode.ts` alone writes them.
 */
import { fileURLToPath } from "node:url";
import { loadPackageDefinition, type ServiceDefinition } from "@grpc/grpc-js";
import { loadSync, type MessageTypeDefinition } from "@grpc/proto-loader";

const root = fileURLToPath(new URL("../../proto", import.meta.url));

const files = [
  "envoy/service/ext_proc/v3/external_processor.proto",
  "envoy/service/auth/v3/external_auth.proto",
];

/** Field names as in the files, enum values as names, 64-bit numbers as strings, defaults left out. */
const definition = loadSync(files, {
  includeDirs: [root],
  keepCase: true,
  enums: String,
  longs: String,
  oneofs: true,
});

export const EXT_PROC_SERVICE = "envoy.service.ext_proc.v3.ExternalProcessor";
export const EXT_AUTHZ_SERVICE = "envoy.service.auth.v3.Authorization";

/**
 * Bytes that are no message become a word that `decode` refuses in its turn. If reading them threw, grpc-js would
 * end the call by itself, and lose the status to the next reply that is written behind it.
 */
function withoutThrow(service: ServiceDefinition): ServiceDefinition {
  const lenient = Object.entries(service).map(([name, method]) => {
    const requestDeserialize = (bytes: Buffer): unknown => {
      try {
        return method.requestDeserialize(bytes);
      } catch {
        return "unreadable";
      }
    };
    return [name, { ...method, requestDeserialize }];
  });
  return Object.fromEntries(lenient);
}

/** The service definitions for `Server.addService`. */
export const externalProcessor = withoutThrow(definition[EXT_PROC_SERVICE] as ServiceDefinition);
export const authorization = definition[EXT_AUTHZ_SERVICE] as ServiceDefinition;

/** `envoy.config.core.v3.Metadata`, where it comes as bytes. */
export const metadata = definition["envoy.config.core.v3.Metadata"] as MessageTypeDefinition<
  object,
  object
>;

/** Throws when a file of `proto/` is missing or broken; called at start, so that it is not found by traffic. */
export const checkProtos = (): void => {
  loadPackageDefinition(definition);
};
