/**
 * Reads what the loader makes of maps and of `google.protobuf.Struct`: plain objects whose keys a peer chooses, so
 * that only own properties count.
 */

const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const entryOf = (map: unknown, key: string): unknown =>
  isMap(map) && Object.hasOwn(map, key) ? map[key] : undefined;

/** A field of a Struct: a `google.protobuf.Value`. */
export const fieldOf = (struct: unknown, name: string): unknown =>
  entryOf(entryOf(struct, "fields"), name);

export function* fieldsOf(struct: unknown): Iterable<readonly [string, unknown]> {
  const fields = entryOf(struct, "fields");
  if (isMap(fields)) yield* Object.entries(fields);
}

/** The text of a Value that is one. */
export function textOf(value: unknown): string | undefined {
  const text = entryOf(value, "stringValue");
  return typeof text === "string" ? text : undefined;
}

/** The Values of a Value that is a list. */
export function itemsOf(value: unknown): readonly unknown[] | undefined {
  const list = entryOf(value, "listValue");
  if (list === undefined) return undefined;
  const items = entryOf(list, "values");
  return Array.isArray(items) ? items : [];
}
