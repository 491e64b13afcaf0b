/**
 * The policies in force: read from files and folders, compiled off to the side, swapped as a whole. A
 * reload that fails changes nothing and says why; the last good set stays. The only file of this room that
 * touches the disk.
 */
import { type FSWatcher, watch } from "node:fs";
import { open, readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Clock } from "../core/clock.ts";
import { LimenError, type Problem } from "../core/errors.ts";
import type { Trust } from "../core/identity.ts";
import type { PolicySet } from "../core/policy.ts";
import { type ControlFactories, compile } from "./compile.ts";
import { type PolicyDocument, parsePolicies } from "./schema.ts";
import { unvouched } from "./unvouched.ts";
import { inOrder, type Source } from "./yaml.ts";

/** The policy that ships with Limen. */
export const DEFAULT_POLICY: string = fileURLToPath(new URL("./default.yaml", import.meta.url));

/** All files together: what a ConfigMap can hold, and about a second of parsing. */
const MAX_BYTES = 1024 ** 2;
const MAX_FILES = 256;
/** Editors and the kubelet change several names at once. */
const SETTLE_MS = 100;
/** How soon a folder that could not be watched (removed, not yet mounted) is tried again. */
const RETRY_MS = 5000;

const POLICY_FILE = /^[^.].*\.(ya?ml|json)$/;

/** What a reload came to. */
export type PolicyEvent =
  | { readonly kind: "swapped"; readonly set: PolicySet }
  | { readonly kind: "failed"; readonly error: LimenError };

export type PolicyStore = {
  /** The last good set. */
  current(): PolicySet;
  /** Reads everything again now; resolves when that is done and the listener has been told. */
  reload(): Promise<void>;
  /** Stops watching; a reload that is under way ends without effect. */
  close(): void;
};

/**
 * @param paths files, and folders of which the policy files right inside are read
 * @param listener told of every swap and every failure after the first load; a failure that only repeats
 *   itself without anyone asking is told once
 * @throws LimenError `policy_invalid` or `file_unreadable` when the first load fails
 */
export async function openPolicyStore(options: {
  readonly paths: readonly string[];
  readonly factories: ControlFactories;
  readonly trust: Trust;
  readonly clock: Clock;
  readonly listener: (event: PolicyEvent) => void;
}): Promise<PolicyStore> {
  const store = new Store(options);
  await store.open();
  return store;
}

class Store implements PolicyStore {
  readonly #options: Parameters<typeof openPolicyStore>[0];
  #current: PolicySet | undefined;
  #watchers: readonly FSWatcher[] = [];
  #timer: { readonly ms: number; readonly cancel: () => void } | undefined;
  /** Ends when all reloads asked for so far are done: they run one after the other. */
  #working: Promise<void> = Promise.resolve();
  /** What the last reload failed with; undefined while what is in force is what the files say. */
  #failure: string | undefined;
  #closed = false;

  constructor(options: Parameters<typeof openPolicyStore>[0]) {
    this.#options = options;
  }

