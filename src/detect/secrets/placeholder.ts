/** Tells sample keys of documentation from real ones: a key is random, a placeholder is written by a person. */

/** Words of samples; four letters and more, so that a random key has one by chance in less than 1 of 1,000. */
const WORDS = [
  "example",
  "placeholder",
  "your",
  "xxxx",
  "redacted",
  "changeme",
  "dummy",
  "sample",
  "insert",
  "notreal",
  "fake",
];
const RUNS = ["0123456789abcdefghijklmnopqrstuvwxyz", "9876543210", "abcdefghijklmnopqrstuvwxyz"];
const RUN_LENGTH = 8;

/** @param body the random part of a key, prefix excluded */
export function isPlaceholder(body: string): boolean {
  const folded = body.toLowerCase();
  if (WORDS.some((word) => folded.includes(word))) return true;
  // Random text of 16 characters or more repeats itself, but not down to a handful of characters.
  if (new Set(folded).size < Math.min(7, body.length / 3)) return true;
  for (let i = 0; i + RUN_LENGTH <= folded.length; i += 1) {
    const piece = folded.slice(i, i + RUN_LENGTH);
    if (RUNS.some((run) => run.includes(piece))) return true;
  }
  return false;
}
