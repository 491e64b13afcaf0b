/** What the service's thread and the model's threads say to each other: one question, one answer. */
import type { Problem } from "../../core/errors.ts";
import type { Place } from "../scorer.ts";
import type { WindowScore } from "./encoder.ts";
import type { Manifest } from "./manifest.ts";

export type ThreadStart = {
  readonly directory: string;
  readonly manifest: Manifest;
  /** The most pieces that are read of a text. */
  readonly pieceLimit: number;
};

export type Question =
  | {
      readonly kind: "read";
      readonly text: string;
      /** What the keys of its windows begin with. */
      readonly owner: string;
    }
  | { readonly kind: "score"; readonly pieces: Uint16Array; readonly place: Place };

export type TextRead = {
  readonly kind: "read";
  readonly pieces: Uint16Array;
  /** Where each window of the grid begins and ends in the text, in UTF-16 units, in pairs. */
  readonly edges: Int32Array;
  /** What the windows of the grid are called in the cache: a millisecond for 1,000, so they are made there. */
  readonly keys: readonly string[];
  /** False: the text has more pieces. */
  readonly complete: boolean;
};

/** `failed`: the question cannot be answered, or the thread died of it. */
export type Answer =
  | TextRead
  | (WindowScore & { readonly kind: "scored" })
  | { readonly kind: "failed" };

/** Comes first, once. A thread that refuses ends. */
export type Opening =
  | { readonly kind: "ready" }
  | { readonly kind: "refused"; readonly problem: Problem };

export const CLOSE = "close";
