import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createAction } from "../../src/action/action.ts";
import type { Clock } from "../../src/core/clock.ts";
import { LimenError } from "../../src/core/errors.ts";
import { NOBODY, type Trust } from "../../src/core/identity.ts";
import { ALLOW } from "../../src/core/verdict.ts";
import { type ControlFactories, compile } from "../../src/policy/compile.ts";
import {
  DEFAULT_POLICY,
  loadPolicies,
  openPolicyStore,
  type PolicyEvent,
} from "../../src/policy/store.ts";
import { Folder, parse, policy } from "./files.ts";

const trust: Trust = {
  headers: ["x-team", "x-tenant"],
  tenant: "x-tenant",
  profile: undefined,
  jwtPayload: "jwt",
};
const factories: ControlFactories = {
  ingress: () => ({ judgeRequest: async () => ({ verdict: ALLOW, findings: [] }) }),
  egress: () => ({
    judgeText: (all) => ({
      verdict: { kind: "allow" },
      findings: [],
      judged: all.length,
      held: all.length,
    }),
    judgeArguments: () => ({ verdict: { kind: "allow" }, findings: [] }),
  }),
  action: createAction,
};

/** Timers run when the test says so: one by one, or as soon as they are started. */
class FakeClock implements Clock {
  #timers: { readonly ms: number; readonly then: () => void }[] = [];
  #waiting: (() => void)[] = [];
  #free = false;
  wallUs = (): bigint => 0n;
  monotonicMs = (): number => 0;
  soon(then: () => void): void {
    setImmediate(then);
  }
  turn = (): never => assert.fail("no long work here");
  newDecisionId = (): never => assert.fail("no exchange here");
  after(ms: number, then: () => void): () => void {
    const timer = { ms, then };
    this.#timers.push(timer);
    for (const tell of this.#waiting.splice(0)) tell();
    if (this.#free) setImmediate(() => this.fire());
    return () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
  }
  get pending(): readonly number[] {
    return this.#timers.map((timer) => timer.ms);
  }
  /** Resolves when a timer is waiting. */
  async armed(): Promise<void> {
    if (this.#timers.length === 0) await this.started();
  }
  /** Resolves when the next timer is started. */
  started(): Promise<void> {
    return new Promise((tell) => this.#waiting.push(tell));
  }
  fire(): void {
    for (const timer of this.#timers.splice(0)) timer.then();
  }
  runFreely(): void {
    this.#free = true;
    this.fire();
  }
}

/** A store over `paths` with its events; `next` is the next one, told after the call. */
async function opened(...paths: readonly string[]) {
  const clock = new FakeClock();
  const events: PolicyEvent[] = [];
  let tell: (event: PolicyEvent) => void = () => undefined;
  const listener = (event: PolicyEvent): void => {
    events.push(event);
    tell(event);
  };
  const store = await openPolicyStore({ paths, factories, trust, clock, listener });
  const next = () =>
    new Promise<PolicyEvent>((resolve) => {
      tell = resolve;
    });
  return { store, clock, events, next, [Symbol.dispose]: () => store.close() };
}

describe("policy/store", () => {
  it("ships a default policy that says exactly what holds when nothing is said", async () => {
    const chosen = compile(await loadPolicies([DEFAULT_POLICY]), factories).select(facts);
    const unsaid = compile(parse(policy("limen-default")), factories).select(facts);
    assert.deepEqual(chosen?.settings, unsaid?.settings);
    assert.deepEqual(chosen?.names, ["limen-default"]);
    assert.equal(chosen?.settings.ingress.injection.document, "deny");
  });
  const facts = { route: "any", path: "/v1/messages", identity: NOBODY } as const;

  it("refuses a set that asks for a header which the service does not trust", async () => {
    using folder = new Folder();
    const selects = (names: string): string => policy("a", `{selector: {${names}}}`);
    const file = folder.write(
      "a.yaml",
      selects("tenants: [a], identities: {headers: {x-team: [b]}}"),
    );
    using store = await opened(file);
    assert.deepEqual(store.store.current().names, ["a"]);
    folder.write("a.yaml", selects("profiles: [a]"));
    await store.store.reload();
    const [event] = store.events;
    assert.ok(event?.kind === "failed" && event.error.code === "policy_invalid");
    assert.match(event.error.message, /spec\.selector\.profiles: limen\.yaml trusts no header/);
    assert.deepEqual(store.store.current().names, ["a"]);
  });

  it("reads the policy files of a folder, and nothing hidden or deeper", async () => {
    using folder = new Folder();
    folder.write("b.yaml", policy("b"));
    folder.write("a.yml", policy("a"));
    folder.write(
      "c.json",
      '{"apiVersion":"limen.dev/v1alpha1","kind":"BoundaryPolicy","metadata":{"name":"c"},"spec":{}}',
    );
    folder.write("notes.txt", "not a policy");
    folder.write(".hidden.yaml", "not: a policy");
    mkdirSync(join(folder.path, "deeper"));
    folder.write("deeper/d.yaml", policy("d"));
    const names = (await loadPolicies([folder.path])).map((document) => document.name);
    assert.deepEqual(names, ["a", "b", "c"]);
  });

  it("says of every path why it cannot be read", async () => {
    using folder = new Folder();
    mkdirSync(join(folder.path, "empty"));
    const latin = join(folder.path, "latin.yaml");
    writeFileSync(latin, Buffer.from([0x61, 0x3a, 0xe4]));
    const large = folder.write("large.yaml", `# ${"x".repeat(1024 ** 2)}`);
    const missing = join(folder.path, "missing.yaml");
    await assert.rejects(
      loadPolicies([missing, join(folder.path, "empty"), latin, large]),
      (error) => {
        assert.ok(error instanceof LimenError);
        assert.equal(error.code, "file_unreadable");
        assert.deepEqual(
          error.problems.map((problem) => problem.what),
          [
            "there is no such file or folder",
            "the folder has no policy file",
            "the file is not UTF-8",
            "the file is larger than 1048576 bytes",
          ],
        );
        return true;
      },
    );
  });

  it("does not open with a policy that is invalid", async () => {
    using folder = new Folder();
    const file = folder.write("p.yaml", policy("p", "{mode: off}"));
    await assert.rejects(opened(file), { code: "policy_invalid" });
  });

  it("swaps a changed file in as soon as the folder is quiet, and once for all changes", async () => {
    using folder = new Folder();
    folder.write("p.yaml", policy("p"));
    using live = await opened(folder.path);
    const before = live.store.current();
    folder.write("p.yaml", policy("p", "{mode: enforce}"));
    folder.write("q.yaml", policy("q"));
    await live.clock.armed();
    assert.deepEqual(live.clock.pending, [100]);
    assert.equal(live.store.current(), before);
    const swapped = live.next();
    live.clock.fire();
    assert.equal((await swapped).kind, "swapped");
    assert.deepEqual(live.store.current().names, ["p", "q"]);
    assert.notEqual(live.store.current().digest, before.digest);
    assert.deepEqual(before.names, ["p"]); // whoever pinned it keeps it
  });

  it("keeps the last good set after a bad reload, says so, and recovers", async () => {
    using folder = new Folder();
    const file = folder.write("p.yaml", policy("p"));
    using live = await opened(file);
    const good = live.store.current();
    folder.write("p.yaml", policy("p", "{egress: {pii: {action: x}, secrets: {action: y}}}"));
    await live.store.reload();
    assert.equal(live.store.current(), good);
    folder.write("p.yaml", policy("p"));
    await live.store.reload();
    const [failed, swapped] = live.events;
    assert.equal(failed?.kind === "failed" && failed.error.problems.length, 2);
    // The same digest again, and still told: what was red is green.
    assert.equal(swapped?.kind === "swapped" && swapped.set.digest, good.digest);
    assert.equal(live.events.length, 2);
  });

  it("keeps the last good set when the file is gone, tells it once and tries again", async () => {
    using folder = new Folder();
    const inner = join(folder.path, "policy.d");
    mkdirSync(inner);
    folder.write("policy.d/p.yaml", policy("p"));
    using live = await opened(inner);
    const good = live.store.current();
    rmSync(inner, { recursive: true });
    await live.store.reload();
    assert.equal(live.store.current(), good);
    assert.equal(live.events[0]?.kind === "failed" && live.events[0].error.code, "file_unreadable");
    live.clock.runFreely();
    for (let retries = 0; retries < 3; retries += 1) await live.clock.started();
    mkdirSync(join(folder.path, "next"));
    folder.write("next/p.yaml", policy("p2"));
    const swapped = live.next();
    renameSync(join(folder.path, "next"), inner);
    await swapped;
    assert.deepEqual(live.store.current().names, ["p2"]);
    assert.deepEqual(
      live.events.map((event) => event.kind),
      ["failed", "swapped"],
    );
  });

  it("follows the link that a ConfigMap volume swaps", async () => {
    using folder = new Folder();
    for (const name of ["..1", "..2"]) {
      mkdirSync(join(folder.path, name));
      folder.write(`${name}/p.yaml`, policy(`p${name.slice(2)}`));
    }
    symlinkSync("..1", join(folder.path, "..data"));
    symlinkSync("..data/p.yaml", join(folder.path, "p.yaml"));
    using live = await opened(folder.path);
    assert.deepEqual(live.store.current().names, ["p1"]);
    symlinkSync("..2", join(folder.path, "..data_tmp"));
    renameSync(join(folder.path, "..data_tmp"), join(folder.path, "..data"));
    await live.clock.armed();
    const swapped = live.next();
    live.clock.fire();
    await swapped;
    assert.deepEqual(live.store.current().names, ["p2"]);
  });

  it("ends a reload that is under way without effect when it is closed", async () => {
    using folder = new Folder();
    const live = await opened(folder.write("p.yaml", policy("p")));
    folder.write("p.yaml", policy("q"));
    const reload = live.store.reload();
    await Promise.resolve(); // the reload has begun and waits for the disk
    live.store.close();
    await reload;
    assert.deepEqual([live.events, live.store.current().names], [[], ["p"]]);
  });

  it("does nothing after it is closed", async () => {
    using folder = new Folder();
    const file = folder.write("p.yaml", policy("p"));
    const live = await opened(file);
    live.store.close();
    folder.write("p.yaml", policy("q"));
    await live.store.reload();
    assert.deepEqual([live.events, live.clock.pending], [[], []]);
    assert.deepEqual(live.store.current().names, ["p"]);
  });
});
