/**
 * What a fault is tried on: a whole stack with a provider of its own, exchanges in named parts, and the one checker
 * that runs after every fault. Whatever happens, the checker asserts:
 *
 * - nothing unread: no card number reached a client, no secret and no undecided request the provider;
 * - nothing lost or doubled: what arrived is what was said, up to where it was cut, and once;
 * - no hang: every exchange is over within the fault's bound;
 * - evidence: the log verifies, has one decision and one outcome per exchange, and the metrics agree.
 */
import assert from "node:assert/strict";
import type { Profile } from "../real/bootstrap.ts";
import type { Limen } from "../real/limen.ts";
import { until } from "../real/process.ts";
import { API_KEY, CARD } from "../real/scenarios.ts";
import { type Stack, type StackOptions, startStack, untilServing } from "../real/stack.ts";
import { type Asked, type Exchange, open, type Role, type Seen, seenWithin } from "./client.ts";
import { checkMetrics, exchangesOf, type Recorded, untilSettled, verify } from "./evidence.ts";
import { type Play, sha256, startUpstream, type Upstream } from "./upstream.ts";

/** What one role saw, in words that are the same in every run. */
export type Row = {
  readonly role: Role;
  readonly client: string;
  readonly upstream: string;
  readonly record: string;
};

/** Words of which a role may see any, where chance decides. */
export type Either = Readonly<Partial<Record<Role, Omit<Row, "role">>>>;

export type AskOptions = Pick<Asked, "headers" | "send"> & {
  readonly play?: Play;
  readonly form?: "json" | "stream";
  /** Length of the request's body; its own length when left out. */
  readonly bytes?: number;
};

const TAKEN_OUT = "[credit_card]";
const LEFT_LIMIT_MS = 15_000;

type Sent = { readonly exchange: Exchange; readonly startedMs: number; overMs: number | undefined };

export class Rig {
  readonly stack: Stack;
  readonly #upstream: Upstream;
  #sent: Sent[] = [];
  #count = 0;
  #struckMs: number | undefined;
  #limitMs = 0;
  /** Exchanges that an earlier check has seen, and what had arrived by then. */
  readonly #known = new Set<string>();
  #arrivals = 0;

  /** What the policy writes in the place of a card number, or the card number where answers are not read. */
  readonly #shown: string;

  private constructor(stack: Stack, upstream: Upstream, profile: Profile | undefined) {
    this.stack = stack;
    this.#upstream = upstream;
    this.#shown = profile === "ext-authz" ? CARD : TAKEN_OUT;
  }

  static async open(options: StackOptions): Promise<Rig> {
    const upstream = await startUpstream();
    try {
      const stack = await startStack({ ...options, modelPort: upstream.port });
      return new Rig(stack, upstream, options.profile);
    } catch (error) {
      await upstream.close();
      throw error;
    }
  }

  /** Ends everything, and has the logs verified as they were left. */
  async close(): Promise<void> {
    this.release();
    const { limens } = this.stack;
    try {
      for (const limen of limens) await limen.stop();
      for (const limen of limens) verify(limen);
    } finally {
      await this.stack.close();
      await this.#upstream.close();
    }
  }

  /** Ends everything as it is, after a failure that says more than what would fail now. */
  async abandon(): Promise<void> {
    this.release();
    for (const limen of this.stack.limens) if (limen.pid() > 0) limen.signal("SIGCONT");
    await this.stack.close().catch(() => {});
    await this.#upstream.close();
  }

  ask(role: Role, options: AskOptions = {}): Exchange {
    this.#count += 1;
    const text = role === "secret" ? `Use ${API_KEY}` : `hello ${this.#count}`;
    const request = {
      model: role,
      stream: options.form === "stream",
      messages: [{ role: "user", content: text }],
    };
    const body = padded(request, options.bytes);
    const { headers, send, play = "prompt" } = options;
    const name = `${role}-${this.#count}`;
    const exchange = open({
      ...{ role, name, body, play, url: this.stack.url },
      ...(headers && { headers }),
      ...(send && { send }),
    });
    const sent: Sent = { exchange, startedMs: performance.now(), overMs: undefined };
    this.#sent.push(sent);
    void exchange.done.then(() => {
      sent.overMs = performance.now();
    });
    return exchange;
  }

