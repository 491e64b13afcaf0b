import assert from "node:assert/strict";
import {
  createAction,
  MAX_ARGUMENT_UNITS,
  MAX_HISTORY_CALLS,
  MAX_TOOLS,
} from "../../src/action/action.ts";
import { MAX_NAME_UNITS } from "../../src/action/names.ts";
import { systemClock } from "../../src/cli/clock.ts";
import { Content } from "../../src/core/content.ts";
import type { Execution, InferenceRequest, ToolCall } from "../../src/core/inference.ts";
import type { ActionRule, ActionSettings } from "../../src/core/settings.ts";

const IN_TIME = { scope: "test", until: Number.POSITIVE_INFINITY, clock: systemClock() };

type Rules = Extract<ActionSettings, { kind: "rules" }>;

const rule = (
  id: string,
  decision: ActionRule["decision"],
  tools: readonly string[],
  models: readonly string[] = [],
): ActionRule => ({ id, decision, tools, models });

const settings = (rules: readonly ActionRule[], more: Partial<Rules> = {}): Rules => ({
  kind: "rules",
  default: "deny",
  unlistedDefinitions: "strip",
  rules,
  ...more,
});

const call = (name: string, args = "{}", more: Partial<ToolCall> = {}): ToolCall => ({
  name: new Content(name),
  execution: "client",
  args: new Content(args),
  argsForm: "json",
  key: "0",
  ...more,
});

type Parts = {
  readonly tools?: readonly (readonly [string, Execution])[];
  readonly forced?: readonly string[];
  readonly history?: readonly ToolCall[];
};
const request = ({ tools = [], forced = [], history = [] }: Parts): InferenceRequest => ({
  dialect: "openai-chat",
  model: new Content("gpt-5"),
  streamed: false,
  segments: [],
  tools: tools.map(([name, execution], index) => ({ name: new Content(name), execution, index })),
  forcedTools: forced.map((name) => new Content(name)),
  history,
  messages: 1,
  maxOutputTokens: undefined,
  media: false,
});

/** `allow action.x`, `deny action_denied action.y`: all that a verdict on a tool says. */
function judged(
  set: ActionSettings,
  name: string,
  execution: Execution = "client",
  model = "gpt-5",
) {
  const verdict = createAction(set).judgeTool(name, execution, model);
  const reason = verdict.kind === "allow" ? "" : ` ${verdict.reason}`;
  return `${verdict.kind}${reason} ${verdict.rule}`;
}
const DEFAULT = "deny action_denied action.default";
const AMBIGUOUS = "deny action_denied action.ambiguous_name";
const PROVIDER = "deny action_denied action.provider_tool";

