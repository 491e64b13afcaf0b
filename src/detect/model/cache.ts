/**
 * Scores that were found before, of texts and of their windows: a conversation sends all its turns again with each
 * new one, and a text that was not read in time comes back. A key is a digest of who asks, of the place and of what
 * was read, so that is not kept. The least recently used go first.
 */
import { hash } from "node:crypto";
import type { Place, ScoreJob } from "../scorer.ts";

export class ScoreCache<Score> {
  readonly #limit: number;
  /** In the order of use: a Map keeps the order of insertion. */
  readonly #scores = new Map<string, Score>();

  /** @param limit entries */
  constructor(limit: number) {
    this.#limit = limit;
  }

  set(key: string, score: Score): void {
    this.#scores.delete(key);
    this.#scores.set(key, score);
    if (this.#scores.size <= this.#limit) return;
    for (const [oldest] of this.#scores) {
      this.#scores.delete(oldest);
      return;
    }
  }

  get(key: string): Score | undefined {
    const score = this.#scores.get(key);
    if (score !== undefined) this.set(key, score);
    return score;
  }
}

/** What a key begins with. The length stands before the scope, so that no scope and text together look like others. */
export const ownerOf = (scope: string, place: Place): string => `${place} ${scope.length} ${scope}`;

export const textKey = (scope: string, { text, place }: ScoreJob): string =>
  hash("sha256", `${ownerOf(scope, place)}${text}`, "base64");

/** @param pieces those of the window, without its frame */
export function windowKey(owner: string, pieces: Uint16Array): string {
  const bytes = new Uint8Array(pieces.buffer, pieces.byteOffset, pieces.byteLength);
  return hash("sha256", Buffer.concat([Buffer.from(owner), bytes]), "base64");
}
