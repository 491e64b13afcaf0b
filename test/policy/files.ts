/** Policy files for tests: in memory, and in a folder of their own that is removed afterwards. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Problem } from "../../src/core/errors.ts";
import { type PolicyDocument, parsePolicies } from "../../src/policy/schema.ts";

/** A document with the lines that every one needs; `spec` is indented text or flow YAML. */
export const policy = (name: string, spec = "{}"): string =>
  `apiVersion: limen.dev/v1alpha1\nkind: BoundaryPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

export function parse(...texts: readonly string[]): readonly PolicyDocument[] {
  const problems: Problem[] = [];
  const sources = texts.map((text, i) => ({ name: `${i}.yaml`, text }));
  const documents = parsePolicies(sources, problems);
  if (problems.length > 0) throw new Error(JSON.stringify(problems, undefined, 1));
  return documents;
}

export class Folder {
  readonly path = mkdtempSync(join(tmpdir(), "limen-policy-"));
  write(name: string, text: string): string {
    const file = join(this.path, name);
    writeFileSync(file, text);
    return file;
  }
  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}
