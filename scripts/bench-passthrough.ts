/**
 * The least that an ext_proc filter on grpc-js can do: read every message, agree, change nothing. It is
 * the floor that scripts/bench measures Limen against, in a process of its own, and shows the tests that
 * envoy/envoy.yaml works by itself. It inspects nothing: never put it in front of a model.
 *
 *   node scripts/bench-passthrough.ts unix:/tmp/floor.sock
 */
import {
  Server as GrpcServer,
  type Server,
  ServerCredentials,
  type ServerDuplexStream,
} from "@grpc/grpc-js";
import { HealthImplementation } from "grpc-health-check";
import { EXT_PROC_SERVICE, externalProcessor } from "../src/envoy/proto.ts";
import { allowResets } from "../src/envoy/server.ts";

/** Envoy's buffer limit and room for the headers. */
const MESSAGE_LIMIT_BYTES = (32 << 20) + (1 << 20);

type Kind = "request_headers" | "request_body" | "response_headers" | "response_body";
type HeaderList = {
  readonly headers?: { readonly headers?: readonly { key: string; raw_value: Buffer }[] };
};
type Message = {
  readonly request?: Kind;
  readonly request_headers?: HeaderList;
  readonly response_headers?: HeaderList;
};

const isEventStream = (message: Message): boolean =>
  message.response_headers?.headers?.headers?.some(
    ({ key, raw_value }) =>
      key === "content-type" && raw_value.toString().startsWith("text/event-stream"),
  ) ?? false;

const STREAMED = { request_body_mode: "BUFFERED", response_body_mode: "STREAMED" } as const;

function replyTo(message: Message): object {
  const kind = message.request ?? "request_headers";
  const reply = { [kind]: { response: {} } };
  return isEventStream(message) ? { ...reply, mode_override: STREAMED } : reply;
}

/**
 * Serves on `address` ("unix:/path" or "host:port") until the process ends.
 * @param see is shown every message, for tests of what Envoy sends
 */
export async function servePassthrough(
  address: string,
  see: (message: Message) => void = () => undefined,
): Promise<Server> {
  const server = new GrpcServer({ "grpc.max_receive_message_length": MESSAGE_LIMIT_BYTES });
  allowResets(server); // as every grpc-js filter behind Envoy has to
  server.addService(externalProcessor, {
    Process(call: ServerDuplexStream<Message, object>) {
      call.on("data", (message: Message) => {
        see(message);
        call.write(replyTo(message));
      });
      call.on("end", () => call.end());
      call.on("error", () => undefined); // Envoy went away
    },
  });
  new HealthImplementation({ "": "SERVING", [EXT_PROC_SERVICE]: "SERVING" }).addToServer(server);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    );
  });
  return server;
}

if (import.meta.main) {
  const [address] = process.argv.slice(2);
  if (address === undefined) throw new Error("usage: bench-passthrough.ts ADDRESS");
  await servePassthrough(address);
  process.stdout.write("ready\n");
}
