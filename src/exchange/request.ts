/**
 * Judges one request body: bytes in, a decision out. No clock beyond the one it is given, no record written; what
 * happened is returned as facts. Judging may wait, up to the policy's budget; the body's tree of values, many times
 * its size, does not live that long.
 */
import { type Label, label, ownLabel, ruleId } from "../core/brand.ts";
import { CAUSES, type Cause, fail, ok, type Result } from "../core/cause.ts";
import type { Clock } from "../core/clock.ts";
import type { JudgeContext, RequestControl } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import type { Identity } from "../core/identity.ts";
import type { InferenceRequest } from "../core/inference.ts";
import type { EffectivePolicy, PolicySet, SelectionFacts } from "../core/policy.ts";
import type { ControlEntry, Coverage, ToolEntry } from "../core/record.ts";
import type { Edit } from "../core/segment.ts";
import { inTurns, type Steps } from "../core/steps.ts";
import { ALLOW, strictest, type Verdict } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { applyEdits, decodeUtf8, MAX_JSON_DEPTH, parseJson } from "../llm/json.ts";
import { toolEntry } from "./calls.ts";
import { controlEntry } from "./evidence.ts";
import { isPassThrough, isUpgrade, pathOf, requestCause } from "./heads.ts";
import type { RequestHead } from "./http.ts";
import type { JudgeBudgets } from "./judge-budget.ts";
import { scopeOf } from "./scope.ts";
import { compose, segmentEdits } from "./splice.ts";

export type RequestInput = {
  readonly dialect: Dialect;
  readonly policies: PolicySet;
  readonly route: string;
  readonly path: string;
  readonly identity: Identity;
  readonly bytes: Uint8Array;
  readonly clock: Clock;
  /** Aborted: nobody waits for the decision any more. */
  readonly signal: AbortSignal;
  /** Shared by all requests of the process. */
  readonly judging: JudgeBudgets;
};

/** What was decided about a request, with everything a record says about it. */
export type RequestDecision = {
  readonly verdict: Verdict;
  /** Set when the request could not be judged, or not all of it; the policy's outcome is in `verdict` already. */
  readonly cause: Cause | undefined;
  /** The body that goes upstream when it differs from the one that came. */
  readonly body: Uint8Array | undefined;
  readonly policy: EffectivePolicy | undefined;
  readonly model: Label;
  readonly modelName: string;
  readonly segments: number;
  readonly controls: readonly ControlEntry[];
  readonly findings: readonly Finding[];
  readonly tools: readonly ToolEntry[];
  readonly coverage: Coverage;
};

const UNKNOWN_MODEL = ownLabel("other");

/** A request that a cause ends: refused, or passed on unread when the policy says so. */
export function unread(
  cause: Cause,
  policy: EffectivePolicy | undefined,
  known: Partial<RequestDecision> = {},
): RequestDecision {
  const open = CAUSES[cause].allowable && policy?.settings.failure[cause] === "allow";
  return {
    verdict: open ? ALLOW : refusedBy(cause),
    cause,
    body: undefined,
    policy,
    model: UNKNOWN_MODEL,
    modelName: "",
    segments: 0,
    controls: [],
    findings: [],
    tools: [],
    ...known,
    coverage: { state: "none", cause },
  };
}

const refusedBy = (cause: Cause): Verdict => ({
  kind: "deny",
  reason: cause,
  rule: ruleId(`cause.${cause}`),
});

/** There was nothing to judge: no inference, or none that came to us whole. */
export const undecided = (cause: NonNullable<Coverage["cause"]>): RequestDecision => ({
  ...unread("unknown_shape", undefined),
  verdict: ALLOW,
  cause: undefined,
  coverage: { state: "none", cause },
});

export type Admission = {
  readonly policies: PolicySet;
  /** Why nothing new is taken on, if so. */
  readonly closed: Extract<Cause, "overloaded"> | undefined;
};

/** `read`: the body has to be read, by the limits of what is known of its policy so far. */
export type HeadJudgement =
  | { readonly kind: "decided"; readonly decision: RequestDecision }
  | { readonly kind: "read"; readonly policy: EffectivePolicy };

/**
 * What can be decided without a body.
 * @param dialect of method and path
 */
