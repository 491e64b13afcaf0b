import assert from "node:assert/strict";
import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import {
  epochOf,
  formatKeyFile,
  generateLogKey,
  isOrigin,
  openCheckpoint,
  parseKeyFile,
  parseVkey,
  signCheckpoint,
} from "../../src/audit/checkpoint.ts";
import { Edge, leafHash } from "../../src/audit/merkle.ts";

const vectors = JSON.parse(readFileSync(new URL("../vectors/tlog.json", import.meta.url), "utf8"));

/** The key file of the published test key: PKCS#8 around the seed. */
function publishedKey() {
  const der = Buffer.from(`302e020100300506032b657004220420${vectors.seed}`, "hex");
  const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const pem = key.export({ type: "pkcs8", format: "pem" });
  return parseKeyFile(`limen audit key v1\norigin: ${vectors.origin}\n${pem}`)!;
}

const tree = (size: number) => {
  const edge = new Edge();
  for (let i = 0; i < size; i++) edge.append(leafHash(Buffer.from(String(i))));
  return { size, root: edge.root() };
};

describe("a checkpoint", () => {
  it("is the published one, byte for byte, but for the witness's line", () => {
    const note = signCheckpoint(tree(257), publishedKey());
    const [ours] = vectors.checkpoint.split("\u2014 witness");
    assert.equal(note, ours);
  });

  it("opens under the published verifier key, whatever other keys have signed", () => {
    const note = openCheckpoint(Buffer.from(vectors.checkpoint), parseVkey(vectors.vkey)!);
    assert.equal(note.kind, "valid");
    assert.deepEqual(note.kind === "valid" && note.checkpoint.size, 257);
  });

  it("is not ours under another key, or under another name of the same key", () => {
    const other = generateLogKey(vectors.origin).verifier;
    assert.deepEqual(openCheckpoint(Buffer.from(vectors.checkpoint), other), { kind: "unsigned" });
    const renamed = { ...publishedKey().verifier, name: "limen.example/other" };
    assert.deepEqual(openCheckpoint(Buffer.from(vectors.checkpoint), renamed), {
      kind: "unsigned",
    });
  });

  it("is refused when a known key's line is wrong, even beside a right one", () => {
    const key = publishedKey();
    const [right, wrong] = [signCheckpoint(tree(3), key), signCheckpoint(tree(4), key)];
    const both = `${right}${wrong.slice(wrong.indexOf("\u2014"))}`;
    assert.deepEqual(openCheckpoint(Buffer.from(both), key.verifier), { kind: "forged" });
  });

  it("is refused with any of its bits changed", () => {
    const key = publishedKey();
    const note = Buffer.from(signCheckpoint(tree(257), key));
    for (let at = 0; at < note.length; at++) {
      for (const bit of [1, 2, 4, 8, 16, 32, 64, 128]) {
        const flipped = Buffer.from(note);
        flipped[at]! ^= bit;
        assert.notEqual(openCheckpoint(flipped, key.verifier).kind, "valid", `byte ${at}`);
      }
    }
  });

  const malformed = [
    ["extension lines", vectors.checkpoint.replace("=\n\n", "=\nextension\n\n")],
    ["a size with a leading zero", vectors.checkpoint.replace("\n257\n", "\n0257\n")],
    ["a size beyond 2^53", vectors.checkpoint.replace("\n257\n", "\n9007199254740993\n")],
    ["no signature", vectors.checkpoint.slice(0, vectors.checkpoint.indexOf("\u2014"))],
    ["no end of line", vectors.checkpoint.slice(0, -1)],
    ["carriage returns", vectors.checkpoint.replaceAll("\n", "\r\n")],
    ["more than 64 KiB", vectors.checkpoint + `\u2014 a AAAAAAAA\n`.repeat(5000)],
    ["nothing", ""],
  ];
  for (const [what, text] of malformed) {
    it(`with ${what} is malformed`, () => {
      const note = openCheckpoint(Buffer.from(text), parseVkey(vectors.vkey)!);
      assert.deepEqual(note, { kind: "malformed" });
    });
  }

  it("has one form of its base64: unused bits that are not zero are refused", () => {
    const other = vectors.checkpoint.replace("TTifAw=\n", "TTifAx=\n"); // the same bytes, decoded laxly
    assert.notEqual(other, vectors.checkpoint);
    const note = openCheckpoint(Buffer.from(other), parseVkey(vectors.vkey)!);
    assert.deepEqual(note, { kind: "malformed" });
  });

  it("is read by the parser of @sigstore/verify", () => {
    const load = createRequire(import.meta.url);
    const { LogCheckpoint } = load("@sigstore/verify/dist/tlog/checkpoint.js");
    const text = signCheckpoint(tree(7), publishedKey());
    const parsed = LogCheckpoint.fromString(text.slice(0, text.indexOf("\n\n") + 1));
    assert.equal(parsed.origin, vectors.origin);
    assert.equal(parsed.logSize, 7n);
    assert.equal(parsed.logHash.toString("base64"), vectors.roots["7"]);
  });
});

describe("keys of a log", () => {
  it("have the published verifier key", () => {
    assert.equal(publishedKey().vkey, vectors.vkey);
  });

  it("accept the specification's sample, and no changed character of it", () => {
    const sample: string = vectors.specificationVkey;
    assert.equal(parseVkey(sample)?.name, "example.com/foo");
    for (let at = 0; at < sample.length; at++) {
      const changed = `${sample.slice(0, at)}${sample[at] === "x" ? "y" : "x"}${sample.slice(at + 1)}`;
      assert.equal(parseVkey(changed), undefined, `character ${at}`);
    }
  });

  it("survive their file", () => {
    const key = generateLogKey("limen.example/keys/1");
    assert.equal(parseKeyFile(formatKeyFile(key))?.vkey, key.vkey);
  });

  it("are not made of files that are something else", () => {
    const text = formatKeyFile(generateLogKey("limen.example/keys/1"));
    const others = ["", "limen audit key v1", text.replace("origin: ", "origin:"), text.slice(20)];
    for (const other of [...others, text.slice(0, 80)])
      assert.equal(parseKeyFile(other), undefined);
  });

  it("take as origin a URL without scheme, and nothing that would break the note", () => {
    for (const good of ["a", "example.com/limen/gw-0/1", "h\u00fctte.example/1"]) {
      assert.equal(isOrigin(good), true, good);
    }
    const bad = [
      "",
      "https://a.example",
      "a/",
      "/a",
      "a b",
      "a+b",
      "a\nb",
      "a\u0000",
      "x".repeat(256),
    ];
    for (const text of bad) assert.equal(isOrigin(text), false, text);
  });

  it("read the epoch from the end of the origin", () => {
    assert.equal(epochOf("example.com/limen/gw-0/12"), 12);
    assert.equal(epochOf("example.com/limen"), 0);
    assert.equal(epochOf("12"), 0);
  });
});
