/**
 * Canonical JSON (RFC 8785) of values whose shape is known: a writer per type, put together once, so that
 * writing a record sorts nothing and asks for no type. Restricted to integers, booleans and well-formed
 * strings, for which the shortest JSON with sorted keys is the whole of canonicalisation. Pure.
 */

/** @throws Error on a number that is no safe integer and on a lone surrogate: the caller's bug */
export type Write<T> = (value: T) => string;

/** Nearly all strings are plain: for those the quotes are all that `JSON.stringify` would add. */
const PLAIN = /^[ !#-[\]-~]*$/;

export const text: Write<string> = (value) => {
  if (PLAIN.test(value)) return `"${value}"`;
  if (/\p{Surrogate}/u.test(value)) throw new Error("a string of a record has a lone surrogate");
  return JSON.stringify(value);
};

export const integer: Write<number> = (value) => {
  if (!Number.isSafeInteger(value)) throw new Error("a number of a record is no safe integer");
  return `${value}`; // "0" for -0 as well
};

export const flag: Write<boolean> = (value) => (value ? "true" : "false");

export const list =
  <T>(item: Write<T>): Write<readonly T[]> =>
  (values) => {
    let json = "[";
    for (const value of values) json += json === "[" ? item(value) : `,${item(value)}`;
    return `${json}]`;
  };

/** A writer for every field, optional ones included: a field without one does not compile. */
export type Fields<T> = { readonly [K in keyof T]-?: Write<NonNullable<T[K]>> };

/** Fields whose value is undefined are left out, and so are those that `T` does not know. */
export function object<T extends object>(fields: Fields<T>): Write<T> {
  const members: Member<T>[] = [];
  for (const key in fields) members.push(member<T, typeof key>(key, fields[key]));
  // By UTF-16 units, the order of RFC 8785 (3.2.3).
  members.sort((a, b) => (a.key < b.key ? -1 : 1));
  return (value) => {
    let json = "";
    for (const { name, write } of members) {
      const written = write(value);
      if (written !== undefined) json += `${json === "" ? "{" : ","}${name}${written}`;
    }
    return json === "" ? "{}" : `${json}}`;
  };
}

type Member<T> = {
  readonly key: string;
  readonly name: string;
  readonly write: (value: T) => string | undefined;
};

const member = <T, K extends keyof T & string>(
  key: K,
  write: Write<NonNullable<T[K]>>,
): Member<T> => ({
  key,
  name: `${text(key)}:`,
  write: (value) => {
    const field = value[key];
    return field == null ? undefined : write(field);
  },
});
