/**
 * The two files of the encoder in ONNX Runtime: `first` reads a window with the vocabulary and the lower
 * layers and has an early opinion; where that is not clearly harmless, `second` goes on from its vectors.
 *
 * One window a run. Activations are quantised with one scale for all that is in a run: beside another window
 * the same one gets another score (half a logit, measured), and nobody's verdict may depend on what others
 * send at the same time. Full windows lose nothing by it (as long alone as in a batch of 8), those of 8 tokens
 * would take a third. So nothing is padded, and the files mask nothing.
 */
import { HEADS, HEADS_IN, type Head, NEVER, type Place } from "../scorer.ts";
import { clearedLimit, type Manifest } from "./manifest.ts";
import type { Runtime, Session, SessionOptions, Tensor } from "./runtime.ts";

export type WindowScore = {
  /** Whether the lower layers were enough. */
  readonly cleared: boolean;
  /** From 0 to 10,000. */
  readonly scores: Readonly<Record<Head, number>>;
};

type Part = "first" | "second";
type Outputs = Readonly<Record<string, Tensor>>;

const SESSION: SessionOptions = {
  executionProviders: ["cpu"],
  // The thread that runs it is the one core it has.
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  // Kept for each length of a window, for no gain.
  enableMemPattern: false,
  // Fatal alone: its messages go to standard error in its own words.
  logSeverityLevel: 4,
  // Its kernel takes 0.32 ms where addition and norm take 0.06 ms by themselves: a tenth of a window's time. Scores move
  // with it, by 0.005 of a logit at the median and 0.3 at most: the scripts that set thresholds do the same.
  extra: { optimization: { disable_specified_optimizers: "SkipLayerNormFusion" } },
};

export class Encoder {
  readonly #runtime: Runtime;
  readonly #sessions: Readonly<Record<Part, Session>>;
  readonly #manifest: Manifest;
  readonly #clearedLimit: number;

  private constructor(
    runtime: Runtime,
    sessions: Readonly<Record<Part, Session>>,
    manifest: Manifest,
  ) {
    this.#runtime = runtime;
    this.#sessions = sessions;
    this.#manifest = manifest;
    this.#clearedLimit = clearedLimit(manifest);
  }

  /** Rejects when the files are not the two parts of an encoder. */
  static async open(
    runtime: Runtime,
    files: Readonly<Record<Part, Uint8Array>>,
    manifest: Manifest,
  ): Promise<Encoder> {
    const first = await runtime.InferenceSession.create(files.first, SESSION);
    const second = await runtime.InferenceSession.create(files.second, SESSION);
    const encoder = new Encoder(runtime, { first, second }, manifest);
    // What does not fit together shows now, and not with the first request.
    const { vectors } = await encoder.#lower(new Uint16Array(1), "user");
    await encoder.#upper(vectors);
    return encoder;
  }

  /** @param pieces those of one window, without its frame */
  async score(pieces: Uint16Array, place: Place): Promise<WindowScore> {
    const { early, vectors } = await this.#lower(pieces, place);
    const clear = this.#manifest.clear[place];
    if (HEADS_IN[place].every((head) => early[head] < clear)) {
      return {
        cleared: true,
        scores: mapped(early, (score) => Math.min(rounded(score), this.#clearedLimit)),
      };
    }
    return { cleared: false, scores: mapped(await this.#upper(vectors), rounded) };
  }

  async close(): Promise<void> {
    await this.#sessions.first.release();
    await this.#sessions.second.release();
  }

  async #lower(pieces: Uint16Array, place: Place) {
    const { bos, eos, slots } = this.#manifest.shape;
    const tokens = BigInt64Array.from([bos, slots[place], ...pieces, eos], BigInt);
    const ids = new this.#runtime.Tensor("int64", tokens, [1, tokens.length]);
    const outputs = await this.#sessions.first.run({ ids });
    return { early: scoresOf(outputs, "early"), vectors: output(outputs, "vectors") };
  }

  async #upper(vectors: Tensor): Promise<WindowScore["scores"]> {
    return scoresOf(await this.#sessions.second.run({ vectors }), "late");
  }
}

function output(outputs: Outputs, name: string): Tensor {
  const found = outputs[name];
  if (found === undefined) throw new Error(`an encoder without the output ${name}`);
  return found;
}

/** Not rounded. */
function scoresOf(outputs: Outputs, name: string): WindowScore["scores"] {
  const logits = Array.from(output(outputs, name).data, Number);
  const [direct = 0, embedded = 0, jailbreak = 0] = logits;
  // A score that is no number would be below every threshold.
  if (logits.length !== HEADS.length || logits.some(Number.isNaN)) {
    throw new Error(`the output ${name} is not a number for each head`);
  }
  return mapped({ direct, embedded, jailbreak }, sigmoid);
}

const sigmoid = (logit: number): number => 10_000 / (1 + Math.exp(-logit));
const rounded = (score: number): number => Math.min(Math.round(score), NEVER - 1);

const mapped = (
  { direct, embedded, jailbreak }: WindowScore["scores"],
  change: (score: number) => number,
): WindowScore["scores"] => ({
  direct: change(direct),
  embedded: change(embedded),
  jailbreak: change(jailbreak),
});
