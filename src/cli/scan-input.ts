/** What `limen scan` reads: texts one to a line, each with what is known about it. */
import { createReadStream } from "node:fs";
import { LimenError } from "../core/errors.ts";
import { PROVENANCES, type Provenance } from "../core/segment.ts";

type Direction = "ingress" | "egress";
export const DIRECTIONS: readonly string[] = ["ingress", "egress"] satisfies readonly Direction[];
export const isDirection = (value: unknown): value is Direction =>
  typeof value === "string" && DIRECTIONS.includes(value);
export const isProvenance = (value: unknown): value is Provenance =>
  typeof value === "string" && PROVENANCES.some((known) => known === value);
const isStrings = (value: unknown): value is readonly string[] =>
  Array.isArray(value) && value.every((item) => typeof item === "string");

/** One text with what is known about it. */
export type Input = {
  readonly id: unknown;
  readonly text: string;
  readonly provenance: Provenance;
  readonly direction: Direction;
  readonly canaries: readonly string[];
  /** There is protected text to compare with. */
  readonly comparing: boolean;
};
export type Defaults = Pick<Input, "provenance" | "direction">;

export async function* opened(path: string): AsyncIterable<Uint8Array> {
  try {
    yield* createReadStream(path);
  } catch {
    const fix = "check the name and the permissions";
    throw new LimenError("file_unreadable", { where: path, what: "cannot be read", fix });
  }
}

export async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder();
  let pieces: string[] = [];
  for await (const chunk of chunks) {
    const [head = "", ...tail] = decoder.decode(chunk, { stream: true }).split("\n");
    pieces.push(head);
    for (const next of tail) {
      yield pieces.join("");
      pieces = [next];
    }
  }
  yield pieces.join("") + decoder.decode();
}

type Refused = { readonly id?: unknown; readonly error: string };

export function inputOf(line: string, defaults: Defaults): Input | Refused {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { error: "not a JSON value" };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { error: "not a JSON object" };
  }
  const fields: Partial<Record<string, unknown>> = { ...value };
  const { id, text, provenance = defaults.provenance, direction = defaults.direction } = fields;
  const { canaries = [], protected: guarded = [], tools = [], user = "" } = fields;
  const refuse = (error: string): Refused => ({ ...(id === undefined ? {} : { id }), error });
  if (typeof text !== "string") return refuse('"text" is not a string');
  if (!isProvenance(provenance)) return refuse(`"provenance" is none of ${PROVENANCES.join(", ")}`);
  if (!isDirection(direction)) return refuse('"direction" is neither ingress nor egress');
  if (!isStrings(canaries)) return refuse('"canaries" is not a list of strings');
  if (!isStrings(tools)) return refuse('"tools" is not a list of strings');
  if (typeof user !== "string") return refuse('"user" is not a string');
  if (!Array.isArray(guarded)) return refuse('"protected" is not a list');
  const comparing = direction === "egress" && guarded.length > 0;
  return { id, text, provenance, direction, canaries, comparing };
}
