/**
 * What a document may look like, as small decoders that are composed: each turns a value into a typed one
 * or reports what is wrong with it, where, and what to write instead. Unknown keys are errors. Nothing
 * stops at the first problem: a decoder that reported returns undefined and its neighbours go on.
 */
import type { Problem } from "../core/errors.ts";
import { type Entry, joinPath, problemAt, quote, type Value } from "./yaml.ts";

/** Undefined means that a problem was added. */
export type Decode<T> = (value: Value, path: string, problems: Problem[]) => T | undefined;
export type Decoded<D> = D extends Decode<infer T> ? T : never;

/** What an `object` decoder reads its keys with. What is asked for is what is known. */
export type Fields = {
  optional<T>(key: string, decode: Decode<T>): T | undefined;
  required<T>(key: string, decode: Decode<T>): T | undefined;
};

const KINDS: Readonly<Record<Value["kind"], string>> = {
  map: "a map",
  list: "a list",
  text: "text",
  number: "a number",
  boolean: "true or false",
  null: "empty",
};

/** The value as it is named in a message. */
const shown = (value: Value): string =>
  "value" in value ? quote(String(value.value)) : KINDS[value.kind];

export type Fault = { readonly what: string; readonly fix: string };
/** What a test of a value comes to. */
export type Read<T> = { readonly ok: T } | Fault;

export function decoder<T>(read: (value: Value) => Read<T>): Decode<T> {
  return (value, path, problems) => {
    const result = read(value);
    if ("ok" in result) return result.ok;
    problems.push(problemAt(value.place, path, result));
    return undefined;
  };
}

/** One of a closed list of words; `noun` says what they are: `an action`. */
export const word = <const W extends string>(words: readonly W[], noun: string): Decode<W> =>
  decoder((value) => {
    const found = value.kind === "text" ? words.find((w) => w === value.value) : undefined;
    if (found !== undefined) return { ok: found };
    return { what: `${shown(value)} is not ${noun}`, fix: oneOf(value, words) };
  });

/** `use "redact", or one of off, flag, deny`: the nearest word first when there is one. */
function oneOf(value: Value, words: readonly string[]): string {
  const near = value.kind === "text" ? nearest(value.value, words) : undefined;
  const others = words.filter((w) => w !== near);
  if (near === undefined) return `use ${words.length > 1 ? "one of " : ""}${words.join(", ")}`;
  const rest = others.length > 1 ? `, or one of ${others.join(", ")}` : "";
  return `use ${quote(near)}${others.length === 1 ? `, or ${others[0]}` : rest}`;
}

const UNITS: Readonly<Record<string, number>> = {
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
  K: 1000,
  k: 1000,
  M: 1000 ** 2,
  G: 1000 ** 3,
};

/** A whole number of `unit` from `min` to `max`, both included. */
export const integer = (unit: string, min: number, max: number): Decode<number> =>
  decoder((value) => {
    const range = `a whole number of ${unit} from ${min} to ${max}`;
    if (value.kind !== "number" || !Number.isInteger(value.value)) {
      // "8Mi" and "250ms" are what people try first.
      const [, digits = "", suffix = ""] =
        (value.kind === "text" ? /^(\d{1,12})\s?([A-Za-z]{1,2})?B?$/.exec(value.value) : null) ??
        [];
      const plain = Number(digits) * (UNITS[suffix] ?? 1);
      const known = digits !== "" && plain >= min && plain <= max;
      const fix = known && (suffix === "" || suffix in UNITS) ? `write ${plain}` : `write ${range}`;
      return { what: `${shown(value)} is not a whole number of ${unit}`, fix };
    }
    const { value: number } = value;
    if (number >= min && number <= max) return { ok: number };
    return {
      what: `${number} is ${number < min ? "too small" : "too large"}`,
      fix: `write ${range}`,
    };
  });

const MAX_TEXT_UNITS = 512;

/** Text of at most 512 UTF-16 units that is not empty; `check` returns what is wrong beyond that. */
export const text = (
  check: (text: string) => Fault | undefined = () => undefined,
): Decode<string> =>
  decoder((value) => {
    if (value.kind === "number" || value.kind === "boolean") {
      const fix = `put it in quotes: "${value.value}"`;
      return { what: `${value.value} is ${KINDS[value.kind]}, not text`, fix };
    }
    if (value.kind !== "text")
      return { what: `${shown(value)} where text belongs`, fix: "write text" };
    if (value.value === "")
      return { what: "the text is empty", fix: "write at least one character" };
    if (value.value.length > MAX_TEXT_UNITS || /\p{Cs}/u.test(value.value)) {
      const what = `the text is longer than ${MAX_TEXT_UNITS} characters or not valid Unicode`;
      return { what, fix: "shorten it" };
    }
    return check(value.value) ?? { ok: value.value };
  });

