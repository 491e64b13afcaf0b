/**
 * Questions to a JSON tree and edits of its objects and arrays. `null` counts as absent, as clients and
 * providers read it; a value of another type than asked for is `undefined`, and the caller decides.
 */
import type { Edit, Span } from "../core/segment.ts";
import type { JsonArray, JsonNode, JsonObject, JsonString } from "./json.ts";

type Maybe = JsonNode | undefined;

/** The member of an object; undefined when `node` is no object, or the member is absent or null. */
export function get(node: Maybe, name: string): Maybe {
  const member = node?.kind === "object" ? node.members.get(name) : undefined;
  return isNull(member) ? undefined : member;
}
export const isNull = (node: Maybe): boolean => node?.kind === "literal" && node.value === null;
export const isTrue = (node: Maybe): boolean => node?.kind === "literal" && node.value === true;
export const asString = (node: Maybe): JsonString | undefined =>
  node?.kind === "string" ? node : undefined;
export const asObject = (node: Maybe): JsonObject | undefined =>
  node?.kind === "object" ? node : undefined;
export const asItems = (node: Maybe): readonly JsonNode[] | undefined =>
  node?.kind === "array" ? node.items : undefined;
export const asNumber = (node: Maybe): number | undefined =>
  node?.kind === "number" ? node.value : undefined;
/** A position as streams number them: 0, 1, 2, ... */
export function asIndex(node: Maybe): number | undefined {
  const value = asNumber(node);
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
export const textOf = (node: Maybe): string | undefined => asString(node)?.value;
export const typeOf = (node: Maybe): string | undefined => textOf(get(node, "type"));

/** The members that `wanted` is true for. */
export const membersOf = (
  object: JsonObject,
  wanted: (name: string, value: JsonNode) => boolean,
): readonly JsonNode[] =>
  [...object.members].filter(([name, value]) => wanted(name, value)).map(([, value]) => value);

/** A path of names, and one more: a JSON pointer (RFC 6901), so that no name looks like two. */
export const below = (path: string, name: string): string =>
  `${path}/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`;

/** The literal of every key, in source order: the tree keeps only what keys say. */
export function keysOf(object: JsonObject): readonly JsonString[] {
  const keys: JsonString[] = [];
  let from = object.start + 1;
  for (const [value, node] of object.members) {
    const start = object.text.indexOf('"', from);
    // Between a key and its value stand a colon and white space alone.
    keys.push({
      kind: "string",
      start,
      end: object.text.lastIndexOf('"', node.start - 1) + 1,
      value,
    });
    from = node.end;
  }
  return keys;
}

export const replace = (at: Span, text: string): Edit => ({ start: at.start, end: at.end, text });
const insert = (at: number, text: string): Edit => ({ start: at, end: at, text });

/**
 * Takes members out of an object and adds others (`"name":value`, encoded) behind what stays. Commas and the
 * spaces before what goes leave with it.
 */
export function editMembers(
  object: JsonObject,
  change: { readonly remove: ReadonlySet<string>; readonly add: readonly string[] },
): readonly Edit[] {
  const keys = keysOf(object);
  const members = [...object.members.values()].map((node, at) => ({
    start: keys[at]?.start ?? node.start,
    end: node.end,
  }));
  const gone = new Set<number>();
  for (const [at, key] of keys.entries()) if (change.remove.has(key.value)) gone.add(at);
  return editList(object, members, { gone, added: change.add.join(",") });
}

/** Takes items out of an array. */
export const cutItems = (array: JsonArray, gone: ReadonlySet<number>): readonly Edit[] =>
  editList(array, array.items, { gone, added: "" });

function editList(
  list: Span,
  parts: readonly Span[],
  change: { readonly gone: ReadonlySet<number>; readonly added: string },
): readonly Edit[] {
  const { gone, added } = change;
  const [first, last] = [parts[0], parts.at(-1)];
  if (first === undefined || last === undefined) {
    return added === "" ? [] : [insert(list.start + 1, added)];
  }
  if (gone.size === parts.length) return [{ start: first.start, end: last.end, text: added }];
  const edits: Edit[] = [];
  /** The end of the last part that stays; undefined until there is one. */
  let kept: number | undefined;
  let previous = first;
  for (const [at, part] of parts.entries()) {
    if (!gone.has(at)) kept = part.end;
    else if (kept !== undefined) edits.push({ start: previous.end, end: part.end, text: "" });
    else edits.push({ start: part.start, end: parts[at + 1]?.start ?? part.end, text: "" });
    previous = part;
  }
  if (added !== "" && kept !== undefined) edits.push(insert(kept, `,${added}`));
  return edits;
}