  /** The four phases of an exchange that a fault can hit, each reached. */
  async askEveryPhase(): Promise<void> {
    const thinking = this.ask("thinking", { play: "held" });
    const answer = this.ask("answer", { play: "half" });
    this.ask("upload", { send: "half" });
    const stream = this.ask("stream", { play: "ticks", form: "stream" });
    for (const { name } of [thinking, answer, stream]) await this.untilAsked(name);
    await this.untilReceived(stream, 1_000);
  }

  /** From now on every exchange has `limitMs`. */
  begin(limitMs: number): void {
    this.#limitMs = limitMs;
  }

  /** The fault happens now: bounds count from here, or from the start of what begins later. */
  strike(): void {
    this.#struckMs = performance.now();
  }

  release(): void {
    this.#upstream.release();
  }

  untilServing(): Promise<boolean> {
    return untilServing(this.stack.url);
  }

  /** Limen again, after it has ended. */
  async restart(limen: Limen = this.stack.limen): Promise<void> {
    await limen.start();
    await this.untilServing();
  }

  /** Sends the rest of every request that is half sent. */
  finishUploads(): void {
    for (const { exchange } of this.#sent) {
      const { role, body, outgoing } = exchange;
      if (role === "upload") outgoing.end(body.subarray(body.length / 2));
    }
  }

