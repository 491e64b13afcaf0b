/**
 * YAML 1.2, JSON included, as plain values that know their place in the file: the first step of every
 * document an operator writes. Refuses what JSON has no word for (tags, .nan, keys that are not text; aliases
 * in documents of our own) and what hides mistakes (the same key twice), and reports all of it, never only
 * the first.
 */
import {
  type Alias,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type ParsedNode,
  parseAllDocuments,
} from "yaml";
import type { Problem } from "../core/errors.ts";

/** One file's text under the name that the operator knows it by. */
export type Source = { readonly name: string; readonly text: string };

/** A range of a file in UTF-16 units. */
export type Place = {
  readonly file: Source & { readonly lines: LineCounter };
  readonly start: number;
  readonly end: number;
};

export type Entry = { readonly key: Place; readonly value: Value };

export type Value = { readonly place: Place } & (
  | { readonly kind: "map"; readonly entries: ReadonlyMap<string, Entry> }
  | { readonly kind: "list"; readonly items: readonly Value[] }
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "boolean"; readonly value: boolean }
  | { readonly kind: "null" }
);

/** How much of YAML a kind of document uses. */
export type Reading = {
  /** Followed aliases may make a document no more than `MAX_VALUES` values large. */
  readonly aliases: "refused" | "followed";
  /** The parser itself gives up at about 800. */
  readonly maxDepth: number;
};

/** Documents of our own: the deepest nesting of any is 6. */
const PLAIN: Reading = { aliases: "refused", maxDepth: 32 };
/** What an alias stands for counts once more at each alias. */
const MAX_VALUES = 2_000_000;
const EXCERPT_COLUMNS = 100;
const QUOTE_UNITS = 60;

/** What a terminal or a log viewer would act on instead of showing it. */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Operator text for a message: in quotes, cut, and without anything that moves a cursor. */
export function quote(text: string): string {
  const cut = text.length > QUOTE_UNITS ? `${text.slice(0, QUOTE_UNITS)}...` : text;
  return JSON.stringify(cut).replace(UNPRINTABLE, "?");
}

/** The line of `place` and a second one with carets under it. */
function excerptOf(place: Place): string {
  const { line, col } = place.file.lines.linePos(place.start);
  const begin = place.start - (col - 1);
  const from = Math.max(begin, place.start - EXCERPT_COLUMNS / 2);
  // Cut before the end of the line is looked for: a file of one line is long, and has many places.
  const [window = ""] = place.file.text.slice(from, from + EXCERPT_COLUMNS).split("\n", 1);
  const gutter = `${line} | `;
  const carets = Math.max(1, Math.min(place.end, from + window.length) - place.start);
  const shown = window.replace(UNPRINTABLE, " ");
  const below = `${" ".repeat(gutter.length - 2)}| ${" ".repeat(place.start - from)}`;
  return `${gutter}${shown.trimEnd()}\n${below}${"^".repeat(carets)}`;
}

/** @param path place in the document, `spec.egress.pii.action`; empty for the document itself */
export function problemAt(
  place: Place,
  path: string,
  fault: { readonly what: string; readonly fix: string },
): Problem {
  const { line, col } = place.file.lines.linePos(place.start);
  const where = `${place.file.name}:${line}:${col}`;
  return { where: path === "" ? where : `${where} ${path}`, ...fault, excerpt: excerptOf(place) };
}

const byWhere = new Intl.Collator("en", { numeric: true });

/** Problems as a reader meets them: by file, line and column. */
export const inOrder = <P extends Problem>(problems: readonly P[]): readonly P[] =>
  problems.toSorted((a, b) => byWhere.compare(a.where, b.where));

export const joinPath = (path: string, step: string | number): string => {
  if (typeof step === "number") return `${path}[${step}]`;
  return path === "" ? step : `${path}.${step}`;
};