/** A list; an empty one is refused unless the document means something by it. */
export const list =
  <T>(
    item: Decode<T>,
    bounds: { readonly min: 0 | 1; readonly max: number },
  ): Decode<readonly T[]> =>
  (value, path, problems) => {
    if (value.kind !== "list") {
      const fix =
        value.kind === "text" || value.kind === "number"
          ? `write [${value.kind === "text" ? quote(value.value) : value.value}]`
          : "write a list: [a, b]";
      problems.push(problemAt(value.place, path, { what: `${shown(value)} is not a list`, fix }));
      return undefined;
    }
    const { length } = value.items;
    if (length < bounds.min) {
      const fault = {
        what: "the list is empty",
        fix: "write an entry, or leave an optional key out",
      };
      problems.push(problemAt(value.place, path, fault));
    } else if (length > bounds.max) {
      const fault = { what: `${length} entries`, fix: `write at most ${bounds.max}` };
      problems.push(problemAt(value.place, path, fault));
      return undefined;
    }
    return value.items
      .map((entry, i) => item(entry, joinPath(path, i), problems))
      .filter((entry) => entry !== undefined);
  };

/** A map with the keys that `build` asks for; every other key is reported with the nearest known one. */
export const object =
  <T>(build: (fields: Fields) => T | undefined): Decode<T> =>
  (value, path, problems) => {
    if (value.kind !== "map") {
      const empty = value.kind === "null";
      const what = empty ? "the section is empty" : `${shown(value)} where a map belongs`;
      const fix = empty ? "write its keys below it, or leave it out" : "write key: value pairs";
      problems.push(problemAt(value.place, path, { what, fix }));
      return undefined;
    }
    const known: string[] = [];
    const take = <F>(key: string, decode: Decode<F>, absent: () => void): F | undefined => {
      known.push(key);
      const entry = value.entries.get(key);
      if (entry !== undefined) return decode(entry.value, joinPath(path, key), problems);
      absent();
      return undefined;
    };
    const built = build({
      optional: (key, decode) => take(key, decode, () => undefined),
      required: (key, decode) =>
        take(key, decode, () => {
          const fault = { what: `the key ${quote(key)} is missing`, fix: `add ${key}` };
          problems.push(problemAt(value.place, path, fault));
        }),
    });
    for (const [key, entry] of value.entries) {
      if (!known.includes(key)) problems.push(unknownKey(key, entry, { path, known }));
    }
    return built;
  };

/** A map whose keys the operator chooses, in the order in which they are written; `read` takes a key with its value. */
export const entries =
  <T>(
    read: (key: string) => Decode<T>,
    bounds: { readonly min: 0 | 1; readonly max: number },
  ): Decode<ReadonlyMap<string, T>> =>
  (value, path, problems) => {
    if (value.kind !== "map") return object(() => undefined)(value, path, problems);
    const { size } = value.entries;
    if (size < bounds.min || size > bounds.max) {
      const what = size === 0 ? "the map is empty" : `${size} entries`;
      const fix = size === 0 ? "write an entry, or leave it out" : `write at most ${bounds.max}`;
      problems.push(problemAt(value.place, path, { what, fix }));
      return undefined;
    }
    const decoded = new Map<string, T>();
    for (const [key, entry] of value.entries) {
      const one = read(key)(entry.value, joinPath(path, key), problems);
      if (one !== undefined) decoded.set(key, one);
    }
    return decoded;
  };

function unknownKey(
  key: string,
  entry: Entry,
  at: { readonly path: string; readonly known: readonly string[] },
): Problem {
  const near = nearest(key, at.known);
  const fix =
    near === undefined
      ? `leave it out; known here: ${at.known.join(", ")}`
      : `write ${quote(near)}`;
  return problemAt(entry.key, joinPath(at.path, key), {
    what: `${quote(key)} is not a known key`,
    fix,
  });
}

/** The word that a typing mistake was probably meant to be: at most a third of it is different. */
function nearest(written: string, words: readonly string[]): string | undefined {
  const plain = (s: string): string => s.toLowerCase().replace(/[_\s-]/g, "");
  const distances = words.map((w) => ({ w, d: distance(plain(written), plain(w)) }));
  const best = distances.reduce((a, b) => (b.d < a.d ? b : a), {
    w: "",
    d: Number.POSITIVE_INFINITY,
  });
  return best.d <= Math.max(1, Math.floor(best.w.length / 3)) ? best.w : undefined;
}

/** Edit distance in which swapped neighbours count once; texts too long to be a slip are infinitely far. */
function distance(a: string, b: string): number {
  if (a.length > 40 || b.length > 40) return Number.POSITIVE_INFINITY;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      const swap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + same,
        swap ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? Number.POSITIVE_INFINITY;
}
