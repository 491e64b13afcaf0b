import { fileURLToPath } from "node:url";

/** Recordings of real Envoys, one file for each version and exchange. */
export const VECTORS: string = fileURLToPath(new URL("../../vectors/envoy", import.meta.url));
