/**
 * X.509 certificates made while a test runs (RFC 5280): an authority, and what it signs, with names that no tool would
 * write. Keys are P-256 and live as long as the test.
 */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const body = Buffer.concat(parts);
  const length =
    body.length < 128
      ? [body.length]
      : body.length < 256
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 255];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
};
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, "hex"));
const ECDSA_SHA256 = sequence(oid("2a8648ce3d040302"));
const nameOf = (text: string): Buffer =>
  sequence(der(0x31, sequence(oid("550403"), der(0x0c, Buffer.from(text)))));
const timeOf = (at: Date): Buffer =>
  der(
    0x17,
    Buffer.from(
      `${at
        .toISOString()
        .replace(/[-:T]|\..*/g, "")
        .slice(2)}Z`,
    ),
  );
const extension = (id: string, critical: boolean, value: Uint8Array): Buffer =>
  sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([255]))] : []), der(0x04, value));

export type Pair = { readonly cert: string; readonly key: string };
export type Wanted = {
  readonly uris?: readonly string[];
  readonly dns?: readonly string[];
  /** Days from now. */
  readonly from?: number;
  readonly to?: number;
};

const DAY_MS = 86_400_000;
const pem = (label: string, bytes: Buffer): string =>
  `-----BEGIN ${label}-----\n${bytes
    .toString("base64")
    .replace(/(.{64})/g, "$1\n")
    .trim()}\n-----END ${label}-----\n`;

function issue(options: {
  readonly subject: string;
  readonly issuer: string;
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly signer: KeyObject;
  readonly isAuthority: boolean;
  readonly wanted: Wanted;
}): Pair {
  const { keys, wanted } = options;
  const spki = keys.publicKey.export({ type: "spki", format: "der" });
  const names = [
    ...(wanted.uris ?? []).map((uri) => der(0x86, Buffer.from(uri))),
    ...(wanted.dns ?? []).map((name) => der(0x82, Buffer.from(name))),
  ];
  const extensions = sequence(
    options.isAuthority
      ? extension("551d13", true, sequence(der(0x01, Buffer.from([255]))))
      : extension("551d13", true, sequence()),
    extension("551d0e", false, der(0x04, createHash("sha1").update(spki).digest())),
    ...(names.length > 0 ? [extension("551d11", false, sequence(...names))] : []),
  );
  const now = Date.now();
  const toBeSigned = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_SHA256,
    nameOf(options.issuer),
    sequence(
      timeOf(new Date(now + (wanted.from ?? -1) * DAY_MS)),
      timeOf(new Date(now + (wanted.to ?? 1) * DAY_MS)),
    ),
    nameOf(options.subject),
    spki,
    der(0xa3, extensions),
  );
  const signature = sign("sha256", toBeSigned, options.signer);
  const bits = der(0x03, Buffer.from([0]), signature);
  return {
    cert: pem("CERTIFICATE", sequence(toBeSigned, ECDSA_SHA256, bits)),
    key: keys.privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  };
}

const newKeys = () => generateKeyPairSync("ec", { namedCurve: "P-256" });

export class Authority {
  readonly #keys = newKeys();
  readonly #name: string;
  readonly cert: string;

  constructor(name: string, wanted: Wanted = {}) {
    this.#name = name;
    this.cert = issue({
      subject: name,
      issuer: name,
      keys: this.#keys,
      signer: this.#keys.privateKey,
      isAuthority: true,
      wanted,
    }).cert;
  }

  issue(wanted: Wanted): Pair {
    return issue({
      subject: "leaf",
      issuer: this.#name,
      keys: newKeys(),
      signer: this.#keys.privateKey,
      isAuthority: false,
      wanted,
    });
  }
}

/** Writes NAME.crt and NAME.key into a folder and says where they are. */
export function writePair(dir: string, name: string, pair: Pair): { cert: string; key: string } {
  const files = { cert: join(dir, `${name}.crt`), key: join(dir, `${name}.key`) };
  writeFileSync(files.cert, pair.cert);
  writeFileSync(files.key, pair.key, { mode: 0o600 });
  return files;
}
