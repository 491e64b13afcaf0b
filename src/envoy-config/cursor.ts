/**
 * A place in an Envoy configuration, read as protobuf's JSON form is: names in snake_case or camelCase, enums by
 * name or number, durations as text, `null` and absent alike. A cursor at something that is not written still
 * knows its path, and the nearest written thing, so that a finding about what is missing has a place too.
 */
import type { Problem } from "../core/errors.ts";
import { joinPath, type Place, problemAt, type Value } from "../policy/yaml.ts";

/** What Envoy's YAML reader takes for a boolean when it is not in quotes; quoted it refuses the file. */
const TRUE: ReadonlySet<string> = new Set(["y", "yes", "true", "on"]);
const FALSE: ReadonlySet<string> = new Set(["n", "no", "false", "off"]);
const SECONDS = /^(\d{1,12}(?:\.\d{1,9})?)s$/;

const camelCase = (name: string): string =>
  name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());

export class Cursor {
  readonly path: string;
  readonly #place: Place;
  /** Undefined: not written. */
  readonly #value: Value | undefined;

  constructor(value: Value | undefined, path: string, place: Place) {
    this.#value = value?.kind === "null" ? undefined : value;
    this.path = path;
    this.#place = place;
  }

  get isWritten(): boolean {
    return this.#value !== undefined;
  }

  /** A field of a message by its name in the .proto file, or a key of a map. */
  at(name: string): Cursor {
    const written = this.#value?.kind === "map" ? this.#value.entries : undefined;
    const key = written?.has(name) === false ? camelCase(name) : name;
    const entry = written?.get(key);
    if (entry === undefined) return this.#absent(name);
    const inline = entry.value.kind !== "map" && entry.value.kind !== "list";
    const place = inline ? entry.value.place : entry.key;
    return new Cursor(entry.value, joinPath(this.path, key), place);
  }

  in(...names: readonly string[]): Cursor {
    return names.reduce<Cursor>((at, name) => at.at(name), this);
  }

  items(): readonly Cursor[] {
    const list = this.#value?.kind === "list" ? this.#value.items : [];
    return list.map((item, i) => new Cursor(item, joinPath(this.path, i), item.place));
  }

  keys(): readonly string[] {
    return this.#value?.kind === "map" ? [...this.#value.entries.keys()] : [];
  }

  text(): string | undefined {
    return this.#value?.kind === "text" ? this.#value.value : undefined;
  }

  /** A list of texts; what is no text is left out. */
  texts(): readonly string[] {
    return this.items().flatMap((item) => item.text() ?? []);
  }

  boolean(): boolean | undefined {
    if (this.#value?.kind === "boolean") return this.#value.value;
    const word = this.text()?.toLowerCase() ?? "";
    if (TRUE.has(word)) return true;
    return FALSE.has(word) ? false : undefined;
  }

  /** Numbers of 64 bits are written as text. */
  number(): number | undefined {
    if (this.#value?.kind === "number") return this.#value.value;
    const text = this.text() ?? "";
    return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
  }

  /** A `google.protobuf.Duration`; undefined also where the text is none, which Envoy refuses. */
  milliseconds(): number | undefined {
    const [, seconds] = SECONDS.exec(this.text() ?? "") ?? [];
    return seconds === undefined ? undefined : Number(seconds) * 1000;
  }

  /** @param names by number; the first is what an enum is when it is not written */
  word<W extends string>(names: readonly W[]): W | "unknown" {
    if (!this.isWritten) return names[0] ?? "unknown";
    const known: readonly string[] = names;
    const text = this.text();
    return names[text === undefined ? (this.number() ?? -1) : known.indexOf(text)] ?? "unknown";
  }

  /** The name of the message in an `Any`, without the host in front of it; empty where there is none. */
  get type(): string {
    return this.at("@type").text()?.split("/").at(-1) ?? "";
  }

  problem(fault: { readonly what: string; readonly fix: string }): Problem {
    return problemAt(this.#place, this.path, fault);
  }

  #absent(name: string): Cursor {
    return new Cursor(undefined, joinPath(this.path, name), this.#place);
  }
}

/** The first of `cursors` that is written; else the last. */
export const firstWritten = (cursors: readonly [Cursor, ...Cursor[]]): Cursor =>
  cursors.find((cursor) => cursor.isWritten) ?? cursors.at(-1) ?? cursors[0];
