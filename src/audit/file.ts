/**
 * The file system as the audit log needs it: short writes are finished, replaced files are whole or
 * not there, and what a crash leaves at each step is said. `FileOps` has the system calls that can
 * fail; tests fail each of them in turn.
 */
import fs from "node:fs";
import { dirname } from "node:path";
import { LimenError } from "../core/errors.ts";

/** The system calls behind the log; all are synchronous and throw what `node:fs` throws. */
export interface FileOps {
  open(path: string, flags: "wx" | "w" | "r+"): number;
  /** Returns how many bytes were written: fewer than asked on a disk that is getting full. */
  write(fd: number, bytes: Uint8Array, position: number): number;
  fdatasync(fd: number): void;
  /** Makes names in a folder durable. */
  syncDir(path: string): void;
  truncate(fd: number, bytes: number): void;
  close(fd: number): void;
  rename(from: string, to: string): void;
  makeDir(path: string): void;
  remove(path: string): void;
}

export const nodeOps: FileOps = {
  open: (path, flags) => fs.openSync(path, flags, 0o644),
  write: (fd, bytes, position) => fs.writeSync(fd, bytes, 0, bytes.length, position),
  fdatasync: (fd) => fs.fdatasyncSync(fd),
  syncDir(path) {
    const fd = fs.openSync(path, "r");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
  truncate: (fd, bytes) => fs.ftruncateSync(fd, bytes),
  close: (fd) => fs.closeSync(fd),
  rename: (from, to) => fs.renameSync(from, to),
  makeDir: makeFolder,
  remove: (path) => fs.rmSync(path, { recursive: true, force: true }),
};

/** The system's name of a failure, `ENOSPC`. Its message has paths and is not printed. */
export const failureOf = (error: unknown): string =>
  error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : "unknown failure";

/** The system call that failed, or "". */
export const syscallOf = (error: unknown): string =>
  error instanceof Error && "syscall" in error && typeof error.syscall === "string"
    ? error.syscall
    : "";

/** Writes all of `bytes`: a nearly full disk takes a part and reports nothing until the next call. */
export function writeAll(ops: FileOps, fd: number, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) {
    const count = ops.write(fd, done === 0 ? bytes : bytes.subarray(done), position + done);
    if (count <= 0) throw new Error("write made no progress");
    done += count;
  }
}

/**
 * Replaces a file as a whole. `durable`: the new content survives a power loss from when this returns;
 * `visible`: after a crash of the machine the file may be old, new, empty or gone.
 */
export function replaceFile(
  ops: FileOps,
  path: string,
  content: { readonly bytes: Uint8Array; readonly as: "durable" | "visible" | "synced" },
): void {
  const temp = `${path}.tmp`;
  const fd = openMakingDir(ops, temp);
  try {
    writeAll(ops, fd, content.bytes, 0);
    if (content.as !== "visible") ops.fdatasync(fd);
  } finally {
    ops.close(fd);
  }
  ops.rename(temp, path);
  if (content.as === "durable") ops.syncDir(dirname(path));
}

function openMakingDir(ops: FileOps, path: string): number {
  try {
    return ops.open(path, "w");
  } catch (error) {
    if (failureOf(error) !== "ENOENT") throw error;
  }
  ops.makeDir(dirname(path));
  return ops.open(path, "w");
}

/** The content of a file; undefined when there is none or it is larger than `limitBytes`. */
export function readFile(path: string, limitBytes: number): Uint8Array | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, "r");
  } catch (error) {
    if (failureOf(error) === "ENOENT" || failureOf(error) === "ENOTDIR") return undefined;
    throw unreadable(path, error);
  }
  try {
    const { size } = fs.fstatSync(fd);
    if (size > limitBytes) return undefined;
    const bytes = Buffer.allocUnsafe(size);
    let done = 0;
    while (done < size) {
      const count = fs.readSync(fd, bytes, done, size - done, done);
      if (count === 0) break; // the file got shorter while we read
      done += count;
    }
    return bytes.subarray(0, done);
  } catch (error) {
    throw unreadable(path, error);
  } finally {
    fs.closeSync(fd);
  }
}

/** Whether `path` still names the open file: it does not once its folder was deleted, moved or mounted over. */
export function isNamed(fd: number, path: string): boolean {
  const named = fs.statSync(path, { bigint: true, throwIfNoEntry: false });
  const opened = fs.fstatSync(fd, { bigint: true });
  return named?.ino === opened.ino && named.dev === opened.dev;
}

/** The names in a folder, sorted; empty when there is no such folder. */
export function namesIn(path: string): readonly string[] {
  try {
    return fs.readdirSync(path).sort();
  } catch (error) {
    if (failureOf(error) === "ENOENT") return [];
    throw unreadable(path, error);
  }
}

const unreadable = (path: string, error: unknown): LimenError =>
  new LimenError("file_unreadable", {
    where: path,
    what: `cannot be read (${failureOf(error)})`,
    fix: "check that it is a file that this user may read, and that the disk is sound",
  });

/**
 * Makes a folder and those above it that are missing. Not Node's `recursive`: below a folder in which no name can be
 * made (/proc) it tries for ever.
 * @throws what `node:fs` throws
 */
export function makeFolder(path: string): void {
  try {
    fs.mkdirSync(path);
  } catch (error) {
    if (
      failureOf(error) === "EEXIST" &&
      fs.statSync(path, { throwIfNoEntry: false })?.isDirectory()
    )
      return;
    const above = dirname(path);
    if (failureOf(error) !== "ENOENT" || fs.existsSync(above)) throw error;
    makeFolder(above);
    makeFolder(path); // once: what is above is there now
  }
}

/** As `makeFolder`, with the operator's words for what goes wrong. */
export function ensureFolder(folder: string): void {
  try {
    makeFolder(folder);
  } catch (error) {
    throw new LimenError("file_unreadable", {
      where: folder,
      what: `cannot be made (${failureOf(error)})`,
      fix: "name a folder on a disk that this user may write",
    });
  }
}

/**
 * Creates a file that must not exist, private (0600) or public (0644), durably and whole: on a full disk, and after a
 * crash at any point, there is no file, or all of it. A half-written key would be in the way of every later start.
 */
export function createFile(path: string, text: string, mode: 0o600 | 0o644): void {
  const temp = `${path}.tmp`;
  try {
    fs.rmSync(temp, { force: true }); // of a crash
    const fd = fs.openSync(temp, "wx", mode);
    try {
      fs.writeFileSync(fd, text);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
    fs.linkSync(temp, path); // unlike a rename it overwrites nothing
    nodeOps.syncDir(dirname(path));
  } catch (error) {
    const exists = failureOf(error) === "EEXIST";
    throw new LimenError("file_unreadable", {
      where: path,
      what: exists ? "exists already" : `cannot be written (${failureOf(error)})`,
      fix: exists
        ? "name another file; keys are never overwritten"
        : "name a writable folder on a disk with space",
    });
  } finally {
    fs.rmSync(temp, { force: true });
  }
}
