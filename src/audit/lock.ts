/**
 * The single-writer lock of a log: an exclusive fcntl lock on the file `lock`, which the kernel frees
 * when the process ends, however it ends. Node has no call for it; SQLite, which comes with Node,
 * locks its database file that way. Unlike a file with a process id it holds between containers that
 * share a volume, where process ids mean nothing, and is never stale.
 */
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { LimenError } from "../core/errors.ts";

const SQLITE_BUSY = 5;

/**
 * Takes the lock of the log in `dir`; returns what gives it back.
 * @throws LimenError `log_locked` when another writer has it
 */
export function lockLog(dir: string): () => void {
  const path = join(dir, "lock");
  try {
    const file = new DatabaseSync(path, { timeout: 0 });
    file.exec("BEGIN EXCLUSIVE"); // nothing is ever written: the file stays empty
    return () => file.close();
  } catch (error) {
    if (error instanceof Error && "errcode" in error && error.errcode === SQLITE_BUSY) {
      throw new LimenError("log_locked", {
        where: path,
        what: "another process writes this log",
        fix: "stop it, or give this one its own audit.dir; do not delete the file",
      });
    }
    throw new LimenError("audit_unavailable", {
      where: path,
      what: "cannot be made or locked",
      fix: "check that this user may write into the folder, and that its disk has space and knows locks",
    });
  }
}
