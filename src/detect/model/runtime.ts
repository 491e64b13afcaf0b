/**
 * ONNX Runtime: what we use of the package onnxruntime-node, by types of our own. Its own ones name the
 * types of a browser, which are not ours to have.
 */
import { createRequire } from "node:module";

export type Tensor = { readonly data: ArrayLike<number | bigint> };
type Tensors = Readonly<Record<string, Tensor>>;

export type Session = {
  run(inputs: Tensors): Promise<Tensors>;
  release(): Promise<void>;
};

export type SessionOptions = {
  readonly executionProviders: readonly "cpu"[];
  readonly intraOpNumThreads: number;
  readonly interOpNumThreads: number;
  readonly enableMemPattern: boolean;
  readonly logSeverityLevel: number;
  /** Entries of the session's configuration (onnxruntime_session_options_config_keys.h). */
  readonly extra: {
    readonly optimization: { readonly disable_specified_optimizers: "SkipLayerNormFusion" };
  };
};

export type Runtime = {
  readonly InferenceSession: {
    create(file: Uint8Array, options: SessionOptions): Promise<Session>;
  };
  readonly Tensor: new (type: "int64", data: BigInt64Array, sizes: readonly number[]) => Tensor;
};

const require = createRequire(import.meta.url);

/** Undefined where the package cannot run: a platform without its library, or with another C library. */
export function loadRuntime(): Runtime | undefined {
  try {
    return require("onnxruntime-node");
  } catch {
    return undefined;
  }
}
