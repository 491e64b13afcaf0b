/**
 * Our own source as the rules see it: code without comments and without the insides of strings, so that
 * a rule about `Date.now` is not about a sentence that mentions it. A small reader of TypeScript's tokens;
 * what it cannot know (is this slash a division?) it decides by the token before.
 */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

type Literal = { readonly start: number; readonly end: number; readonly text: string };

export type SourceFile = {
  /** From the root of the repository. */
  readonly path: string;
  readonly text: string;
  /** As long as `text`; comments and the insides of literals are spaces. */
  readonly code: string;
  readonly regexes: readonly Literal[];
  /** What the file imports, types and workers (`new URL("./x.ts", import.meta.url)`) included. */
  readonly imports: readonly string[];
};

export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

/** All files under `folder` for which `accept` is true, by path. */
export const filesIn = (folder: string, accept: (path: string) => boolean): readonly string[] =>
  readdirSync(`${ROOT}${folder}`, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => `${entry.parentPath.slice(ROOT.length)}/${entry.name}`)
    .filter(accept)
    .sort();

export const sourcesIn = (folder: string): readonly SourceFile[] =>
  filesIn(folder, (path) => path.endsWith(".ts")).map((path) =>
    sourceOf(path, readFileSync(`${ROOT}${path}`, "utf8")),
  );

const IMPORTS = /(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\(|\bnew URL\()\s*$/;

export function sourceOf(path: string, text: string): SourceFile {
  const { code, strings, regexes } = lex(text);
  const imports = strings
    .filter(({ start }) => IMPORTS.test(code.slice(Math.max(0, start - 40), start)))
    .map((literal) => literal.text);
  return { path, text, code, regexes, imports };
}

/** After one of these a slash begins a pattern. */
const BEFORE_REGEX =
  /(?:^|[=(,:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|void|await|yield))$/;
const TOKEN =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[`{}]|\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;

type Lexed = { code: string; strings: readonly Literal[]; regexes: readonly Literal[] };

function lex(text: string): Lexed {
  const strings: Literal[] = [];
  const regexes: Literal[] = [];
  const code = text.split("");
  const blank = (start: number, end: number): void => {
    for (let at = start; at < end; at += 1) if (code[at] !== "\n") code[at] = " ";
  };
  /** Depth of braces inside each open `${`. */
  const templates: number[] = [];
  let at = 0;
  const template = (): void => {
    const start = at;
    while (at < text.length && text[at] !== "`" && !text.startsWith("${", at)) {
      at += text[at] === "\\" ? 2 : 1;
    }
    blank(start, at);
    if (text[at] === "`") at += 1;
    else {
      at += 2;
      templates.push(0);
    }
  };
  while (at < text.length) {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[0] ?? "";
    const end = at + token.length;
    if (token === "") at += 1;
    else if (token === "`") {
      at = end;
      template();
    } else if (token === "{" || token === "}") {
      const depth = templates.at(-1);
      at = end;
      if (depth === 0 && token === "}") {
        templates.pop();
        template();
      } else if (depth !== undefined)
        templates[templates.length - 1] = depth + (token === "{" ? 1 : -1);
    } else if (token.startsWith("//") || token.startsWith("/*")) {
      blank(at, end);
      at = end;
    } else if (token.startsWith("/")) {
      if (
        !BEFORE_REGEX.test(
          code
            .slice(Math.max(0, at - 400), at)
            .join("")
            .trimEnd(),
        )
      )
        at += 1;
      else {
        regexes.push({ start: at, end, text: token });
        blank(at + 1, end);
        at = end;
      }
    } else {
      strings.push({ start: at, end, text: token.slice(1, -1) });
      blank(at + 1, end - 1);
      at = end;
    }
  }
  return { code: code.join(""), strings, regexes };
}
