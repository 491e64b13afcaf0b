/** One service with a streaming and a unary method, whose messages are bytes, over loopback. */
import {
  type Client,
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";

const plain = (value: Buffer): Buffer => value;
const method = (name: string, form: "stream" | "unary") => ({
  path: `/test.Calls/${name}`,
  requestStream: form === "stream",
  responseStream: form === "stream",
  requestSerialize: plain,
  requestDeserialize: plain,
  responseSerialize: plain,
  responseDeserialize: plain,
  originalName: name.toLowerCase(),
});
const service: ServiceDefinition = { Talk: method("Talk", "stream"), Ask: method("Ask", "unary") };

export type Seen = { readonly code: number; readonly details: string; readonly replies: string[] };
type Options = {
  /** When the client gives up; otherwise never. */
  readonly deadlineMs?: number;
  /** The client cancels when this resolves. */
  readonly cancelWhen?: Promise<void>;
};

async function withClient<T>(
  handlers: UntypedServiceImplementation,
  use: (client: Client) => Promise<T>,
): Promise<T> {
  const server = new Server();
  server.addService(service, { Talk: () => {}, Ask: () => {}, ...handlers });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const TestClient = makeGenericClientConstructor(service, "test.Calls");
  const client = new TestClient(`127.0.0.1:${port}`, credentials.createInsecure());
  try {
    return await use(client);
  } finally {
    client.close();
    server.forceShutdown();
  }
}

const within = ({ deadlineMs }: Options) =>
  deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };

/** The client sends "a" and "b", half-closes and reads to the end. */
export const talkTo = (
  handler: UntypedServiceImplementation[string],
  options: Options = {},
): Promise<Seen> =>
  withClient({ Talk: handler }, async (client) => {
    const stream = client.makeBidiStreamRequest("/test.Calls/Talk", plain, plain, within(options));
    const replies: string[] = [];
    stream.on("data", (reply: Buffer) => replies.push(String(reply)));
    stream.on("error", () => {});
    const ended = new Promise<StatusObject>((resolve) => stream.on("status", resolve));
    stream.write(Buffer.from("a"));
    stream.write(Buffer.from("b"));
    stream.end();
    const { code, details } = await ended;
    return { code, details, replies };
  });

/** The client asks "a". */
export const askOf = (
  handler: UntypedServiceImplementation[string],
  options: Options = {},
): Promise<Seen> =>
  withClient({ Ask: handler }, async (client) => {
    const replies: string[] = [];
    const status = await new Promise<StatusObject | ServiceError>((resolve) => {
      const call = client.makeUnaryRequest(
        "/test.Calls/Ask",
        plain,
        plain,
        Buffer.from("a"),
        within(options),
        (error: ServiceError | null, reply?: Buffer) => {
          if (reply !== undefined) replies.push(String(reply));
          if (error !== null) resolve(error);
        },
      );
      call.on("status", resolve);
      void options.cancelWhen?.then(() => call.cancel());
    });
    const { code, details } = status;
    return { code, details, replies };
  });
