/**
 * Checkpoints as signed notes (C2SP tlog-checkpoint v1.0.0, signed-note v1.0.0) with Ed25519 keys, and
 * the text forms of keys. Pure: files are read and written elsewhere. Refuses extension lines, which no
 * auditor could check.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { HASH_BYTES, type Hash, sha256 } from "./merkle.ts";

const ED25519 = 1; // signature type of plain Ed25519 in key ids and verifier keys
const NOTE_LIMIT = 65_536; // bytes; a checkpoint with 16 cosignatures has 2 KiB
const SIGNATURE_LINES = 100;

export type Checkpoint = { readonly origin: string; readonly size: number; readonly root: Hash };

/** Checks the signatures of one key. */
export type Verifier = { readonly name: string; readonly id: Uint8Array; readonly key: KeyObject };

/** The log's private key; the key's name is the log's origin. */
export type LogKey = {
  readonly origin: string;
  readonly privateKey: KeyObject;
  readonly verifier: Verifier;
  readonly vkey: string;
};

/** Schema-less URL without trailing slash, space, control character or plus sign. */
export const isOrigin = (text: string): boolean =>
  text.length <= 255 &&
  /^[^\s\p{Cc}+/][^\s\p{Cc}+]*$/u.test(text) &&
  !text.includes("://") &&
  !text.endsWith("/");

/** The number that ends an origin, 0 when there is none: `example.com/limen/gateway-0/3` is epoch 3. */
export const epochOf = (origin: string): number =>
  Number(/\/([0-9]{1,15})$/.exec(origin)?.[1] ?? "0");

const keyId = (name: string, type: number, publicKey: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Buffer.from(`${name}\n`), Uint8Array.of(type), publicKey])).subarray(0, 4);

/** Base64 in its one canonical form: a changed character always changes the bytes or is refused. */
function fromBase64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64");
  return bytes.toString("base64") === text ? bytes : undefined;
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

function logKey(origin: string, privateKey: KeyObject): LogKey {
  const raw = Buffer.from(
    createPublicKey(privateKey).export({ format: "jwk" }).x ?? "",
    "base64url",
  );
  const id = keyId(origin, ED25519, raw);
  const typed = Buffer.concat([Uint8Array.of(ED25519), raw]);
  return {
    origin,
    privateKey,
    verifier: { name: origin, id, key: createPublicKey(privateKey) },
    vkey: `${origin}+${Buffer.from(id).toString("hex")}+${base64(typed)}`,
  };
}

export const generateLogKey = (origin: string): LogKey =>
  logKey(origin, generateKeyPairSync("ed25519").privateKey);

const KEY_FILE_TITLE = "limen audit key v1";

/** The key file: a title, the origin, the private key as PKCS#8 in PEM. */
export const formatKeyFile = (key: LogKey): string =>
  `${KEY_FILE_TITLE}\norigin: ${key.origin}\n${key.privateKey.export({ type: "pkcs8", format: "pem" })}`;

/** The key of a key file; undefined when it is none. */
export function parseKeyFile(text: string): LogKey | undefined {
  const [title, originLine = "", ...pem] = text.split("\n");
  const origin = originLine.startsWith("origin: ") ? originLine.slice("origin: ".length) : "";
  if (title !== KEY_FILE_TITLE || !isOrigin(origin)) return undefined;
  try {
    const key = createPrivateKey(pem.join("\n"));
    return key.asymmetricKeyType === "ed25519" ? logKey(origin, key) : undefined;
  } catch {
    return undefined; // the message could quote the key
  }
}

/** A verifier key, `name+hash+base64`; undefined when it is malformed or not Ed25519. */
export function parseVkey(text: string): Verifier | undefined {
  const parts = /^([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)$/.exec(text);
  const [, name = "", id = "", key = ""] = parts ?? [];
  const typed = fromBase64(key);
  if (!isOrigin(name) || typed?.length !== 1 + HASH_BYTES || typed[0] !== ED25519) return undefined;
  const raw = typed.subarray(1);
  if (Buffer.from(keyId(name, ED25519, raw)).toString("hex") !== id) return undefined;
  const jwk = { kty: "OKP", crv: "Ed25519", x: Buffer.from(raw).toString("base64url") };
  return { name, id: Buffer.from(id, "hex"), key: createPublicKey({ format: "jwk", key: jwk }) };
}

/** The signed checkpoint of a tree. Never call it for a tree inconsistent with one signed before. */
export function signCheckpoint(
  tree: { readonly size: number; readonly root: Hash },
  key: LogKey,
): string {
  const text = `${key.origin}\n${tree.size}\n${base64(tree.root)}\n`;
  const signature = sign(null, Buffer.from(text), key.privateKey);
  return `${text}\n\u2014 ${key.origin} ${base64(Buffer.concat([key.verifier.id, signature]))}\n`;
}

export type OpenedNote =
  | { readonly kind: "valid"; readonly checkpoint: Checkpoint }
  /** Not a checkpoint; not signed by this key; signed by this key over other bytes. */
  | { readonly kind: "malformed" | "unsigned" | "forged" };

/** Parses a signed note and checks it against `verifier`; lines of other keys are ignored. */
export function openCheckpoint(bytes: Uint8Array, verifier: Verifier): OpenedNote {
  const note = parseNote(bytes);
  if (note === undefined) return { kind: "malformed" };
  let signed = false;
  for (const { name, payload } of note.signatures) {
    const isKnown =
      name === verifier.name && Buffer.compare(payload.subarray(0, 4), verifier.id) === 0;
    if (!isKnown) continue;
    if (!verify(null, note.text, verifier.key, payload.subarray(4))) return { kind: "forged" };
    signed = true;
  }
  return signed ? { kind: "valid", checkpoint: note.checkpoint } : { kind: "unsigned" };
}

/** What a note says, whoever signed it. */
export const readCheckpoint = (bytes: Uint8Array): Checkpoint | undefined =>
  parseNote(bytes)?.checkpoint;

type Note = {
  readonly text: Uint8Array;
  readonly checkpoint: Checkpoint;
  readonly signatures: readonly { readonly name: string; readonly payload: Uint8Array }[];
};

function parseNote(bytes: Uint8Array): Note | undefined {
  if (bytes.length > NOTE_LIMIT) return undefined;
  const whole = Buffer.from(bytes).toString("utf8");
  // Replaced bytes would sign as U+FFFD: only text that is its own UTF-8 counts.
  if (Buffer.compare(Buffer.from(whole), bytes) !== 0 || !whole.endsWith("\n")) return undefined;
  const [origin = "", size = "", root = "", blank, ...lines] = whole.slice(0, -1).split("\n");
  const rootBytes = fromBase64(root);
  if (!isOrigin(origin) || blank !== "" || rootBytes?.length !== HASH_BYTES) return undefined;
  if (!/^(0|[1-9][0-9]{0,15})$/.test(size) || !Number.isSafeInteger(Number(size))) return undefined;
  if (lines.length === 0 || lines.length > SIGNATURE_LINES) return undefined;
  const signatures = [];
  for (const line of lines) {
    const [, name = "", signature = ""] = /^\u2014 ([^\s+]+) ([A-Za-z0-9+/=]+)$/.exec(line) ?? [];
    const payload = fromBase64(signature);
    if (name === "" || payload === undefined || payload.length < 5) return undefined;
    signatures.push({ name, payload });
  }
  const text = Buffer.from(`${origin}\n${size}\n${root}\n`);
  return { text, checkpoint: { origin, size: Number(size), root: rootBytes }, signatures };
}
