/**
 * Scores of texts read before: a conversation sends all its turns again with each new one. The key is a
 * digest of who asks, of the place and of the text, so the texts are not kept. The least recently used go first.
 */
import { hash } from "node:crypto";
import type { ScoreJob, TextScore } from "../scorer.ts";

export class ScoreCache {
  readonly #limit: number;
  /** In the order of use: a Map keeps the order of insertion. */
  readonly #scores = new Map<string, TextScore>();

  /** @param limit entries; one takes 0.3 kB (measured) */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Only for complete scores: others say how much time there was. */
  set(key: string, score: TextScore): void {
    this.#scores.delete(key);
    this.#scores.set(key, score);
    if (this.#scores.size <= this.#limit) return;
    for (const [oldest] of this.#scores) {
      this.#scores.delete(oldest);
      return;
    }
  }

  get(key: string): TextScore | undefined {
    const score = this.#scores.get(key);
    if (score !== undefined) this.set(key, score);
    return score;
  }
}

/** The length stands before the scope, so that no scope and text together look like others. */
export const cacheKey = (scope: string, { text, place }: ScoreJob): string =>
  hash("sha256", `${place} ${scope.length} ${scope}${text}`, "base64");
