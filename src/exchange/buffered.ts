/** Judges one complete response body: bytes in, a decision and perhaps another body out. Pure. */
import { type Label, label, ownLabel } from "../core/brand.ts";
import { type Cause, fail, ok, type Result } from "../core/cause.ts";
import type { ToolEntry } from "../core/record.ts";
import type { Edit, Segment } from "../core/segment.ts";
import type { Reason } from "../core/verdict.ts";
import type { Dialect } from "../llm/dialect.ts";
import { applyEdits, decodeUtf8, type JsonNode, type JsonString, parseJson } from "../llm/json.ts";
import { type CallJudge, judgeCall } from "./calls.ts";
import { FindingTally } from "./evidence.ts";
import { compose, literalOf, redactionEdits } from "./splice.ts";

export type ResponseDecision = {
  /** Set when nothing of the response may reach the client. */
  readonly refusal: Reason | undefined;
  /** Why text was changed. */
  readonly mutation: Reason | undefined;
  readonly actionMs: number;
  /** The body that leaves when it differs from the one that came. */
  readonly body: Uint8Array | undefined;
  readonly served: Label;
  readonly findings: FindingTally;
  readonly tools: readonly ToolEntry[];
  readonly media: boolean;
};

const OTHER = ownLabel("other");

/** A model's answer: texts through the egress control, calls through the action control. */
export function judgeAnswer(
  bytes: Uint8Array,
  dialect: Dialect,
  judge: CallJudge,
): Result<ResponseDecision> {
  const read = readJson(bytes, judge);
  if (!read.ok) return read;
  const { text, root } = read.value;
  const response = dialect.readResponse(root);
  if (!response.ok) return response;
  const { segments, calls, media, model } = response.value;
  const texts = judgeSegments(text, segments, judge, (starts) => dialect.companions(root, starts));
  const tools: ToolEntry[] = [];
  const refused = new Map<string, string>();
  let actionMs = 0;
  let { refusal } = texts;
  for (const call of calls) {
    const judged = judgeCall(call, judge);
    tools.push(judged.entry);
    actionMs += judged.ms;
    texts.findings.add(judged.findings);
    refusal ??= judged.refusal;
    if (judged.sentence !== undefined) refused.set(call.key, judged.sentence);
  }
  const withoutCalls = refused.size === 0 ? [] : dialect.withoutCalls(text, root, refused);
  const edits = compose([...texts.edits, ...withoutCalls]);
  return ok({
    refusal,
    mutation: texts.mutation,
    actionMs,
    body: edits.length === 0 ? undefined : Buffer.from(applyEdits(text, edits)),
    served: model === undefined ? OTHER : label(model.reveal(), judge.printable),
    findings: texts.findings,
    tools,
    media,
  });
}

/** A provider's error page or object: every string in it, or all of it as one text. */
export function judgeError(bytes: Uint8Array, judge: CallJudge): Result<ResponseDecision> {
  if (bytes.length > judge.policy.settings.egress.limits.bodyBytes) return fail("body_too_large");
  const text = decodeUtf8(bytes);
  if (!text.ok) return fail("unsupported_media_type" satisfies Cause);
  const root = parseJson(text.value, { depth: judge.policy.settings.ingress.limits.jsonDepth });
  const nothing = { served: OTHER, tools: [], media: false, actionMs: 0 } as const;
  if (root.ok) {
    const judged = judgeLiterals(text.value, stringsOf(root.value), judge);
    return ok({
      ...nothing,
      refusal: judged.refusal,
      mutation: judged.mutation,
      findings: judged.findings,
      body:
        judged.edits.length === 0
          ? undefined
          : Buffer.from(applyEdits(text.value, compose(judged.edits))),
    });
  }
  const { verdict, findings } = judge.policy.controls.egress.judgeText(text.value, 0, "ended");
  const edits: readonly Edit[] =
    verdict.kind === "mutate"
      ? verdict.redactions.map(({ span, replacement }) => ({ ...span, text: replacement }))
      : [];
  return ok({
    ...nothing,
    refusal: verdict.kind === "deny" ? verdict.reason : undefined,
    mutation: verdict.kind === "mutate" ? verdict.reason : undefined,
    findings: new FindingTally(findings),
    body: edits.length === 0 ? undefined : Buffer.from(applyEdits(text.value, compose(edits))),
  });
}

function readJson(
  bytes: Uint8Array,
  judge: CallJudge,
): Result<{ readonly text: string; readonly root: JsonNode }> {
  const { egress, ingress } = judge.policy.settings;
  if (bytes.length > egress.limits.bodyBytes) return fail("body_too_large");
  const text = decodeUtf8(bytes);
  if (!text.ok) return text;
  const root = parseJson(text.value, { depth: ingress.limits.jsonDepth });
  return root.ok ? ok({ text: text.value, root: root.value }) : root;
}

type JudgedTexts = {
  readonly refusal: Reason | undefined;
  readonly mutation: Reason | undefined;
  readonly edits: readonly Edit[];
  readonly findings: FindingTally;
};

/** Edits that go with edits of the literals that start there. */
type Companions = (literalStarts: ReadonlySet<number>) => readonly Edit[];

const judgeSegments = (
  text: string,
  segments: readonly Segment[],
  judge: CallJudge,
  companions: Companions,
): JudgedTexts =>
  judgeLiterals(
    text,
    segments.map((segment) => ({ ...literalOf(segment), signed: segment.signed })),
    judge,
    companions,
  );

function judgeLiterals(
  text: string,
  literals: readonly (JsonString & { readonly signed?: boolean })[],
  judge: CallJudge,
  companions: Companions = () => [],
): JudgedTexts {
  const edits: Edit[] = [];
  const edited = new Set<number>();
  const findings = new FindingTally();
  let refusal: Reason | undefined;
  let mutation: Reason | undefined;
  for (const literal of literals) {
    const judged = judge.policy.controls.egress.judgeText(literal.value, 0, "ended");
    findings.add(judged.findings);
    const { verdict } = judged;
    if (verdict.kind === "allow") continue;
    // A signed text is kept or refused whole (see live.ts).
    if (verdict.kind === "deny" || literal.signed === true) refusal ??= verdict.reason;
    else {
      mutation ??= verdict.reason;
      for (const edit of redactionEdits(text, literal, verdict.redactions)) edits.push(edit);
      edited.add(literal.start);
    }
  }
  for (const edit of companions(edited)) edits.push(edit);
  return { refusal, mutation, edits, findings };
}

/** Every string value below a node, in order; iterative, the depth is the parser's limit. */
function stringsOf(root: JsonNode): readonly JsonString[] {
  const found: JsonString[] = [];
  const open: JsonNode[] = [root];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (node.kind === "string") found.push(node);
    // One by one: a spread of as many items as a peer chooses overflows the stack.
    else if (node.kind === "array") for (const item of node.items) open.push(item);
    else if (node.kind === "object") for (const item of node.members.values()) open.push(item);
  }
  return found;
}
