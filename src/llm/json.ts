/**
 * Strict JSON (RFC 8259) over decoded text, with the place of every value, and edits of that text. Refused
 * beyond the grammar: duplicate keys, lone surrogates (raw or escaped), nesting beyond a limit. Bodies are
 * edited at spans and never written anew: what is not touched keeps its bytes.
 *
 * Spans count UTF-16 units of the text. One pass, linear; a byte order mark is not white space here.
 */
import { type Cause, fail, ok, type Result } from "../core/cause.ts";
import type { Edit, Span } from "../core/segment.ts";

/** `start` and `end` include the quotes; `value` is decoded. */
export type JsonString = Span & { readonly kind: "string"; readonly value: string };
export type JsonObject = Span & {
  readonly kind: "object";
  /** In source order. `__proto__` is a key like any other. */
  readonly members: ReadonlyMap<string, JsonNode>;
  /** The whole text the spans point into: keys and raw values are found there again. */
  readonly text: string;
};
export type JsonArray = Span & { readonly kind: "array"; readonly items: readonly JsonNode[] };
export type JsonNode =
  | JsonString
  | JsonObject
  | JsonArray
  | (Span & { readonly kind: "number"; readonly value: number })
  | (Span & { readonly kind: "literal"; readonly value: boolean | null });

/** Nesting that no limit can raise: every walk over a tree recurses and must fit the stack. */
export const MAX_JSON_DEPTH = 512;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Strict UTF-8. A byte order mark stays in the text, where the parser refuses it. */
export function decodeUtf8(bytes: Uint8Array): Result<string> {
  try {
    return ok(utf8.decode(bytes));
  } catch {
    return fail("malformed_json");
  }
}

type JsonLimits = {
  /** How many arrays and objects may be open at once, at most `MAX_JSON_DEPTH`. */
  readonly depth: number;
  /** Values in the text; absent: as many as it holds. */
  readonly values?: number;
};

export function parseJson(text: string, limits: JsonLimits): Result<JsonNode> {
  const parser = new Parser(text, limits);
  const node = parser.document();
  return node === undefined ? fail(parser.cause) : ok(node);
}

/** Every method returns undefined when the text is refused; `cause` says why. */
class Parser {
  readonly #text: string;
  readonly #depthLimit: number;
  #at = 0;
  #depth = 0;
  #valuesLeft: number;
  cause: Cause = "malformed_json";

  constructor(text: string, { depth, values = Number.POSITIVE_INFINITY }: JsonLimits) {
    this.#text = text;
    this.#depthLimit = Math.min(depth, MAX_JSON_DEPTH);
    this.#valuesLeft = values;
  }