/** What the parser's codes mean to a reader; codes without a row keep the parser's own sentence. */
const SYNTAX: Readonly<Record<string, { readonly what: string; readonly fix: string }>> = {
  TAB_AS_INDENT: { what: "a tab is used for indentation", fix: "indent with spaces" },
  BAD_INDENT: {
    what: "the indentation does not fit what surrounds it, or a bracket is not closed",
    fix: "align the line with its neighbours, or close the bracket",
  },
  MISSING_CHAR: {
    what: "a character is missing here",
    fix: "look for a bracket, quote, comma or colon that is not closed or not written",
  },
  RESOURCE_EXHAUSTION: { what: "the document is nested too deeply", fix: "flatten it" },
};

const REFUSED = {
  alias: {
    what: "anchors and aliases are not read",
    fix: "write the value out where it is needed",
  },
  dangling: {
    what: "this alias stands for nothing that is complete above it",
    fix: "write the anchor before its aliases, and no alias inside its own anchor",
  },
  bomb: {
    what: `with its aliases written out the document has more than ${MAX_VALUES} values`,
    fix: "write the values out where they are needed",
  },
  tag: { what: "YAML tags are not read", fix: "write the value without the tag" },
  key: { what: "a key that is not text", fix: "put the key in quotes" },
  number: { what: "a number that JSON cannot hold", fix: "write a plain number" },
  depth: { what: "nesting deeper than any such document needs", fix: "flatten the document" },
} as const;

/**
 * All documents of a file; empty ones (after a trailing `---`) are left out.
 * @param problems receives everything that is wrong; when it grew, the values are incomplete
 */
export function parseYaml(
  source: Source,
  problems: Problem[],
  reading: Reading = PLAIN,
): readonly Value[] {
  const lines = new LineCounter();
  const file = { ...source, lines };
  const documents = parseAllDocuments(source.text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false, // reported below, with the line of the first
    logLevel: "silent",
  });
  const values: Value[] = [];
  for (const document of documents) {
    // After the first mistake of syntax the parser stumbles over all that follows: the echo is not news.
    for (const { code, message, pos } of [...document.errors, ...document.warnings].slice(0, 1)) {
      const place = { file, start: pos[0], end: pos[1] };
      const fault = SYNTAX[code] ?? { what: message, fix: "correct the YAML syntax" };
      problems.push(problemAt(place, "", fault));
    }
    if (document.errors.length > 0 || document.contents === null) continue;
    const value = new Reader({ file, problems, reading }).read(document.contents, "", 0);
    if (value.kind !== "null") values.push(value);
  }
  return values;
}

/** What an anchor names: written out it has so many values, so many levels deep. */
type Anchored = { readonly value: Value; readonly size: number; readonly height: number };

/** Walks the parser's tree; what it refuses is reported and becomes `null`. One for each document. */
class Reader {
  readonly #file: Place["file"];
  readonly #problems: Problem[];
  readonly #reading: Reading;
  readonly #anchors = new Map<string, Anchored>();
  /** Values so far, and the deepest level since an anchor began; `#follow` and `read` count. */
  #values = 0;
  #deepest = 0;

  constructor(from: {
    readonly file: Place["file"];
    readonly problems: Problem[];
    readonly reading: Reading;
  }) {
    this.#file = from.file;
    this.#problems = from.problems;
    this.#reading = from.reading;
  }

