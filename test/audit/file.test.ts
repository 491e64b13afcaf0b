import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createFile, ensureFolder } from "../../src/audit/file.ts";
import { LimenError } from "../../src/core/errors.ts";
import { Place } from "./fixtures.ts";

const refusal = (run: () => void): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof LimenError) return `${error.code}: ${error.problems[0]?.what}`;
    throw error;
  }
  return "none";
};

describe("files of the audit log", () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(async () => place.remove());

  it("are created whole, with their mode, over what a crash left of an earlier try", () => {
    const path = join(place.root, "new.key");
    writeFileSync(`${path}.tmp`, "half", { mode: 0o644 });
    createFile(path, "whole", 0o600);
    assert.equal(readFileSync(path, "utf8"), "whole");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.deepEqual(readdirSync(place.root).sort(), ["audit.key", "new.key"]);
  });

  it("are never overwritten, and a try leaves nothing behind", () => {
    const before = readFileSync(place.keyFile);
    const said = refusal(() => createFile(place.keyFile, "another", 0o600));
    assert.equal(said, "file_unreadable: exists already");
    assert.deepEqual(readFileSync(place.keyFile), before);
    assert.deepEqual(readdirSync(place.root), ["audit.key"]);
  });

  it("that cannot be created are named, not thrown at the operator", () => {
    const nowhere = join(place.root, "none/a.key");
    assert.equal(
      refusal(() => createFile(nowhere, "x", 0o600)),
      "file_unreadable: cannot be written (ENOENT)",
    );
    assert.equal(
      refusal(() => ensureFolder(place.keyFile)),
      "file_unreadable: cannot be made (EEXIST)",
    );
  });

  it("stand in folders that are made, and a place where none can be made is said, not waited for", () => {
    const deep = join(place.root, "a/b/c");
    ensureFolder(deep);
    ensureFolder(deep);
    assert.deepEqual(readdirSync(deep), []);
    assert.equal(
      refusal(() => ensureFolder("/proc/limen/a")),
      "file_unreadable: cannot be made (ENOENT)",
    );
  });

  it("that cannot be locked are told from a log that another process writes", async () => {
    mkdirSync(join(place.dir, "lock"), { recursive: true });
    await assert.rejects(place.open(), { code: "audit_unavailable" });
  });
});