  async open(): Promise<void> {
    this.#watch(); // before reading: a change in between is read twice, never missed
    try {
      this.#current = await this.#load();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  current(): PolicySet {
    if (this.#current === undefined) throw new Error("the store is used before it is open");
    return this.#current;
  }

  reload(): Promise<void> {
    return this.#enqueue("asked");
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const watcher of this.#watchers) watcher.close();
    this.#watchers = [];
  }

  #enqueue(why: "asked" | "noticed"): Promise<void> {
    this.#working = this.#working.then(() => this.#reload(why));
    return this.#working;
  }

  async #load(): Promise<PolicySet> {
    const documents = await loadPolicies(this.#options.paths);
    const problems = unvouched(documents, this.#options.trust);
    if (problems.length > 0) throw new LimenError("policy_invalid", inOrder(problems));
    try {
      return compile(documents, this.#options.factories);
    } catch (error) {
      throw new LimenError("policy_invalid", {
        where: "policies",
        what: `no control can be built from them (${error instanceof Error ? error.name : "unknown"})`,
        fix: "report it: a document that is valid must compile",
      });
    }
  }

  async #reload(why: "asked" | "noticed"): Promise<void> {
    if (this.#closed) return;
    this.#watch();
    try {
      const set = await this.#load();
      const same = this.#failure === undefined && set.digest === this.current().digest;
      if (this.#closed || same) return;
      this.#current = set;
      this.#failure = undefined;
      this.#options.listener({ kind: "swapped", set });
    } catch (error) {
      if (!(error instanceof LimenError)) throw error;
      // A folder that stays away is tried for ever and told once.
      const news = why === "asked" || error.message !== this.#failure;
      this.#failure = error.message;
      if (!this.#closed && news) this.#options.listener({ kind: "failed", error });
    }
  }

  /**
   * A file is watched through its folder: what replaces it is a new file under the old name, and in a
   * ConfigMap volume the name itself never changes, only the link `..data` beside it. Opened anew with
   * every reload, because a folder that was removed and made again is another folder.
   */
  #watch(): void {
    for (const watcher of this.#watchers) watcher.close();
    const { paths } = this.#options;
    const named = new Set(paths.map((path) => basename(path)));
    const concerns = (name: string | null): boolean =>
      name === null || named.has(name) || name.startsWith("..") || POLICY_FILE.test(name);
    const folders = new Set(paths.flatMap((path) => [path, dirname(path)]));
    this.#watchers = [...folders].flatMap((folder) => {
      try {
        const watcher = watch(folder, { persistent: false }, (_, name) => {
          if (concerns(name)) this.#later(SETTLE_MS);
        });
        watcher.on("error", () => this.#later(RETRY_MS));
        return [watcher];
      } catch {
        // Missing, or too many watches: the reload itself reports what it cannot read.
        this.#later(RETRY_MS);
        return [];
      }
    });
  }

  /** One timer: the first change starts it, what changes meanwhile is read with it. */
  #later(ms: number): void {
    if (this.#closed || (this.#timer !== undefined && this.#timer.ms <= ms)) return;
    this.#timer?.cancel();
    const cancel = this.#options.clock.after(ms, () => {
      this.#timer = undefined;
      void this.#enqueue("noticed"); // rejects only with a bug, which ends the process
    });
    this.#timer = { ms, cancel };
  }
}

/**
 * All documents of `paths`, valid together.
 * @throws LimenError `file_unreadable`, or `policy_invalid` with everything that is wrong
 */
export async function loadPolicies(paths: readonly string[]): Promise<readonly PolicyDocument[]> {
  const unreadable: Problem[] = [];
  const sources: Source[] = [];
  let size = 0;
  for (const path of await filesOf(paths, unreadable)) {
    const text = await readText(path, MAX_BYTES, unreadable);
    if (text !== undefined) sources.push({ name: path, text });
    size += text?.length ?? 0;
    if (size > MAX_BYTES) {
      const what = `all files up to this one are larger than ${MAX_BYTES} characters together`;
      unreadable.push({ where: path, what, fix: "drop what is not needed" });
      break;
    }
  }
  if (unreadable.length > 0) throw new LimenError("file_unreadable", unreadable);
  const problems: Problem[] = [];
  const documents = parsePolicies(sources, problems);
  if (problems.length > 0) throw new LimenError("policy_invalid", inOrder(problems));
  return documents;
}

/** A folder's policy files in order of their names; one level, no hidden names (`..data`). */
async function filesOf(paths: readonly string[], problems: Problem[]): Promise<readonly string[]> {
  const files: string[] = [];
  for (const path of paths) {
    try {
      const folder = (await stat(path)).isDirectory();
      const names = folder ? (await readdir(path)).filter((name) => POLICY_FILE.test(name)) : [];
      if (folder && names.length === 0) {
        const fix = "put a .yaml, .yml or .json file into it";
        problems.push({ where: path, what: "the folder has no policy file", fix });
      }
      files.push(...(folder ? names.sort().map((name) => join(path, name)) : [path]));
    } catch (error) {
      problems.push(unreadable(path, error));
    }
  }
  if (files.length > MAX_FILES) {
    const what = `${files.length} files are more than ${MAX_FILES}`;
    problems.push({
      where: "policies",
      what,
      fix: "write several policies into one file, after ---",
    });
    return [];
  }
  return [...new Set(files)];
}

/** A regular file of UTF-8; undefined means that a problem was added. */
export async function readText(
  path: string,
  maxBytes: number,
  problems: Problem[],
): Promise<string | undefined> {
  try {
    await using file = await open(path, "r");
    const info = await file.stat();
    if (!info.isFile()) {
      problems.push({ where: path, what: "this is not a file", fix: "name a regular file" });
      return undefined;
    }
    const bytes = info.size > maxBytes ? undefined : await file.readFile();
    if (bytes === undefined || bytes.length > maxBytes) {
      const what = `the file is larger than ${maxBytes} bytes`;
      problems.push({ where: path, what, fix: "split it" });
      return undefined;
    }
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    problems.push(unreadable(path, error));
    return undefined;
  }
}

/** @param error of `node:fs`: its code is ours to print; or of the decoder */
function unreadable(path: string, error: unknown): Problem {
  if (error instanceof TypeError) {
    return { where: path, what: "the file is not UTF-8", fix: "save it as UTF-8" };
  }
  const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
  const what =
    code === "ENOENT" ? "there is no such file or folder" : `it cannot be read (${code})`;
  return { where: path, what, fix: `check the path and the permissions of ${basename(path)}` };
}
