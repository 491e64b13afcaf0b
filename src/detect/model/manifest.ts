/**
 * `manifest.json` beside the weights: which files they are, by digest, how their input is built, and from
 * which scores on they speak. Its own digest stands in every decision record, so that nothing that decides
 * is outside of it. Scores are 10,000 times the sigmoid of a logit.
 */
import { hash } from "node:crypto";
import { SENSITIVITIES } from "../../core/settings.ts";
import { HEADS, PLACES, type Place, type Thresholds } from "../scorer.ts";
import type { Grid } from "./windows.ts";

export const FILES = ["vocabulary.bin", "first.onnx", "second.onnx"] as const;
export type FileName = (typeof FILES)[number];

export type Shape = Grid & {
  /** Ids of the tokens around the pieces: bos, the slot of the place, pieces, eos. */
  readonly bos: number;
  readonly eos: number;
  readonly slots: Readonly<Record<Place, number>>;
};

export type Manifest = {
  /** SHA-256, hexadecimal. */
  readonly files: Readonly<Record<FileName, string>>;
  readonly shape: Shape;
  /** A window ends after the lower layers if the early scores that count in its place are below this. */
  readonly clear: Readonly<Record<Place, number>>;
  readonly thresholds: Thresholds;
};

export const sha256 = (bytes: Uint8Array): string => hash("sha256", bytes, "hex");

/** The value as what it must be, or undefined where it is something else. */
type Read<T> = (value: unknown) => T | undefined;

const number =
  (least: number, most: number): Read<number> =>
  (value) =>
    typeof value === "number" && value >= least && value <= most ? value : undefined;
const whole =
  (least: number, most: number): Read<number> =>
  (value) =>
    Number.isInteger(value) ? number(least, most)(value) : undefined;
const digest: Read<string> = (value) =>
  typeof value === "string" && value.length === 64 ? value : undefined;

/** An object with all these keys. Others in it are for people. */
const object =
  <T extends object>(reads: { readonly [K in keyof T]: Read<T[K]> }): Read<T> =>
  (value) => {
    if (typeof value !== "object" || value === null) return undefined;
    const found = new Map<string, unknown>(Object.entries(value));
    const entries = Object.entries<Read<unknown>>(reads).map(([key, read]) => [
      key,
      read(found.get(key)),
    ]);
    return entries.some(([, one]) => one === undefined)
      ? undefined
      : (Object.fromEntries(entries) as T);
  };
const each = <K extends string, T>(keys: readonly K[], read: Read<T>): Read<Record<K, T>> =>
  object(Object.fromEntries(keys.map((key) => [key, read])) as Record<K, Read<T>>);

const score = number(0, 10_000);
const token = whole(0, 65_535);
const manifest = object<Manifest>({
  files: each(FILES, digest),
  shape: object<Shape>({
    length: whole(16, 512),
    overlap: whole(0, 64),
    bos: token,
    eos: token,
    slots: each(PLACES, token),
  }),
  clear: each(PLACES, score),
  thresholds: each(SENSITIVITIES, each(PLACES, each(HEADS, score))),
});

/** Undefined when `text` is not a manifest that this version can read. */
export function parseManifest(text: string): Manifest | undefined {
  try {
    const read = manifest(JSON.parse(text));
    // Windows move on by a quarter of their length, at least.
    return read === undefined || read.shape.overlap * 2 > read.shape.length ? undefined : read;
  } catch {
    return undefined;
  }
}

/**
 * What a window says at most that was cleared: less than any threshold. The early head is not calibrated as
 * the late one is, and must not speak.
 */
export function clearedLimit({ thresholds }: Manifest): number {
  const all = SENSITIVITIES.flatMap((sensitivity) =>
    PLACES.flatMap((place) => HEADS.map((head) => thresholds[sensitivity][place][head])),
  );
  return Math.max(0, Math.ceil(Math.min(...all)) - 1);
}
