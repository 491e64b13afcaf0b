/**
 * The action control: which tools a model may be offered and may call. An allow-list of names, scoped by
 * model; deny > ask > allow > default. Three places, one rule set: definitions that a request declares,
 * tools that it forces, calls that a model emits. What the provider runs by itself can only be stopped in
 * the request, so there it needs a rule that spells its prefix, whatever the default is.
 */
import { type RuleId, ruleId } from "../core/brand.ts";
import type { CallControl, CallVerdict, RequestControl } from "../core/control.ts";
import { globMatch } from "../core/glob.ts";
import type { Execution, InferenceRequest, ToolCall } from "../core/inference.ts";
import type { ActionRule, ActionSettings } from "../core/settings.ts";
import { ALLOW, type Judged, type Verdict } from "../core/verdict.ts";
import { parseJson } from "../llm/json.ts";
import { executionOf, lookalikes, MAX_NAME_UNITS } from "./names.ts";

/** Declared and forced tools of one request; the APIs accept 128. Each is matched against every rule. */
export const MAX_TOOLS = 512;
/** Calls that a request may replay: the exchange has every one judged for the record. */
export const MAX_HISTORY_CALLS = 2048;
const MAX_MODEL_UNITS = 256;
export const MAX_ARGUMENT_UNITS = 256 * 1024;
const MAX_ARGUMENT_DEPTH = 32;

/** Rules of our own beside the operator's; their ids cannot be an operator's. */
const OWN = {
  unlisted: ruleId("action.unlisted"),
  default: ruleId("action.default"),
  provider: ruleId("action.provider_tool"),
  ambiguous: ruleId("action.ambiguous_name"),
  malformed: ruleId("action.malformed_arguments"),
  tooMany: ruleId("action.too_many_tools"),
} as const;

const allow = (rule: RuleId): CallVerdict => ({ kind: "allow", rule });
const deny = (rule: RuleId): CallVerdict => ({ kind: "deny", reason: "action_denied", rule });

type Judge = CallControl["judgeTool"];

export function createAction(settings: ActionSettings): RequestControl & CallControl {
  const judgeTool = settings.kind === "unlisted" ? judgeUnlisted : judgeByRules(settings);
  const unlisted = settings.kind === "unlisted" ? "deny" : settings.unlistedDefinitions;
  return {
    judgeTool,
    judgeRequest: async (request) => judgeRequest(request, { judgeTool, unlisted }),
    judgeCall(call, model) {
      const verdict = judgeTool(call.name.reveal(), call.execution, model);
      if (verdict.kind === "deny" || readable(call)) return verdict;
      return { kind: "deny", reason: "malformed_arguments", rule: OWN.malformed };
    },
  };
}

/** Without an inventory nobody knows what is legitimate; what a client runs is the client's own. */
const judgeUnlisted: Judge = (_, execution) =>
  execution === "provider" ? deny(OWN.provider) : allow(OWN.unlisted);

type Rule = Omit<ActionRule, "id"> & { readonly id: RuleId };

function judgeByRules(settings: Extract<ActionSettings, { readonly kind: "rules" }>): Judge {
  const isLookalike = lookalikes(settings.rules);
  const of = (decision: ActionRule["decision"]): readonly Rule[] =>
    settings.rules
      .filter((rule) => rule.decision === decision)
      .map((rule) => ({ ...rule, id: ruleId(`action.${rule.id}`) }));
  const [denies, asks, allows] = [of("deny"), of("ask"), of("allow")];
  return (name, execution, model) => {
    if (name.length > MAX_NAME_UNITS) return deny(OWN.ambiguous);
    const denied = denies.find((rule) => names(rule, name) && concerns(rule, model));
    if (denied !== undefined) return deny(denied.id);
    // A client's function under a provider's prefix would pass by a rule that was not written for it.
    if (executionOf(name) !== execution || isLookalike(name)) return deny(OWN.ambiguous);
    const asked = asks.find((rule) => names(rule, name) && concerns(rule, model));
    if (asked !== undefined) return { kind: "ask", reason: "approval_required", rule: asked.id };
    const allowed = allows.find((rule) => names(rule, name, execution) && concerns(rule, model));
    if (allowed !== undefined) return allow(allowed.id);
    if (execution === "provider") return deny(OWN.provider);
    return settings.default === "allow" ? allow(OWN.default) : deny(OWN.default);
  };
}

/** @param execution given for what lets pass: a provider's tool needs a pattern that spells its prefix */
const names = (rule: Rule, name: string, execution: Execution = "client"): boolean =>
  rule.tools.some(
    (pattern) =>
      (execution === "client" || executionOf(pattern) === "provider") && globMatch(pattern, name),
  );

/** A model's name that is too long to match decides by polarity: allow rules do not concern it, others do. */
const concerns = ({ models, decision }: Rule, model: string): boolean => {
  if (models.length === 0) return true;
  if (model.length > MAX_MODEL_UNITS) return decision !== "allow";
  return models.some((glob) => globMatch(glob, model));
};

/** One strict JSON object of bounded size. No text at all is a call without arguments: no reader sees a value in it. */
function readable({ args, argsForm }: ToolCall): boolean {
  if (args.length > MAX_ARGUMENT_UNITS) return false;
  if (argsForm === "text" || args.length === 0) return true;
  const parsed = parseJson(args.reveal(), { depth: MAX_ARGUMENT_DEPTH });
  return parsed.ok && parsed.value.kind === "object";
}

type Request = {
  readonly judgeTool: Judge;
  readonly unlisted: "strip" | "deny";
};

/** Calls in the history ran long ago: they are recorded by the exchange and refuse nothing here. */
function judgeRequest(request: InferenceRequest, how: Request): Judged<Verdict> {
  const { tools, forcedTools, history } = request;
  if (tools.length + forcedTools.length > MAX_TOOLS || history.length > MAX_HISTORY_CALLS) {
    return judged({ kind: "deny", reason: "limit_exceeded", rule: OWN.tooMany });
  }
  const model = request.model.reveal();
  const refusals: Refusal[] = [];
  const stripTools: number[] = [];
  // Who runs a forced tool is said by its declaration; a name that is declared nowhere is a client's.
  for (const forced of forcedTools) {
    const name = forced.reveal();
    const verdict = how.judgeTool(name, executionOf(name), model);
    if (verdict.kind !== "allow") refusals.push(verdict);
  }
  for (const { name, execution, index } of tools) {
    const verdict = how.judgeTool(name.reveal(), execution, model);
    // A client's tool that needs approval stays: its call will be asked about. A provider asks nobody.
    if (verdict.kind === "allow" || (verdict.kind === "ask" && execution === "client")) continue;
    if (how.unlisted === "strip") stripTools.push(index);
    else refusals.push(verdict);
  }
  const strictest = refusals.find((verdict) => verdict.kind === "deny") ?? refusals[0];
  if (strictest !== undefined) return judged(strictest);
  if (stripTools.length === 0) return judged(ALLOW);
  return judged({ kind: "mutate", reason: "action_denied", redactions: [], stripTools });
}

type Refusal = Exclude<CallVerdict, { readonly kind: "allow" }>;
const judged = (verdict: Verdict): Judged<Verdict> => ({ verdict, findings: [] });
