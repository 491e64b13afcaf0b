/**
 * Judges one request body: bytes in, a decision out. Pure: no clock beyond the one it is given, no record
 * written; what happened is returned as facts.
 */
import { type Label, label, ownLabel, ruleId } from "../core/brand.ts";
import { CAUSES, type Cause, fail, ok, type Result } from "../core/cause.ts";
import type { Clock } from "../core/clock.ts";
import type { RequestControl } from "../core/control.ts";
import type { Finding } from "../core/finding.ts";
import type { Identity } from "../core/identity.ts";
import type { InferenceRequest } from "../core/inference.ts";
import type { EffectivePolicy, PolicySet } from "../core/policy.ts";
import type { ControlEntry, Coverage, ToolEntry } from "../core/record.ts";
import type { Edit } from "../core/segment.ts";
import { ALLOW, strictest, type Verdict } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { applyEdits, decodeUtf8, type JsonNode, parseJson } from "../llm/json.ts";
import { toolEntry } from "./calls.ts";
import { controlEntry } from "./evidence.ts";
import { isPassThrough, isUpgrade, pathOf, requestCause } from "./heads.ts";
import type { RequestHead } from "./http.ts";
import { compose, segmentEdits } from "./splice.ts";

export type RequestInput = {
  readonly dialect: Dialect;
  readonly policies: PolicySet;
  readonly route: string;
  readonly path: string;
  readonly identity: Identity;
  readonly bytes: Uint8Array;
  readonly clock: Clock;
};

/** What was decided about a request, with everything a record says about it. */
export type RequestDecision = {
  readonly verdict: Verdict;
  /** Set when the request could not be judged as usual; the policy's outcome for it is in `verdict` already. */
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
    verdict: open ? ALLOW : { kind: "deny", reason: cause, rule: ruleId(`cause.${cause}`) },
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
  const refusedBy = (cause: Cause): HeadJudgement => ({
    kind: "decided",
    decision: unread(cause, policy),
  });
  if (closed !== undefined) return refusedBy(closed);
  if (isUpgrade(head)) return refusedBy("upgrade_refused");
  if (policy === undefined) return refusedBy("no_policy");
  if (isPassThrough(head, policy)) {
    return { kind: "decided", decision: { ...undecided("not_inference"), policy } };
  }
  const cause = requestCause(head, dialect, policy);
  return cause === undefined ? { kind: "read", policy } : refusedBy(cause);
}

export function judgeRequest(input: RequestInput): RequestDecision {
  const { route, path, identity } = input;
  const facts = { route, path, identity, dialect: input.dialect.id };
  const before = input.policies.select(facts);
  if (before === undefined) return unread("no_policy", undefined);
  const attempt = guarded(() => readBody(input, before));
  const read = attempt.ok ? attempt.value : attempt;
  if (!read.ok) return unread(read.cause, before);
  const { text, root, request } = read.value;
  const modelName = request.model.reveal();
  const policy = input.policies.select({ ...facts, model: modelName });
  const known = { model: label(modelName, input.policies.printable), modelName };
  if (policy === undefined) return unread("no_policy", undefined, known);
  const judged = runControls(request, policy, input.clock);
  if (!judged.ok) return unread(judged.cause, policy, known);
  const verdict = judged.value.verdict;
  return {
    ...known,
    ...judged.value,
    cause: undefined,
    policy,
    body:
      verdict.kind === "mutate"
        ? Buffer.from(applyEdits(text, requestEdits(text, root, request, verdict, input.dialect)))
        : undefined,
    segments: request.segments.length,
    tools: toolEntries(request, policy, modelName, input.policies.printable, verdict),
    coverage: request.media
      ? { state: "partial", cause: "media_not_inspected" }
      : { state: "full" },
  };
}

type ReadRequest = {
  readonly text: string;
  readonly root: JsonNode;
  readonly request: InferenceRequest;
};

function readBody(input: RequestInput, policy: EffectivePolicy): Result<ReadRequest> {
  const { limits } = policy.settings.ingress;
  if (input.bytes.length > limits.bodyBytes) return fail("body_too_large");
  const text = decodeUtf8(input.bytes);
  if (!text.ok) return text;
  const root = parseJson(text.value, { depth: limits.jsonDepth });
  if (!root.ok) return root;
  const request = input.dialect.readRequest(root.value);
  if (!request.ok) return request;
  return ok({ text: text.value, root: root.value, request: request.value });
}

type RunControls = {
  readonly verdict: Verdict;
  readonly findings: readonly Finding[];
  readonly controls: readonly ControlEntry[];
};

function runControls(
  request: InferenceRequest,
  policy: EffectivePolicy,
  clock: Clock,
): Result<RunControls> {
  const { ingress, action } = policy.controls;
  const layers = [
    ["ingress", ingress],
    ["action", action],
  ] as const satisfies readonly (readonly [ControlEntry["layer"], RequestControl])[];
  const controls: ControlEntry[] = [];
  const findings: Finding[] = [];
  const verdicts: Verdict[] = [];
  for (const [layer, control] of layers) {
    const before = clock.monotonicMs();
    const judged = guarded(() => control.judgeRequest(request));
    if (!judged.ok) return judged;
    controls.push(
      controlEntry(layer, judged.value.verdict, Math.round((clock.monotonicMs() - before) * 1000)),
    );
    for (const finding of judged.value.findings) findings.push(finding);
    verdicts.push(judged.value.verdict);
  }
  if (request.media && policy.settings.failure.media_not_inspected === "deny") {
    return fail("media_not_inspected");
  }
  return ok({ verdict: strictest(verdicts), findings, controls });
}

/** Runs a control: a throw is a bug of ours and becomes a cause; its message could quote content and is dropped. */
export function guarded<T>(run: () => T): Result<T> {
  try {
    return ok(run());
  } catch {
    return fail("detector_error");
  }
}

function requestEdits(
  text: string,
  root: JsonNode,
  request: InferenceRequest,
  verdict: Extract<Verdict, { kind: "mutate" }>,
  dialect: Dialect,
): readonly Edit[] {
  const stripped =
    verdict.stripTools.length === 0
      ? []
      : dialect.withoutTools(text, root, new Set(verdict.stripTools));
  return compose([...segmentEdits(text, request.segments, verdict.redactions), ...stripped]);
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
