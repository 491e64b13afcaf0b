import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { generateLogKey, parseKeyFile } from "../../src/audit/checkpoint.ts";
import { auditKeygen, auditVerify } from "../../src/cli/audit.ts";
import { LimenError } from "../../src/core/errors.ts";
import { decisionRecord, newId, ORIGIN, outcomeRecord, Place } from "../audit/fixtures.ts";

type Command = typeof auditVerify;

async function run(command: Command, ...args: string[]) {
  const said = { out: "", err: "" };
  const io = {
    stdout(text: string) {
      said.out += text;
    },
    stderr(text: string) {
      said.err += text;
    },
  };
  const code = await command(args, io);
  return { code, ...said };
}

describe("limen audit", () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(async () => place.remove());

  async function writeLog(): Promise<string> {
    const log = await place.open();
    const id = newId();
    await log.append([decisionRecord(id), outcomeRecord(id)]);
    await log.close();
    return id;
  }

  it("keygen writes a private key that only its owner reads, and the verifier key beside it", async () => {
    const file = join(place.root, "new.key");
    const { code, out } = await run(auditKeygen, "--origin", "example.com/limen/gw/1", file);
    assert.equal(code, 0);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(out, readFileSync(`${file}.pub`, "utf8"));
    const key = parseKeyFile(readFileSync(file, "utf8"));
    assert.equal(`${key?.vkey}\n`, out);
    assert.ok(!out.includes("PRIVATE") && key?.origin === "example.com/limen/gw/1");
  });

  it("keygen never overwrites, and leaves what is there as it is", async () => {
    const before = readFileSync(place.keyFile);
    await assert.rejects(run(auditKeygen, place.keyFile), (error) => {
      assert.ok(error instanceof LimenError && error.code === "file_unreadable");
      return true;
    });
    assert.deepEqual(readFileSync(place.keyFile), before);
  });

  it("keygen leaves no key behind whose public part has no place", async () => {
    const file = join(place.root, "new.key");
    writeFileSync(`${file}.pub`, "another's");
    await assert.rejects(run(auditKeygen, file), { code: "file_unreadable" });
    assert.ok(!existsSync(file));
    assert.equal(readFileSync(`${file}.pub`, "utf8"), "another's");
  });

  it("verify accepts a sound log, by key, key file or the log's own word", async () => {
    await writeLog();
    const pub = join(place.root, "audit.pub");
    writeFileSync(pub, `${place.key.vkey}\n`);
    const checkpoint = join(place.dir, "checkpoint");
    for (const key of [["--key", place.key.vkey], ["--key", pub], []]) {
      const { code, out } = await run(auditVerify, ...key, "--from", checkpoint, place.dir);
      assert.equal(code, 0);
      assert.match(out, /1 decisions, 1 outcomes, 0 without outcome\n/);
      assert.match(out, /\nverified\n$/);
      assert.equal(out.includes("the log's own"), key.length === 0);
    }
  });

  it("verify names the entry that was changed, with exit code 1", async () => {
    await writeLog();
    const path = join(place.dir, "tile/entries/000.p/4");
    const bytes = readFileSync(path, "latin1");
    writeFileSync(path, bytes.replace('"mutated"', '"allowed"'), "latin1");
    const text = await run(auditVerify, "--key", place.key.vkey, place.dir);
    assert.equal(text.code, 1);
    assert.match(text.out, /FLAW {5}entry 1: does not match its hash/);
    assert.match(text.out, /\nNOT VERIFIED\n$/);
    const json = await run(auditVerify, "--json", "--key", place.key.vkey, place.dir);
    const report = JSON.parse(json.out);
    assert.equal(json.code, 1);
    assert.deepEqual([report.ok, report.origin, report.size], [false, ORIGIN, 4]);
    assert.deepEqual([report.flaws[0].from, report.flaws[0].to], [1, 2]);
  });

  it("verify does not take another key for the log's", async () => {
    await writeLog();
    const other = new Place();
    const { code, out } = await run(auditVerify, "--key", other.key.vkey, place.dir);
    await other.remove();
    assert.equal(code, 1);
    assert.match(out, /not signed by this key/);
  });

  const misuse = [
    { command: auditVerify, args: [], code: 2 },
    { command: auditVerify, args: ["a", "b"], code: 2 },
    { command: auditVerify, args: ["--unknown", "a"], code: 2 },
    { command: auditVerify, args: ["--key", "nonsense", "a"], code: 2 },
    { command: auditVerify, args: ["--from", "/nowhere", "a"], code: 3 },
    { command: auditVerify, args: ["/nowhere"], code: 3 },
    { command: auditVerify, args: ["--key", generateLogKey(ORIGIN).vkey, "/nowhere"], code: 3 },
    { command: auditKeygen, args: [], code: 2 },
    { command: auditKeygen, args: ["--origin", "https://a", "f"], code: 2 },
  ];
  for (const { command, args, code } of misuse) {
    it(`${command.name} ${args.join(" ").slice(0, 26)} ends with ${code} and a line that says why`, async () => {
      const said = await run(command, ...args);
      assert.equal(said.code, code);
      assert.equal(said.out, "");
      assert.match(said.err, /^limen audit (verify|keygen): .+\n$/);
    });
  }

  it("--help shows an example of each that is used as it stands", async () => {
    const keygen = await run(auditKeygen, "--help");
    const verify = await run(auditVerify, "-h");
    assert.match(keygen.out, /\n {2}limen audit keygen --origin \S+ audit\.key\n/);
    assert.match(verify.out, /\n {2}limen audit verify --key audit\.key\.pub \S+\n/);
    assert.deepEqual([keygen.code, verify.code], [0, 0]);
  });
});