  /** Every client closes its connection. */
  leaveAll(): void {
    for (const { exchange } of this.#sent) exchange.outgoing.destroy();
  }

  /** Every exchange that was asked so far, or those of one role, is over, and within its bound. */
  async untilOver(role?: Role): Promise<void> {
    for (const sent of this.#sent) {
      if (role !== undefined && sent.exchange.role !== role) continue;
      const from = Math.max(sent.startedMs, this.#struckMs ?? sent.startedMs);
      const leftMs = Math.max(0, from + this.#limitMs - performance.now());
      assert.ok(await seenWithin(sent.exchange, leftMs + 250), `${sent.exchange.name} hangs`);
      const tookMs = (sent.overMs ?? 0) - from;
      assert.ok(tookMs <= this.#limitMs, `${sent.exchange.name} took ${Math.round(tookMs)} ms`);
    }
  }

  untilAsked(name: string): Promise<true> {
    const asked = () => this.#upstream.told(name) !== undefined || undefined;
    return until(LEFT_LIMIT_MS, `the provider to be asked by ${name}`, asked);
  }

  untilReceived(exchange: Exchange, bytes: number): Promise<true> {
    const what = `${bytes} bytes of ${exchange.name}`;
    return until(LEFT_LIMIT_MS, what, () => exchange.received() >= bytes || undefined);
  }

  /** Waits for the end of everything that was asked, checks all of it, and starts anew. */
  async check(either: Either = {}): Promise<readonly Row[]> {
    await this.untilOver();
    const seen = new Map<Exchange, Seen>();
    for (const { exchange } of this.#sent) seen.set(exchange, await exchange.done);
    for (const limen of this.stack.limens) await untilSettled(limen);
    const records = this.#newRecords();
    for (const limen of this.stack.limens) await checkMetrics(limen);
    await this.#untilUpstreamKnows(seen);
    for (const [exchange, one] of seen) this.#checkBytes(exchange, one, records);
    const arrivals = this.#upstream.arrivals();
    const passed = records.filter((one) => one.passed).length;
    assert.ok(arrivals - this.#arrivals <= passed, "a request passed without a decision");
    const rows = rowsOf([...seen], records, this.#upstream, either);
    this.#sent = [];
    this.#struckMs = undefined;
    this.#arrivals = arrivals;
    return rows;
  }

  #newRecords(): readonly Recorded[] {
    const all = this.stack.limens.flatMap((limen) => exchangesOf(limen.auditDir));
    const records = all.filter(({ id }) => !this.#known.has(id));
    for (const { id } of records) this.#known.add(id);
    return records.filter(({ words }) => !words.endsWith("not_inference"));
  }

  /** A client that is gone takes its exchange to the provider with it: no answer is written for nobody. */
  async #untilUpstreamKnows(seen: ReadonlyMap<Exchange, Seen>): Promise<void> {
    for (const { name } of seen.keys()) {
      const told = this.#upstream.told(name);
      if (told === undefined) continue;
      const what = `the provider to be done with ${name}`;
      await until(LEFT_LIMIT_MS, what, () => told.state !== "open" || undefined);
    }
  }

  #checkBytes({ name, role, body }: Exchange, seen: Seen, records: readonly Recorded[]): void {
    const told = this.#upstream.told(name);
    assert.ok(this.#shown === CARD || !seen.body.includes(CARD), `${name} got a card number`);
    if (role === "secret") assert.equal(told, undefined, "a secret reached the provider");
    if (told !== undefined) assert.equal(told.request, sha256(body), `${name} was sent otherwise`);
    // A refusal because the log takes nothing cannot be in the log.
    if (seen.id !== undefined && seen.code !== "audit_unavailable") {
      assert.equal(
        records.filter(({ id }) => id === seen.id).length,
        1,
        `${name} is not in the log`,
      );
    }
    if (seen.status !== 200) return;
    assert.ok(seen.id, `${name} got an answer without a decision`);
    const expected = Buffer.from(told?.answer.replaceAll(CARD, this.#shown) ?? "");
    const whole = seen.end === "whole" ? expected.length : seen.body.length;
    assert.deepEqual(seen.body, expected.subarray(0, whole), `${name} got other bytes`);
  }
}

function padded(request: object, bytes: number | undefined): Buffer {
  const plain = JSON.stringify(request);
  if (bytes === undefined) return Buffer.from(plain);
  const user = "calm words ".repeat(bytes / 11 + 1);
  const body = Buffer.from(
    JSON.stringify({ ...request, user: user.slice(0, bytes - plain.length - ',"user":""'.length) }),
  );
  assert.equal(body.length, bytes);
  return body;
}

function rowsOf(
  seen: readonly (readonly [Exchange, Seen])[],
  records: readonly Recorded[],
  upstream: Upstream,
  either: Either,
): readonly Row[] {
  const roles = [...new Set(seen.map(([{ role }]) => role))];
  const byId = new Map(seen.map(([{ role }, { id }]) => [id, role]));
  // What was not read has no model in the log, and its client may not have heard of it.
  const unheard = seen.find(([, { id }]) => id === undefined)?.[0].role;
  const unread = roles.includes("upload") ? "upload" : unheard;
  const roleOf = ({ id, model }: Recorded): string | undefined =>
    byId.get(id) ?? (model === "other" ? unread : model);
  return roles.map((role) => {
    const mine = seen.filter(([exchange]) => exchange.role === role);
    const own = records.filter((one) => roleOf(one) === role);
    const row = {
      client: words(mine.map(([, one]) => clientWords(one))),
      upstream: words(mine.map(([{ name }]) => upstreamWords(upstream, name))),
      record: words(own.map((one) => one.words)),
    };
    const allowed = either[role];
    if (allowed === undefined) return { role, ...row };
    for (const column of ["client", "upstream", "record"] as const) {
      const unexpected: readonly string[] = row[column]
        .split("; ")
        .filter((one) => !allowed[column].includes(one));
      assert.deepEqual(unexpected, [], `${role}: ${column}`);
    }
    return { role, ...allowed };
  });
}

const words = (all: readonly string[]): string => [...new Set(all)].sort().join("; ") || "nothing";

function clientWords({ status, code, end }: Seen): string {
  if (status === undefined) return "closed without an answer";
  return `${status}${code === undefined ? "" : ` \`${code}\``}${end === "cut" ? ", then cut" : ""}`;
}

function upstreamWords(upstream: Upstream, name: string): string {
  const told = upstream.told(name);
  if (told === undefined) return "nothing";
  return told.state === "left" ? "asked, then left" : "asked";
}
