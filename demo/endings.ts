/** The acts in which something is broken on purpose: the process, and the evidence. */
import { spawnSync } from "node:child_process";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { APIConnectionError, APIError } from "openai";
import { LIMEN } from "../test/real/limen.ts";
import { MODEL, openaiAt } from "../test/real/sdk.ts";
import { type Stack, untilServing } from "../test/real/stack.ts";
import type { Row } from "./table.ts";

type Ending = { readonly row: Row; readonly ok: boolean };

/** Act 10: Limen is killed while an answer flows. Nothing unread may follow, and nothing new may pass. */
export async function killed(stack: Stack): Promise<Ending> {
  const client = openaiAt(stack.url);
  const ask = {
    model: MODEL,
    messages: [{ role: "user" as const, content: "Please count without end." }],
  };
  const stream = await client.chat.completions.create({ ...ask, stream: true });
  let cut = "ended as if it were whole";
  try {
    let chunks = 0;
    for await (const _ of stream) {
      chunks += 1;
      if (chunks === 3) await stack.limen.kill();
    }
  } catch (error) {
    // The socket's own error, or the library's: never a regular end.
    cut =
      error instanceof APIError && !(error instanceof APIConnectionError)
        ? "an answer"
        : "the stream breaks";
  }
  stack.model.finishLive();
  stack.model.received.length = 0;
  const refusal: unknown = await client.chat.completions
    .create(ask)
    .catch((error: unknown) => error);
  const status = refusal instanceof APIError ? refusal.status : 200;
  const asked = stack.model.received.length;
  await stack.limen.start();
  await untilServing(stack.url);
  const again = await client.chat.completions.create({
    ...ask,
    messages: [{ role: "user", content: "And now?" }],
  });
  const told = `${cut}, then ${status}; 200 after a restart`;
  const ok =
    told === "the stream breaks, then 503; 200 after a restart" &&
    asked === 0 &&
    again.choices.length === 1;
  return {
    row: ["10", "for a long answer; Limen is killed in the middle", "-", told, "Envoy", "-"],
    ok,
  };
}

/** Act 11: the log is verified by its files and its public key alone; then one record is changed in a copy. */
export async function tampered(stack: Stack): Promise<Ending> {
  await stack.limen.stop(); // signs what it wrote last
  const verify = (dir: string) =>
    spawnSync(LIMEN, ["audit", "verify", "--key", stack.limen.auditKey, dir], { encoding: "utf8" });
  const whole = verify(stack.limen.auditDir);
  const copy = join(stack.dir, "audit-copy");
  cpSync(stack.limen.auditDir, copy, { recursive: true });
  const index = hideRefusal(copy);
  const forged = verify(copy);
  const named = new RegExp(`\\b${index}\\b`).test(forged.stdout + forged.stderr);
  await stack.limen.start();
  await untilServing(stack.url);
  const told =
    `${whole.status === 0 ? "the log verifies" : "the log does not verify"}; with one refusal rewritten in a copy ` +
    (forged.status === 1 && named
      ? `it does not, and entry ${index} is named`
      : "it is not noticed");
  const ok = whole.status === 0 && forged.status === 1 && named;
  if (!ok) console.error(whole.stdout, whole.stderr, forged.stdout, forged.stderr);
  return { row: ["11", "an auditor, for proof of all this", "-", told, "audit", "-"], ok };
}

/** Turns one refusal of the newest bundle into a pass, keeping every length; returns its index. */
function hideRefusal(dir: string): number {
  const bundles = readdirSync(join(dir, "tile/entries"), { recursive: true, encoding: "utf8" })
    .filter((name) => /^000(\.p\/\d+)?$/.test(name))
    .sort((a, b) => Number(a.split("/")[1] ?? 256) - Number(b.split("/")[1] ?? 256));
  const file = join(dir, "tile/entries", bundles.at(-1) ?? "");
  const bytes = readFileSync(file);
  // An entry stands behind its length in two bytes (C2SP tlog-tiles).
  for (let at = 0, index = 0; at < bytes.length; index += 1) {
    const end = at + 2 + bytes.readUInt16BE(at);
    const found = bytes.subarray(at, end).indexOf('"denied"');
    if (found >= 0) {
      bytes.write('"passed"', at + found);
      writeFileSync(file, bytes);
      return index;
    }
    at = end;
  }
  throw new Error("no refusal in the log: the acts before left none");
}