export function judgeHead(
  head: RequestHead,
  dialect: Dialect | undefined,
  { policies, closed }: Admission,
): HeadJudgement {
  const { route, identity } = head;
  const policy = policies.select({ route, path: pathOf(head.path), identity });
  const decidedBy = (cause: Cause): HeadJudgement => ({
    kind: "decided",
    decision: unread(cause, policy),
  });
  if (closed !== undefined) return decidedBy(closed);
  if (isUpgrade(head)) return decidedBy("upgrade_refused");
  if (policy === undefined) return decidedBy("no_policy");
  if (isPassThrough(head, policy)) {
    return { kind: "decided", decision: { ...undecided("not_inference"), policy } };
  }
  const cause = requestCause(head, dialect, policy);
  return cause === undefined ? { kind: "read", policy } : decidedBy(cause);
}

/** All but small bodies wait for room, inside the policy's budget: not begun by then, they are refused as `overloaded`. */
export async function judgeRequest(input: RequestInput): Promise<RequestDecision> {
  const { bytes, clock, signal } = input;
  const startedMs = clock.monotonicMs();
  const policy = input.policies.select(factsOf(input));
  if (policy === undefined) return unread("no_policy", undefined);
  if (bytes.length <= SMALL_BODY) return judgeBody(input, policy, startedMs);
  const isLarge = bytes.length > LARGE_BODY;
  const budget = isLarge ? input.judging.large : input.judging.middle;
  const until = startedMs + policy.settings.budgetMs.request;
  const judged = await budget.admit(bytes.length, { clock, signal, until }, async () => {
    if (isLarge) await clock.turn();
    if (signal.aborted) return unread("overloaded", policy); // not read for nobody
    return judgeBody(input, policy, startedMs);
  });
  return judged.ok ? judged.value : unread(judged.cause, policy);
}

const factsOf = ({ route, path, identity, dialect }: RequestInput): SelectionFacts => ({
  route,
  path,
  identity,
  dialect: dialect.id,
});

/** @param before the policy by what is known without the body */
async function judgeBody(
  input: RequestInput,
  before: EffectivePolicy,
  startedMs: number,
): Promise<RequestDecision> {
  const { clock } = input;
  const attempt = guarded(() => readBody(input, before));
  const read = attempt.ok ? attempt.value : attempt;
  if (!read.ok) return unread(read.cause, before);
  const { request } = read.value;
  const modelName = request.model.reveal();
  const policy = input.policies.select({ ...factsOf(input), model: modelName });
  const known = { model: label(modelName, input.policies.printable), modelName };
  if (policy === undefined) return unread("no_policy", undefined, known);
  const context = {
    scope: scopeOf(input.identity),
    until: startedMs + policy.settings.budgetMs.request,
    clock,
    signal: input.signal,
  };
  const judged = await runControls(request, policy, context);
  if (!judged.ok) return unread(judged.cause, policy, known);
  const { findings, controls } = judged.value;
  const ruling = ruled(judged.value, request, policy);
  const { verdict } = ruling;
  const changed = await guardedWait(async () =>
    verdict.kind === "mutate"
      ? inTurns(changedBody(input.dialect, read.value, verdict), context)
      : undefined,
  );
  if (!changed.ok) return unread(changed.cause, policy, known);
  return {
    ...known,
    ...ruling,
    findings,
    controls,
    policy,
    body: changed.value,
    segments: request.segments.length,
    tools: toolEntries(request, policy, modelName, input.policies.printable, verdict),
  };
}

/**
 * JSON values of one request: each costs everybody up to 1 µs of the event loop (measured), and a body of a megabyte
 * has room for 500,000. Four times as many as texts that are judged.
 */
const VALUES = 131_072;
/** Bytes of a body that is judged in about one turn: of 4,000 at once few are begun (120 MiB at most, measured). */
const SMALL_BODY = 16_384;
/** Bytes of a body whose tree takes a millisecond or more: it is read in a turn of its own. */
const LARGE_BODY = 65_536;

type ReadRequest = { readonly text: string; readonly request: InferenceRequest };

function readBody(input: RequestInput, policy: EffectivePolicy): Result<ReadRequest> {
  const { limits } = policy.settings.ingress;
  if (input.bytes.length > limits.bodyBytes) return fail("body_too_large");
  const text = decodeUtf8(input.bytes);
  if (!text.ok) return text;
  const root = parseJson(text.value, { depth: limits.jsonDepth, values: VALUES });
  if (!root.ok) return root;
  const request = input.dialect.readRequest(root.value);
  if (!request.ok) return request;
  return ok({ text: text.value, request: request.value });
}