  document(): JsonNode | undefined {
    // Raw lone surrogates are refused here, escaped ones in `escapeEnd`; a pair is never half escaped.
    if (!this.#text.isWellFormed()) return undefined;
    const node = this.#value();
    if (node === undefined || Number.isNaN(this.#peek())) return node;
    return this.#refuse("trailing_data");
  }

  #refuse(cause: Cause): undefined {
    this.cause = cause;
    return undefined;
  }

  /** The next unit that is no white space; NaN at the end. */
  #peek(): number {
    for (;;) {
      const unit = this.#text.charCodeAt(this.#at);
      if (unit !== SPACE && unit !== LF && unit !== CR && unit !== TAB) return unit;
      this.#at += 1;
    }
  }

  #value(): JsonNode | undefined {
    if (this.#valuesLeft === 0) return this.#refuse("limit_exceeded");
    this.#valuesLeft -= 1;
    switch (this.#peek()) {
      case QUOTE:
        return this.#string();
      case 0x7b:
        return this.#nested("object");
      case 0x5b:
        return this.#nested("array");
      case 0x74:
        return this.#literal("true", true);
      case 0x66:
        return this.#literal("false", false);
      case 0x6e:
        return this.#literal("null", null);
      default:
        return this.#number();
    }
  }

  #nested(kind: "object" | "array"): JsonNode | undefined {
    if (this.#depth >= this.#depthLimit) return this.#refuse("limit_exceeded");
    this.#depth += 1;
    const node = kind === "object" ? this.#object() : this.#array();
    this.#depth -= 1;
    return node;
  }

  #object(): JsonObject | undefined {
    const start = this.#at;
    const members = new Map<string, JsonNode>();
    this.#at += 1;
    if (this.#peek() !== CLOSE_BRACE) {
      for (;;) {
        if (this.#peek() !== QUOTE) return undefined;
        const key = this.#string();
        if (key === undefined || this.#peek() !== COLON) return undefined;
        this.#at += 1;
        const value = this.#value();
        if (value === undefined) return undefined;
        const before = members.size;
        if (members.set(key.value, value).size === before) return this.#refuse("duplicate_key");
        const unit = this.#peek();
        if (unit === CLOSE_BRACE) break;
        if (unit !== COMMA) return undefined;
        this.#at += 1;
      }
    }
    this.#at += 1;
    return { kind: "object", start, end: this.#at, members, text: this.#text };
  }

  #array(): JsonArray | undefined {
    const start = this.#at;
    const items: JsonNode[] = [];
    this.#at += 1;
    if (this.#peek() !== CLOSE_BRACKET) {
      for (;;) {
        const item = this.#value();
        if (item === undefined) return undefined;
        items.push(item);
        const unit = this.#peek();
        if (unit === CLOSE_BRACKET) break;
        if (unit !== COMMA) return undefined;
        this.#at += 1;
      }
    }
    this.#at += 1;
    return { kind: "array", start, end: this.#at, items };
  }

  #string(): JsonString | undefined {
    const text = this.#text;
    const start = this.#at;
    let at = start + 1;
    let escaped = false;
    for (let unit = text.charCodeAt(at); unit !== QUOTE; unit = text.charCodeAt(at)) {
      if (unit === BACKSLASH) {
        at = escapeEnd(text, at);
        if (at < 0) return undefined;
        escaped = true;
      } else if (unit >= SPACE) {
        at += 1;
      } else {
        return undefined; // a control character, or NaN: the end of the text
      }
    }
    this.#at = at + 1;
    // Cost: the engine decodes escapes it finds valid (checked above) ten times faster than a loop here.
    const value: string = escaped
      ? JSON.parse(text.slice(start, this.#at))
      : text.slice(start + 1, at);
    return { kind: "string", start, end: this.#at, value };
  }

  #literal(word: string, value: boolean | null): JsonNode | undefined {
    const start = this.#at;
    if (!this.#text.startsWith(word, start)) return undefined;
    this.#at += word.length;
    return { kind: "literal", start, end: this.#at, value };
  }

  #number(): JsonNode | undefined {
    const text = this.#text;
    const start = this.#at;
    let at = text.charCodeAt(start) === MINUS ? start + 1 : start;
    const whole = at;
    at = digitsEnd(text, at);
    if (at === whole || (text.charCodeAt(whole) === ZERO && at > whole + 1)) return undefined;
    if (text.charCodeAt(at) === POINT) {
      const fraction = at + 1;
      at = digitsEnd(text, fraction);
      if (at === fraction) return undefined;
    }
    if ((text.charCodeAt(at) | 0x20) === SMALL_E) {
      const sign = text.charCodeAt(at + 1);
      const exponent = sign === PLUS || sign === MINUS ? at + 2 : at + 1;
      at = digitsEnd(text, exponent);
      if (at === exponent) return undefined;
    }
    this.#at = at;
    return { kind: "number", start, end: at, value: Number(text.slice(start, at)) };
  }
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const PLUS = 0x2b;
const COMMA = 0x2c;
const MINUS = 0x2d;
const POINT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const SMALL_E = 0x65;
const SMALL_U = 0x75;
const CLOSE_BRACE = 0x7d;

function digitsEnd(text: string, from: number): number {
  let at = from;
  while (text.charCodeAt(at) >= ZERO && text.charCodeAt(at) <= ZERO + 9) at += 1;
  return at;
}

/** End of the escape that starts at `at`, -1 when it is none. A surrogate pair is one escape. */
function escapeEnd(text: string, at: number): number {
  const letter = text.charCodeAt(at + 1);
  if (letter !== SMALL_U) {
    return Number.isNaN(letter) || !'"\\/bfnrt'.includes(text[at + 1] ?? "") ? -1 : at + 2;
  }
  const unit = hexUnit(text, at + 2);
  if (unit < 0 || isLow(unit)) return -1;
  if (!isHigh(unit)) return at + 6;
  return text.startsWith("\\u", at + 6) && isLow(hexUnit(text, at + 8)) ? at + 12 : -1;
}

/** The UTF-16 unit that four hexadecimal digits spell, -1 when they do not. */
function hexUnit(text: string, at: number): number {
  let unit = 0;
  for (let digit = at; digit < at + 4; digit += 1) {
    const code = text.charCodeAt(digit);
    const letter = code | 0x20;
    if (code >= ZERO && code <= ZERO + 9) unit = unit * 16 + code - ZERO;
    else if (letter >= 0x61 && letter <= 0x66) unit = unit * 16 + letter - 0x57;
    else return -1;
  }
  return unit;
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdbff;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit <= 0xdfff;

/** `span` of the decoded value as a span of the source text. See `sourceSpans`. */
export function sourceSpan(text: string, literal: JsonString, span: Span): Span {
  return sourceSpans(text, literal, [span])[0] ?? literal;
}

/**
 * Spans of a literal's decoded value as spans of the source text. A border inside an escape or a surrogate
 * pair moves outwards: both halves go or none.
 * @param spans in order and without overlap, so that one pass serves them all
 */
export function sourceSpans(
  text: string,
  literal: JsonString,
  spans: readonly Span[],
): readonly Span[] {
  const walk = new SourceWalk(text, literal);
  return spans.map(({ start, end }) => ({
    start: walk.to(start, "before"),
    end: walk.to(end, "after"),
  }));
}

/** Walks a literal's source and decoded value side by side, forward only. */
class SourceWalk {
  readonly #text: string;
  readonly #literal: JsonString;
  /** The place reached, in the source and in the value: always a border of escapes and pairs. */
  #source: number;
  #value = 0;
  /** Where the next backslash stands. */
  #escape: number;

  constructor(text: string, literal: JsonString) {
    this.#text = text;
    this.#literal = literal;
    this.#source = literal.start + 1;
    // Cost: a literal without escapes needs no search, which would run on to the next backslash of the body.
    const plain = literal.value.length === literal.end - literal.start - 2;
    this.#escape = plain ? literal.end - 1 : this.#nextEscape();
  }

  /** The source offset of `offset` in the value, moved to the border before or after it. */
  to(offset: number, border: "before" | "after"): number {
    const { value } = this.#literal;
    const inPair = isLow(value.charCodeAt(offset)) && isHigh(value.charCodeAt(offset - 1));
    const target = inPair ? offset + (border === "before" ? -1 : 1) : offset;
    while (this.#value < target) {
      const plain = Math.min(target - this.#value, this.#escape - this.#source);
      this.#source += plain;
      this.#value += plain;
      if (this.#value === target) break;
      const end = escapeEnd(this.#text, this.#source);
      this.#value += end - this.#source === 12 ? 2 : 1;
      this.#source = end;
      this.#escape = this.#nextEscape();
    }
    return this.#source;
  }

  #nextEscape(): number {
    const last = this.#literal.end - 1;
    const at = this.#text.indexOf("\\", this.#source);
    return at < 0 || at > last ? last : at;
  }
}

/**
 * The text with all edits applied. Inserts at one place keep their order.
 * @throws Error when two edits overlap: their authors did not agree, and no result would be right
 */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  const sorted = [...edits].sort((a, b) => a.start - b.start || a.end - b.end);
  const pieces: string[] = [];
  let at = 0;
  for (const edit of sorted) {
    if (edit.start < at || edit.end < edit.start || edit.end > text.length) {
      throw new Error("edits overlap or lie outside of the text");
    }
    pieces.push(text.slice(at, edit.start), edit.text);
    at = edit.end;
  }
  pieces.push(text.slice(at));
  return pieces.join("");
}

/** `text` as the inside of a JSON string literal, without the quotes. */
export const encodeFragment = (text: string): string => JSON.stringify(text).slice(1, -1);