  read(node: ParsedNode | null, path: string, depth: number): Value {
    const place = this.#place(node);
    this.#values += 1;
    if (node === null) return { kind: "null", place };
    const refusal = this.#refusalOf(node, depth);
    if (refusal !== undefined) return this.#refuse(refusal, place, path);
    if (isAlias(node)) return this.#follow(node.source, { place, path, depth });
    const { anchor } = node;
    if (anchor === undefined) return this.#plain(node, path, depth);
    const [before, deepest] = [this.#values, this.#deepest];
    this.#deepest = depth;
    const value = this.#plain(node, path, depth);
    const size = this.#values - before + 1;
    this.#anchors.set(anchor, { value, size, height: this.#deepest - depth });
    this.#deepest = Math.max(deepest, this.#deepest);
    return value;
  }

  #plain(node: Exclude<ParsedNode, Alias.Parsed>, path: string, depth: number): Value {
    const place = this.#place(node);
    this.#deepest = Math.max(this.#deepest, depth);
    if (isSeq(node)) {
      const items = node.items.map((item, i) => this.read(item, joinPath(path, i), depth + 1));
      return { kind: "list", place, items };
    }
    if (isMap(node)) return { kind: "map", place, entries: this.#entries(node, path, depth) };
    return scalarOf(isScalar(node) ? node.value : null, place);
  }

  /** The anchor's own value, at its own place: nothing is copied, so a bomb stays small while it is read. */
  #follow(name: string, at: { place: Place; path: string; depth: number }): Value {
    const anchored = this.#anchors.get(name);
    if (anchored === undefined) return this.#refuse("dangling", at.place, at.path);
    const deepest = at.depth + anchored.height;
    this.#values += anchored.size;
    if (this.#values > MAX_VALUES) return this.#refuse("bomb", at.place, at.path);
    if (deepest > this.#reading.maxDepth) return this.#refuse("depth", at.place, at.path);
    this.#deepest = Math.max(this.#deepest, deepest);
    return anchored.value;
  }

  #refuse(why: keyof typeof REFUSED, place: Place, path: string): Value {
    this.#problems.push(problemAt(place, path, REFUSED[why]));
    return { kind: "null", place };
  }

  #refusalOf(node: ParsedNode, depth: number): keyof typeof REFUSED | undefined {
    const named = isAlias(node) || node.anchor !== undefined;
    if (named && this.#reading.aliases === "refused") return "alias";
    if (node.tag !== undefined && node.tag !== null) return "tag";
    if (isScalar(node) && typeof node.value === "number" && !Number.isFinite(node.value))
      return "number";
    return depth > this.#reading.maxDepth ? "depth" : undefined;
  }

  #place(node: ParsedNode | null): Place {
    const [start, end] = node?.range ?? [0, 0];
    return { file: this.#file, start, end };
  }

  #entries(
    map: {
      readonly items: readonly { readonly key: ParsedNode; readonly value: ParsedNode | null }[];
    },
    path: string,
    depth: number,
  ): ReadonlyMap<string, Entry> {
    const entries = new Map<string, Entry>();
    for (const { key: node, value } of map.items) {
      const key = this.#place(node);
      const name = isScalar(node) ? node.value : undefined;
      if (typeof name !== "string" || this.#refusalOf(node, depth) !== undefined) {
        this.#problems.push(problemAt(key, path, REFUSED.key));
        continue;
      }
      const first = entries.get(name);
      if (first !== undefined) {
        const { line } = this.#file.lines.linePos(first.key.start);
        const what = `the key ${quote(name)} stands here a second time, the first is in line ${line}`;
        this.#problems.push(
          problemAt(key, joinPath(path, name), { what, fix: "keep one of them" }),
        );
        continue;
      }
      const read = this.read(value, joinPath(path, name), depth + 1);
      // A key without a value is shown at the key: the value has no width.
      const empty = read.place.start === read.place.end;
      entries.set(name, { key, value: empty ? { ...read, place: key } : read });
    }
    return entries;
  }
}

function scalarOf(value: unknown, place: Place): Value {
  if (typeof value === "string") return { kind: "text", place, value };
  if (typeof value === "number") return { kind: "number", place, value };
  if (typeof value === "boolean") return { kind: "boolean", place, value };
  return { kind: "null", place };
}

/** Canonical JSON (RFC 8785): no spaces, members sorted by UTF-16 units, so that a digest names the meaning. */
export function canonicalJson(value: Value): string {
  switch (value.kind) {
    case "map": {
      const members = [...value.entries].sort(([a], [b]) => (a < b ? -1 : 1));
      const written = members.map(
        ([key, entry]) => `${JSON.stringify(key)}:${canonicalJson(entry.value)}`,
      );
      return `{${written.join(",")}}`;
    }
    case "list":
      return `[${value.items.map(canonicalJson).join(",")}]`;
    case "null":
      return "null";
    default:
      return JSON.stringify(value.value);
  }
}
