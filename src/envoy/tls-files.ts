/**
 * The files of a TLS port: our certificate with its chain, its key, and the authorities that vouch for callers. Read
 * together and checked together, before anything is opened with them: what would fail in the first handshake is said
 * at the start, with the file that is wrong.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { LimenError, type Problem } from "../core/errors.ts";

/** Absolute paths of PEM files. */
export type TlsFiles = { readonly cert: string; readonly key: string; readonly ca: string };
/** What stands in them. */
export type TlsMaterial = Readonly<Record<keyof TlsFiles, Buffer>>;

const MAX_FILE_BYTES = 1024 ** 2;

/**
 * @param nowMs wall time, in milliseconds since the epoch
 * @throws LimenError `file_unreadable` when one cannot be read, `config_invalid` when they cannot serve; with all of
 *   it at once
 */
export function readTlsFiles(files: TlsFiles, nowMs: number): TlsMaterial {
  const problems: Problem[] = [];
  const cert = readPem(files.cert, problems);
  const key = readPem(files.key, problems);
  const ca = readPem(files.ca, problems);
  if (cert === undefined || key === undefined || ca === undefined)
    throw new LimenError("file_unreadable", problems);
  const material = { cert, key, ca };
  problems.push(...pairFaults(files, material, nowMs), ...authorityFaults(files, ca, nowMs));
  if (problems.length === 0) problems.push(...opensslFaults(files, material));
  if (problems.length > 0) throw new LimenError("config_invalid", problems);
  return material;
}

function readPem(file: string, problems: Problem[]): Buffer | undefined {
  const refused = (what: string, fix: string): undefined => {
    problems.push({ where: file, what, fix });
  };
  try {
    const info = statSync(file);
    if (!info.isFile()) return refused("this is not a file", "name a PEM file");
    if (info.size > MAX_FILE_BYTES)
      return refused(`the file is larger than ${MAX_FILE_BYTES} bytes`, "name a PEM file");
    return readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown error";
    return code === "ENOENT"
      ? refused("there is no such file", "check the path in listen.tls")
      : refused(`it cannot be read (${code})`, "let the user that Limen runs as read it");
  }
}

/** Whether the certificate is in force, and the key is its key. */
function pairFaults(files: TlsFiles, pem: TlsMaterial, nowMs: number): readonly Problem[] {
  const [leaf] = certificatesIn(pem.cert) ?? [];
  const key = privateKeyIn(pem.key);
  const faults: Problem[] = [];
  if (leaf === undefined) faults.push(noCertificate(files.cert));
  else if (!isInForce(leaf, nowMs)) faults.push(notInForce(files.cert, leaf));
  if (key === undefined) {
    const what = "there is no PEM private key in it that opens without a passphrase";
    faults.push({
      where: files.key,
      what,
      fix: "write the key unencrypted, readable by Limen alone",
    });
  } else if (leaf !== undefined && !leaf.checkPrivateKey(key)) {
    const what = `it is not the key of the first certificate in ${files.cert}`;
    faults.push({ where: files.key, what, fix: "name a pair, with Limen's own certificate first" });
  }
  return faults;
}

/** An authority that is out of date vouches for nobody; one that is in force is enough. */
function authorityFaults({ ca }: TlsFiles, pem: Buffer, nowMs: number): readonly Problem[] {
  const authorities = certificatesIn(pem);
  const [first] = authorities ?? [];
  if (authorities === undefined || first === undefined) return [noCertificate(ca)];
  return authorities.some((one) => isInForce(one, nowMs)) ? [] : [notInForce(ca, first)];
}

/** What only OpenSSL knows: keys too small for its security level, algorithms it has no longer. */
function opensslFaults(files: TlsFiles, material: TlsMaterial): readonly Problem[] {
  try {
    createSecureContext(material);
    return [];
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "no reason given";
    const what = `OpenSSL does not take the certificate, its key or the authorities (${code})`;
    return [{ where: files.cert, what, fix: "issue them anew, with a key of today's sizes" }];
  }
}

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Undefined when one of them is none. */
function certificatesIn(pem: Buffer): readonly X509Certificate[] | undefined {
  try {
    return (pem.toString("latin1").match(BLOCK) ?? []).map((block) => new X509Certificate(block));
  } catch {
    return undefined;
  }
}

function privateKeyIn(pem: Buffer): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}

const isInForce = ({ validFromDate, validToDate }: X509Certificate, nowMs: number): boolean =>
  validFromDate.getTime() <= nowMs && nowMs < validToDate.getTime();

const noCertificate = (where: string): Problem => ({
  where,
  what: "there is no PEM certificate in it, or one that cannot be read",
  fix: "write certificates that begin with -----BEGIN CERTIFICATE-----",
});

const notInForce = (where: string, { validFromDate, validToDate }: X509Certificate): Problem => ({
  where,
  what: `the certificate is valid from ${validFromDate.toISOString()} to ${validToDate.toISOString()}, not now`,
  fix: "renew it, or set the clock of this machine",
});
