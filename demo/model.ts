/** The scripted model as a process of its own, on the port that envoy/envoy.yaml names. */
import { startModelServer } from "../test/real/model-server.ts";

const PORT = 8081;

const { close } = await startModelServer(PORT);
process.stdout.write(`model server on 127.0.0.1:${PORT}\n`);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void close());
