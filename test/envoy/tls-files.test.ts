import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { LimenError } from "../../src/core/errors.ts";
import { readTlsFiles } from "../../src/envoy/tls-files.ts";
import { Folder } from "../policy/files.ts";
import { Authority } from "./certificates.ts";

const authority = new Authority("test");
const good = authority.issue({ dns: ["limen.test"] });

type Texts = { readonly cert: string; readonly key: string; readonly ca: string };
const texts: Texts = { ...good, ca: authority.cert };

/** What reading these texts comes to: the code and the problems, with the folder left out. */
function outcome(changed: Partial<Texts>): readonly string[] {
  using folder = new Folder();
  const all = { ...texts, ...changed };
  const files = {
    cert: folder.write("tls.crt", all.cert),
    key: folder.write("tls.key", all.key),
    ca: folder.write("ca.crt", all.ca),
  };
  try {
    const material = readTlsFiles(files, Date.now());
    assert.equal(material.cert.toString(), all.cert);
    return [];
  } catch (error) {
    assert.ok(error instanceof LimenError);
    return [error.code, ...error.message.replaceAll(`${folder.path}/`, "").split("\n")];
  }
}

const NO_CERT =
  "there is no PEM certificate in it, or one that cannot be read; write certificates that begin with -----BEGIN CERTIFICATE-----";

describe("envoy/tls-files", () => {
  it("reads a pair with its chain and several authorities", () => {
    const other = new Authority("other");
    assert.deepEqual(outcome({}), []);
    assert.deepEqual(
      outcome({ cert: good.cert + authority.cert, ca: `# ours\n${other.cert}\n${authority.cert}` }),
      [],
    );
  });

  const { privateKey: locked } = generateKeyPairSync("ec", {
    namedCurve: "P-256",
    privateKeyEncoding: {
      type: "pkcs8",
      format: "pem",
      cipher: "aes-256-cbc",
      passphrase: "x",
    },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
  const weak = generateKeyPairSync("rsa", { modulusLength: 512 }).privateKey;
  const rows: readonly (readonly [string, Partial<Texts>, RegExp])[] = [
    ["a certificate that is none", { cert: "hello" }, new RegExp(`^tls.crt: ${NO_CERT}$`)],
    [
      "a certificate that is cut off",
      { cert: good.cert.replace(/.{80}(?=\n-----END)/s, "") },
      new RegExp(`^tls.crt: ${NO_CERT}$`),
    ],
    [
      "a key that is none",
      { key: good.cert },
      /^tls\.key: there is no PEM private key in it that opens without a passphrase; write the key unencrypted/,
    ],
    ["a key with a passphrase", { key: locked }, /^tls\.key: there is no PEM private key in it/],
    [
      "the key of another certificate",
      { key: authority.issue({}).key },
      /^tls\.key: it is not the key of the first certificate in tls\.crt; name a pair/,
    ],
    [
      "a chain that does not begin with the leaf",
      { cert: authority.cert + good.cert },
      /^tls\.key: it is not the key of the first certificate in tls\.crt/,
    ],
    [
      "a key of another kind",
      { key: weak.export({ type: "pkcs8", format: "pem" }).toString() },
      /^tls\.key: it is not the key/,
    ],
    [
      "a certificate that has expired",
      authority.issue({ from: -3, to: -1 }),
      /^tls\.crt: the certificate is valid from \S+ to \S+, not now; renew it, or set the clock/,
    ],
    [
      "one that is not valid yet",
      authority.issue({ from: 1, to: 2 }),
      /^tls\.crt: the certificate is valid from/,
    ],
    ["no authority", { ca: "" }, new RegExp(`^ca.crt: ${NO_CERT}$`)],
    [
      "an authority that has expired",
      { ca: new Authority("old", { from: -3, to: -1 }).cert },
      /^ca\.crt: the certificate is valid from/,
    ],
  ];
  for (const [name, changed, message] of rows) {
    it(`refuses ${name}`, () => {
      const [code, first = "", ...more] = outcome(changed);
      assert.equal(code, "config_invalid");
      assert.match(first, message);
      assert.deepEqual(more, []);
    });
  }

  it("is content with one authority of several that is in force", () => {
    const old = new Authority("old", { from: -3, to: -1 });
    assert.deepEqual(outcome({ ca: old.cert + authority.cert }), []);
  });

  it("reports all that is wrong, and nothing of what a file holds", () => {
    const canary = ["can", "ary"].join("");
    const said = outcome({ cert: canary, key: canary, ca: canary });
    assert.equal(said.length, 4);
    assert.doesNotMatch(said.join(), /canary/);
  });

  it("says which files cannot be read, and why", () => {
    using folder = new Folder();
    const files = { cert: `${folder.path}/none.crt`, key: folder.path, ca: "/dev/zero" };
    assert.throws(() => readTlsFiles(files, Date.now()), {
      code: "file_unreadable",
      message:
        `${folder.path}/none.crt: there is no such file; check the path in listen.tls\n` +
        `${folder.path}: this is not a file; name a PEM file\n` +
        "/dev/zero: this is not a file; name a PEM file",
    });
  });
});
