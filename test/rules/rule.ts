/** One rule about our own source: a promise, where it holds, and files made up to break it. */
import assert from "node:assert/strict";
import { type SourceFile, sourceOf } from "./source.ts";

export type Rule = {
  /** A sentence, the test's name. */
  readonly promise: string;
  readonly files: readonly SourceFile[];
  /** So that a rule over a folder that moved does not hold of nothing. */
  readonly atLeast: number;
  /** What breaks the rule in one file. */
  readonly find: (file: SourceFile) => readonly string[];
  /** Path and text of files that break it, each by itself. */
  readonly broken: readonly (readonly [path: string, text: string])[];
  /** Files that do not, although they look like it. */
  readonly sound?: readonly (readonly [path: string, text: string])[];
};

export function checkRule({ promise, files, atLeast, find, broken, sound = [] }: Rule): void {
  it(promise, () => {
    assert.ok(files.length >= atLeast, `saw only ${files.length} files`);
    const found = files.flatMap((file) => find(file).map((what) => `${file.path}: ${what}`));
    assert.deepEqual(found, []);
  });
  for (const [path, text] of broken) {
    it(`${promise}: sees ${JSON.stringify(text.slice(0, 60))} in ${path}`, () => {
      assert.notDeepEqual(find(sourceOf(path, text)), []);
    });
  }
  for (const [path, text] of sound) {
    it(`${promise}: lets ${JSON.stringify(text.slice(0, 60))} be in ${path}`, () => {
      assert.deepEqual(find(sourceOf(path, text)), []);
    });
  }
}

/** Every match of `pattern` in the code of a file, as written. */
export const matches = (file: SourceFile, pattern: RegExp): readonly string[] =>
  [...file.code.matchAll(pattern)].map(({ index, 0: found }) =>
    file.text.slice(index, index + found.length).trim(),
  );

/** The room a source file stands in: its folder under `src`, or "top" for what is right in it. */
export const roomOf = (path: string): string => /^src\/([a-z-]+)\//.exec(path)?.[1] ?? "top";
