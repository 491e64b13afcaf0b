/** Text that a client, a document, a tool or a model wrote. It has no printable form. */
export class Content {
  readonly #text: string;
  constructor(text: string) {
    this.#text = text;
  }
  /** The only door out. The files that may call it are a list in `test/rules/`. */
  reveal(): string {
    return this.#text;
  }
  /** In UTF-16 units. */
  get length(): number {
    return this.#text.length;
  }
  toString(): string {
    return "[content]";
  }
  toJSON(): string {
    return "[content]";
  }
}
