/** Values that limen.yaml is made of, beside those that policies have: texts with variables in them, and paths. */
import { resolve } from "node:path";
import { type Decode, decoder, type Read, text } from "./policy/shape.ts";

export type Env = Readonly<Record<string, string | undefined>>;

/** What a text may refer to. */
export type Context = { readonly base: string; readonly env: Env };

/** `decode`, and then one more test of what it gave. */
export const checked =
  <A, B>(decode: Decode<A>, check: (read: A) => Read<B>): Decode<B> =>
  (value, path, problems) => {
    const read = decode(value, path, problems);
    return read === undefined ? undefined : decoder(() => check(read))(value, path, problems);
  };

const VARIABLE = /\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g;

/** Text in which `${NAME}` stands for a variable of the environment; one that is not set is an error. */
export const expanded = (env: Env): Decode<string> =>
  checked(text(), (written) => {
    const unset = [...written.matchAll(VARIABLE)].find(([, name = ""]) => !env[name]);
    if (unset === undefined) return { ok: written.replace(VARIABLE, (_, name) => env[name] ?? "") };
    const what = `the environment variable ${unset[1]} is not set`;
    return { what, fix: "set it, or write the value" };
  });

export const pathIn = ({ base, env }: Context): Decode<string> =>
  checked(expanded(env), (path) => ({ ok: resolve(base, path) }));