describe("action", () => {
  describe("a tool's name", () => {
    const crm = settings([
      rule("read", "allow", ["crm.get_*", "crm.search"]),
      rule("pay", "ask", ["pay.*"]),
      rule("no-wipe", "deny", ["*wipe*"]),
      rule("small", "allow", ["plot"], ["gpt-5*"]),
    ]);
    const rows: readonly (readonly [string, string])[] = [
      ["crm.get_ticket", "allow action.read"],
      ["crm.search", "allow action.read"],
      ["crm.searches", DEFAULT],
      ["pay.refund", "ask approval_required action.pay"],
      ["crm.get_wipe", "deny action_denied action.no-wipe"],
      ["pay.wipe", "deny action_denied action.no-wipe"],
      ["plot", "allow action.small"],
      ["shell", DEFAULT],
      ["", AMBIGUOUS.replace("ambiguous_name", "default")],
    ];
    for (const [name, expected] of rows) {
      it(`${JSON.stringify(name)} gets ${expected}`, () =>
        assert.equal(judged(crm, name), expected));
    }

    it("is allowed for the models of its rule only", () => {
      assert.equal(judged(crm, "plot", "client", "claude"), DEFAULT);
    });

    it("gets the same verdict whatever the order of the rules", () => {
      const turned = { ...crm, rules: crm.rules.toReversed() };
      for (const [name] of rows) assert.equal(judged(turned, name), judged(crm, name));
    });

    it("passes by a default of allow unless a rule says otherwise", () => {
      const open = settings(crm.rules, { default: "allow" });
      assert.equal(judged(open, "shell"), "allow action.default");
      assert.equal(judged(open, "pay.refund"), "ask approval_required action.pay");
    });

    it("with a model name too long to match is held to deny and ask rules and to no allow rule", () => {
      const model = "m".repeat(257);
      const set = settings(
        [
          rule("a", "allow", ["x"], ["m*"]),
          rule("d", "deny", ["y"], ["n"]),
          rule("k", "ask", ["z"], ["n"]),
        ],
        { default: "allow" },
      );
      assert.equal(judged(set, "x", "client", model), "allow action.default");
      assert.equal(judged(set, "y", "client", model), "deny action_denied action.d");
      assert.equal(judged(set, "z", "client", model), "ask approval_required action.k");
    });

    for (const [units, expected] of [
      [MAX_NAME_UNITS, "allow action.all"],
      [MAX_NAME_UNITS + 1, AMBIGUOUS],
    ] as const) {
      it(`of ${units} units gets ${expected}`, () => {
        assert.equal(judged(settings([rule("all", "allow", ["*"])]), "x".repeat(units)), expected);
      });
    }
  });

  describe("a name that only looks like one of a rule", () => {
    const open = settings(
      [
        rule("shell", "deny", ["run_shell"]),
        rule("mail", "allow", ["send_mail"]),
        rule("spelled", "allow", ["Send_Mail", "café"]),
        rule("files", "deny", ["delete_*"]),
        rule("pay", "ask", ["pay_*"]),
      ],
      { default: "allow" },
    );
    const refused = [
      "Run_Shell",
      "RUN_SHELL",
      "run_she11",
      "run_sheIl",
      "send_rnail",
      "SEND_MAIL",
      "run_sh\u0435ll", // Cyrillic
      "run\u200b_shell", // zero width
      "\uff52un_shell", // full width: its NFKC form is the name
      "run_shell ",
      "run_shell\u0000",
      "something_new_\u00e9",
      "Delete_all",
      "de1ete_all",
      "PAY_all",
    ];
    for (const name of refused) {
      it(`is refused whatever the default: ${JSON.stringify(name)}`, () => {
        assert.equal(judged(open, name), AMBIGUOUS);
      });
    }
    const kept: readonly (readonly [string, string])[] = [
      ["run_shell", "deny action_denied action.shell"],
      ["send_mail", "allow action.mail"],
      ["Send_Mail", "allow action.spelled"],
      ["café", "allow action.spelled"],
      ["delete_all", "deny action_denied action.files"],
      ["pay_all", "ask approval_required action.pay"],
      ["run_shells", "allow action.default"],
    ];
    for (const [name, expected] of kept) {
      it(`is not ${JSON.stringify(name)}, which rules decide`, () => {
        assert.equal(judged(open, name), expected);
      });
    }

    it("is refused also where a wildcard would allow it", () => {
      const wide = settings([rule("all", "allow", ["*"]), rule("no", "deny", ["shell"])]);
      assert.equal(judged(wide, "Shell"), AMBIGUOUS);
      assert.equal(judged(wide, "\u0455hell"), AMBIGUOUS);
      assert.equal(judged(wide, "other"), "allow action.all");
    });
  });

  describe("a tool that the provider runs", () => {
    it("is refused without rules, while tools of the client pass as unlisted", () => {
      assert.equal(judged({ kind: "unlisted" }, "openai:web_search", "provider"), PROVIDER);
      assert.equal(judged({ kind: "unlisted" }, "anything"), "allow action.unlisted");
    });

    it("is refused by a default of allow and by wildcards that do not spell its prefix", () => {
      const wide = settings([rule("all", "allow", ["*", "*search*"])], { default: "allow" });
      assert.equal(judged(wide, "openai:web_search", "provider"), PROVIDER);
    });

    it("is allowed by a rule that names it", () => {
      const set = settings([rule("web", "allow", ["openai:web_*"])]);
      assert.equal(judged(set, "openai:web_search", "provider"), "allow action.web");
      assert.equal(judged(set, "anthropic:web_search", "provider"), PROVIDER);
    });

    it("is not what a client's function under the same name is", () => {
      const set = settings([rule("web", "allow", ["openai:web_*"])], { default: "allow" });
      assert.equal(judged(set, "openai:web_search", "client"), AMBIGUOUS);
      assert.equal(judged(set, "web_search", "provider"), AMBIGUOUS);
    });
  });

  describe("a request", () => {
    const set = settings([
      rule("ok", "allow", ["get", "openai:search"]),
      rule("pay", "ask", ["pay", "openai:code"]),
    ]);
    const verdict = async (parts: Parts, more: Partial<Rules> = {}) =>
      (await createAction({ ...set, ...more }).judgeRequest(request(parts), IN_TIME)).verdict;
    const tools: NonNullable<Parts["tools"]> = [
      ["shell", "client"],
      ["get", "client"],
      ["pay", "client"],
      ["openai:code", "provider"],
      ["openai:mcp", "provider"],
      ["openai:search", "provider"],
    ];

    it("loses the definitions that no rule allows, and keeps those whose calls can be asked about", async () => {
      assert.deepEqual(await verdict({ tools }), {
        kind: "mutate",
        reason: "action_denied",
        redactions: [],
        stripTools: [0, 3, 4],
      });
    });

    it("is refused instead when the policy wants that, by a deny before an ask", async () => {
      const refused = { kind: "deny", reason: "action_denied" };
      const [shell, get, pay, code] = tools;
      const askedFirst = [code, pay, get, shell].filter((tool) => tool !== undefined);
      assert.deepEqual(await verdict({ tools: askedFirst }, { unlistedDefinitions: "deny" }), {
        ...refused,
        rule: "action.default",
      });
      const ask = { tools: [["openai:code", "provider"]] } as const;
      assert.deepEqual(await verdict(ask, { unlistedDefinitions: "deny" }), {
        kind: "ask",
        reason: "approval_required",
        rule: "action.pay",
      });
    });

    it("passes when every tool is allowed", async () => {
      assert.deepEqual(await verdict({ tools: [["get", "client"]], forced: ["get"] }), {
        kind: "allow",
      });
    });

    it("that forces a denied tool is refused, not stripped", async () => {
      assert.deepEqual(await verdict({ tools, forced: ["get", "shell"] }), {
        kind: "deny",
        reason: "action_denied",
        rule: "action.default",
      });
    });

    it("that forces a tool which needs approval is asked about", async () => {
      assert.deepEqual(await verdict({ forced: ["pay"] }), {
        kind: "ask",
        reason: "approval_required",
        rule: "action.pay",
      });
    });

    it("may force an allowed tool of the provider", async () => {
      assert.deepEqual(
        await verdict({ tools: [["openai:search", "provider"]], forced: ["openai:search"] }),
        {
          kind: "allow",
        },
      );
    });

    it("is not refused for calls in its history", async () => {
      assert.deepEqual(await verdict({ history: [call("shell"), call("shell", "not json")] }), {
        kind: "allow",
      });
    });

    it("without rules is refused for a tool that the provider runs", async () => {
      const control = createAction({ kind: "unlisted" });
      assert.deepEqual((await control.judgeRequest(request({ tools }), IN_TIME)).verdict, {
        kind: "deny",
        reason: "action_denied",
        rule: "action.provider_tool",
      });
    });

    const limit = { kind: "deny", reason: "limit_exceeded", rule: "action.too_many_tools" };
    it(`may declare and force ${MAX_TOOLS} tools and no more`, async () => {
      const many = Array.from({ length: MAX_TOOLS - 1 }, () => ["get", "client"] as const);
      assert.deepEqual(await verdict({ tools: many, forced: ["get"] }), { kind: "allow" });
      assert.deepEqual(await verdict({ tools: many, forced: ["get", "get"] }), limit);
    });

    it(`may replay ${MAX_HISTORY_CALLS} calls and no more`, async () => {
      const history = Array.from({ length: MAX_HISTORY_CALLS }, () => call("get"));
      assert.deepEqual(await verdict({ history }), { kind: "allow" });
      assert.deepEqual(await verdict({ history: [...history, call("get")] }), limit);
    });
  });

  describe("a call", () => {
    const control = createAction(
      settings([rule("ok", "allow", ["get"]), rule("pay", "ask", ["pay"])]),
    );
    const malformed = {
      kind: "deny",
      reason: "malformed_arguments",
      rule: "action.malformed_arguments",
    };
    const allowed = { kind: "allow", rule: "action.ok" };
    const nested = (depth: number) => `{"a":${"[".repeat(depth - 1)}${"]".repeat(depth - 1)}}`;
    const rows: readonly (readonly [string, string, object])[] = [
      ["one object", '{"a": 1}', allowed],
      ["no text at all", "", allowed],
      ["a list", "[]", malformed],
      ["a string", '"{}"', malformed],
      ["null", "null", malformed],
      ["the same key twice", '{"to": "a", "to": "b"}', malformed],
      ["half an object", '{"a": ', malformed],
      ["two objects", "{}{}", malformed],
      ["a key that other readers take for a prototype", '{"__proto__": {}}', allowed],
      ["half a character", '{"a": "\\ud800"}', malformed],
      ["32 levels", nested(32), allowed],
      ["33 levels", nested(33), malformed],
      [`${MAX_ARGUMENT_UNITS} units`, `{}${" ".repeat(MAX_ARGUMENT_UNITS - 2)}`, allowed],
      [`${MAX_ARGUMENT_UNITS + 1} units`, `{}${" ".repeat(MAX_ARGUMENT_UNITS - 1)}`, malformed],
    ];
    for (const [name, args, expected] of rows) {
      it(`with ${name} gets ${JSON.stringify(expected)}`, () => {
        assert.deepEqual(control.judgeCall(call("get", args), "gpt-5"), expected);
      });
    }

    it("with free text is judged by its name", () => {
      const free = call("get", "SELECT 1", { argsForm: "text" });
      assert.deepEqual(control.judgeCall(free, "gpt-5"), allowed);
    });

    it("that no rule allows is denied for its name, whatever its arguments", () => {
      assert.deepEqual(control.judgeCall(call("shell", "nonsense"), "gpt-5"), {
        kind: "deny",
        reason: "action_denied",
        rule: "action.default",
      });
    });

    it("that needs approval and cannot be read is denied, not asked about", () => {
      assert.deepEqual(control.judgeCall(call("pay", "{"), "gpt-5"), malformed);
      assert.deepEqual(control.judgeCall(call("pay"), "gpt-5"), {
        kind: "ask",
        reason: "approval_required",
        rule: "action.pay",
      });
    });

    it("without rules passes as unlisted when it can be read", () => {
      const open = createAction({ kind: "unlisted" });
      assert.deepEqual(open.judgeCall(call("x"), "m"), { kind: "allow", rule: "action.unlisted" });
      assert.deepEqual(open.judgeCall(call("x", "{"), "m"), malformed);
    });
  });
});