type RunControls = {
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  readonly controls: readonly ControlEntry[];
  /** Why not all could be judged, if so. */
  readonly cause: Cause | undefined;
};

async function runControls(
  request: InferenceRequest,
  policy: EffectivePolicy,
  context: JudgeContext,
): Promise<Result<RunControls>> {
  const { clock } = context;
  const { ingress, action } = policy.controls;
  const layers = [
    ["ingress", ingress],
    ["action", action],
  ] as const satisfies readonly (readonly [ControlEntry["layer"], RequestControl])[];
  const controls: ControlEntry[] = [];
  const findings: Finding[] = [];
  const verdicts: Verdict[] = [];
  let cause: Cause | undefined;
  for (const [layer, control] of layers) {
    const before = clock.monotonicMs();
    const judged = await guardedWait(() => control.judgeRequest(request, context));
    if (!judged.ok) return judged;
    cause ??= judged.value.cause;
    controls.push(
      controlEntry(layer, judged.value.verdict, Math.round((clock.monotonicMs() - before) * 1000)),
    );
    for (const finding of judged.value.findings) findings.push(finding);
    verdicts.push(judged.value.verdict);
  }
  if (request.media && policy.settings.failure.media_not_inspected === "deny") {
    return fail("media_not_inspected");
  }
  return ok({ verdict: strictest(verdicts), findings, controls, cause });
}

/**
 * What is found decides; where not all could be looked at and nothing was found to refuse, the policy's word for the
 * cause does.
 */
function ruled(
  { verdict, cause }: RunControls,
  { media }: InferenceRequest,
  { settings }: EffectivePolicy,
): Pick<RequestDecision, "verdict" | "cause" | "coverage"> {
  if (cause === undefined) {
    const unseen = { state: "partial", cause: "media_not_inspected" } as const;
    return { verdict, cause, coverage: media ? unseen : { state: "full" } };
  }
  const coverage = { state: "partial", cause } as const;
  if (verdict.kind === "deny") return { verdict, cause: undefined, coverage };
  const isOpen = settings.failure[cause] === "allow";
  return { verdict: isOpen ? verdict : refusedBy(cause), cause, coverage };
}

/** Runs a control: a throw is a bug of ours and becomes a cause; its message could quote content and is dropped. */
export function guarded<T>(run: () => T): Result<T> {
  try {
    return ok(run());
  } catch {
    return fail("detector_error");
  }
}

/** The same for one that may wait. */
async function guardedWait<T>(run: () => Promise<T>): Promise<Result<T>> {
  try {
    return ok(await run());
  } catch {
    return fail("detector_error");
  }
}

type Mutation = Extract<Verdict, { readonly kind: "mutate" }>;

function* changedBody(
  dialect: Dialect,
  { text, request }: ReadRequest,
  verdict: Mutation,
): Steps<Uint8Array> {
  const redacted = yield* segmentEdits(text, request.segments, verdict.redactions);
  yield;
  const stripped = strippedTools(dialect, text, verdict.stripTools);
  yield;
  const edits = compose([...redacted, ...stripped]);
  yield;
  return Buffer.from(applyEdits(text, edits));
}

/** Reads the text once more: its tree did not wait for the verdict. */
function strippedTools(dialect: Dialect, text: string, tools: readonly number[]): readonly Edit[] {
  if (tools.length === 0) return [];
  const root = parseJson(text, { depth: MAX_JSON_DEPTH });
  if (!root.ok) throw new Error("a text that was read before cannot be read");
  return dialect.withoutTools(text, root.value, new Set(tools));
}

function toolEntries(
  request: InferenceRequest,
  policy: EffectivePolicy,
  model: string,
  printable: ReadonlySet<string>,
  verdict: Verdict,
): readonly ToolEntry[] {
  const { action } = policy.controls;
  const stripped = new Set(verdict.kind === "mutate" ? verdict.stripTools : []);
  const declared = request.tools.map(({ name, execution, index }): ToolEntry => {
    const revealed = name.reveal();
    const judged = action.judgeTool(revealed, execution, model);
    const entry = toolEntry(label(revealed, printable), judged, "declared");
    return stripped.has(index) ? { ...entry, verdict: "strip" } : entry;
  });
  const history = request.history.map(({ name, execution }): ToolEntry => {
    const revealed = name.reveal();
    const judged = action.judgeTool(revealed, execution, model);
    return toolEntry(label(revealed, printable), judged, "history");
  });
  return [...declared, ...history];
}
