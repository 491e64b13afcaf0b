/** Causes, outcomes and records of single exchanges, through the real stream handler. */
import assert from "node:assert/strict";
import { policySet, policyWith, runSession, type Session } from "../envoy/ext-proc/session.ts";
import { ANSWER, CHAT, HELLO } from "./chat.ts";

const plain = policyWith("{ingress: {passThrough: ['GET /v1/models']}}");
const post = (body: string | Uint8Array, headers: Record<string, string> = {}, path = CHAT) => ({
  path,
  body,
  headers,
});
const json = { chunks: [ANSWER] };

type Row = {
  readonly cause: string;
  readonly status: number;
  readonly request: Session["request"];
  readonly policies?: Session["policies"];
  /** `denied` when a control judged, `failed_closed` when nothing could be judged. */
  readonly action?: "denied" | "failed_closed";
};
const small = policyWith("{ingress: {limits: {bodyBytes: 1024, messages: 2, jsonDepth: 8}}}");
const many = { model: "m", messages: Array(3).fill({ role: "user", content: "x" }) };
const rows: readonly Row[] = [
  { cause: "malformed_json", status: 400, request: post('{"model":') },
  { cause: "malformed_json", status: 400, request: post(Buffer.from([0x7b, 0xff, 0x7d])) },
  { cause: "duplicate_key", status: 400, request: post('{"model":"a","mod\\u0065l":"b"}') },
  { cause: "trailing_data", status: 400, request: post(`${HELLO} {}`) },
  { cause: "unknown_shape", status: 400, request: post("[]") },
  { cause: "unknown_shape", status: 400, request: post(HELLO, {}, "/v1/other") },
  { cause: "unknown_shape", status: 400, request: { path: CHAT } },
  {
    cause: "unsupported_media_type",
    status: 415,
    request: post(HELLO, { "content-type": "text/plain" }),
  },
  { cause: "encoded_body", status: 415, request: post(HELLO, { "content-encoding": "gzip" }) },
  {
    cause: "upgrade_refused",
    status: 403,
    request: { method: "GET", path: CHAT, headers: { upgrade: "websocket" } },
  },
  {
    cause: "body_too_large",
    status: 413,
    request: post(HELLO.replace("Hello", "x".repeat(2_000))),
    policies: small,
  },
  {
    cause: "body_too_large",
    status: 413,
    request: post(HELLO, { "content-length": "2048" }),
    policies: small,
  },
  {
    cause: "limit_exceeded",
    status: 403,
    request: post(JSON.stringify(many)),
    policies: small,
    action: "denied",
  },
  {
    cause: "limit_exceeded",
    status: 403,
    request: post(`{"model":"m","messages":[],"x":${"[".repeat(9)}${"]".repeat(9)}}`),
    policies: small,
  },
  {
    cause: "limit_exceeded",
    status: 403,
    request: post(`{"model":"m","messages":[],"x":[${"0,".repeat(131_072)}0]}`),
  },
  {
    cause: "no_policy",
    status: 403,
    request: post(HELLO),
    policies: policyWith("{selector: {routes: [other]}}"),
  },
  {
    cause: "no_policy",
    status: 403,
    request: post(HELLO),
    policies: policyWith("{selector: {models: [other]}}"),
  },
];

describe("an exchange that cannot be judged", () => {
  for (const { cause, status, request, policies = plain, action = "failed_closed" } of rows) {
    it(`is refused with ${status} ${cause}, never reaches the provider, and has both records`, async () => {
      const seen = await runSession({ policies, request });
      assert.equal(seen.upstream, undefined);
      assert.equal(seen.client.status, status);
      assert.equal(JSON.parse(seen.client.body).error.code, cause);
      const [decision] = seen.decisions;
      assert.equal(seen.client.headers["x-limen-decision-id"], decision?.id);
      assert.equal(decision?.verdict.action, action);
      assert.equal(decision?.verdict.reason, cause);
      assert.equal(seen.outcomes.length, 1);
      assert.equal(seen.outcomes[0]?.refs.decision, decision?.id);
    });
  }

  it("passes unread when the policy opens the cause, and says so in both records", async () => {
    const policies = policyWith("{failure: {unknownShape: allow}}");
    const seen = await runSession({
      policies,
      request: post("x", {}, "/v1/other"),
      response: json,
    });
    assert.equal(seen.upstream?.body, "x");
    assert.equal(seen.decisions[0]?.verdict.action, "failed_open");
    assert.deepEqual(seen.decisions[0]?.coverage.request, {
      state: "none",
      cause: "unknown_shape",
    });
    assert.equal(seen.outcomes[0]?.verdict.action, "failed_open");
    assert.equal(seen.outcomes[0]?.coverage.response.state, "none");
  });

  it("is refused with 503 and retry-after when the log does not take the decision", async () => {
    const seen = await runSession({ policies: plain, request: post(HELLO), durable: () => false });
    assert.equal(seen.upstream, undefined);
    assert.equal(seen.client.status, 503);
    assert.equal(seen.client.headers["retry-after"], "1");
    assert.equal(JSON.parse(seen.client.body).error.code, "audit_unavailable");
  });

  it("keeps the answer back when the log does not take the outcome", async () => {
    const durable = ({ type }: { type: string }) => type !== "response.outcome";
    const session = { policies: plain, request: post(HELLO), response: json, durable };
    const whole = await runSession(session);
    assert.equal(whole.client.status, 503);
    assert.ok(!whole.client.body.includes("Hi."));
    const last = "data: [DONE]\n\n";
    const streamed = await runSession({
      ...session,
      response: { headers: { "content-type": "text/event-stream" }, chunks: [last] },
    });
    assert.ok(streamed.client.body.includes("audit_unavailable"));
    assert.ok(!streamed.client.body.includes("[DONE]"));
  });
});

describe("an exchange that Limen cannot take on", () => {
  it("is refused with 503 overloaded and both records", async () => {
    const seen = await runSession({ policies: plain, request: post(HELLO), closed: "overloaded" });
    assert.equal(seen.upstream, undefined);
    assert.equal(seen.client.status, 503);
    assert.equal(JSON.parse(seen.client.body).error.code, "overloaded");
    assert.equal(seen.outcomes[0]?.verdict.action, "failed_closed");
  });

  /** The policy set with one control that has a defect. */
  const broken = (control: "ingress" | "egress"): Session["policies"] => ({
    ...plain,
    select(facts) {
      const policy = plain.select(facts);
      if (policy === undefined) return undefined;
      const defect = (): never => {
        throw new Error("a defect that quotes Hello");
      };
      const part = { ...policy.controls[control], judgeRequest: defect, judgeText: defect };
      return { ...policy, controls: { ...policy.controls, [control]: part } };
    },
  });

  for (const [control, body] of [
    ["ingress", ANSWER],
    ["egress", ANSWER],
  ] as const) {
    it(`fails closed with detector_error when ${control} has a defect`, async () => {
      const policies = broken(control);
      const seen = await runSession({
        policies,
        request: post(HELLO),
        response: { chunks: [body] },
      });
      assert.equal(seen.client.status, 403);
      assert.equal(JSON.parse(seen.client.body).error.code, "detector_error");
      assert.ok(!JSON.stringify(seen.outcomes).includes("Hello"));
      assert.equal(seen.outcomes[0]?.verdict.action, "failed_closed");
    });
  }

  it("ends a stream with the error event when egress has a defect", async () => {
    const frame = `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "Hi" } }] })}\n\n`;
    const response = { headers: { "content-type": "text/event-stream" }, chunks: [frame] };
    const seen = await runSession({ policies: broken("egress"), request: post(HELLO), response });
    assert.ok(seen.client.body.includes("detector_error"));
    assert.ok(!seen.client.body.includes("Hi"));
  });
});

describe("a response", () => {
  const respond = (response: Session["response"], policies = plain) =>
    runSession({ policies, request: post(HELLO), ...(response && { response }) });

  it("that is clean keeps every byte and names the decision", async () => {
    const seen = await respond(json);
    assert.equal(seen.client.body, ANSWER);
    assert.equal(seen.client.headers["x-limen-decision"], "allow");
    assert.equal(seen.client.headers["x-limen-decision-id"], seen.decisions[0]?.id);
    assert.equal(seen.outcomes[0]?.verdict.action, "allowed");
  });

  for (const status of [401, 429, 500]) {
    it(`of ${status} reaches the client as it is and counts as the provider's error`, async () => {
      const body = '{"error":{"message":"slow down","type":"requests"}}';
      const seen = await respond({ status, headers: { "retry-after": "7" }, chunks: [body] });
      assert.equal(seen.client.status, status);
      assert.equal(seen.client.body, body);
      assert.equal(seen.client.headers["retry-after"], "7");
      assert.equal(seen.outcomes[0]?.verdict.action, "provider_error");
    });
  }

  it("that is an error page keeps its form and loses its secrets", async () => {
    const secret = ["AKIA", "Q3EG7MZKPLX2WV5T"].join("");
    const headers = { "content-type": "text/html" };
    const policies = policyWith("{egress: {secrets: {action: redact}}}");
    const page = (text: string) => `<html><body>Bad gateway ${text} here</body></html>`;
    const seen = await respond({ status: 502, headers, chunks: [page(secret)] }, policies);
    assert.equal(seen.client.status, 502);
    assert.equal(seen.client.body, page("[aws_access_key]"));
  });

  for (const [why, headers, cause, status] of [
    ["an unknown media type", { "content-type": "text/plain" }, "unsupported_media_type", 415],
    ["an encoding", { "content-encoding": "br" }, "encoded_body", 415],
  ] as const) {
    it(`with ${why} is refused before its headers leave`, async () => {
      const seen = await respond({ headers, chunks: [ANSWER] });
      assert.equal(seen.client.status, status);
      assert.equal(JSON.parse(seen.client.body).error.code, cause);
      assert.equal(seen.outcomes[0]?.verdict.action, "failed_closed");
    });
  }

  it("that is not the API's shape is refused", async () => {
    const seen = await respond({ chunks: ['{"HELLO":"world"}'] });
    assert.equal(seen.client.status, 400);
    assert.equal(JSON.parse(seen.client.body).error.code, "unknown_shape");
  });

  it("of Envoy's own passes as it is, also before the request was decided", async () => {
    const details = "request_payload_too_large";
    const headers = { "content-type": "text/plain" };
    const seen = await respond({ status: 413, headers, chunks: ["Payload Too Large"], details });
    assert.equal(seen.client.status, 413);
    assert.equal(seen.client.body, "Payload Too Large");
    assert.equal(seen.outcomes[0]?.verdict.action, "local_reply");
  });

  it("without a body gets its outcome with the headers", async () => {
    const seen = await respond({ status: 204, chunks: [] });
    assert.equal(seen.client.status, 204);
    assert.equal(seen.outcomes.length, 1);
  });
});

describe("a request", () => {
  it("on the pass list goes through unread and is recorded as no inference", async () => {
    const request = { method: "GET", path: "/v1/models?limit=2" };
    const seen = await runSession({
      policies: plain,
      request,
      response: { chunks: ['{"data":[]}'] },
    });
    assert.equal(seen.client.body, '{"data":[]}');
    assert.equal(seen.decisions[0]?.verdict.action, "not_inference");
    assert.equal(seen.outcomes[0]?.verdict.action, "not_inference");
  });

  it("reaches the provider without the headers that Limen speaks, and asks for a readable answer", async () => {
    const headers = { "x-limen-approval": "yes", "accept-encoding": "gzip, br" };
    const seen = await runSession({
      policies: plain,
      request: post(HELLO, headers),
      response: json,
    });
    assert.equal(seen.upstream?.headers["x-limen-approval"], undefined);
    assert.equal(seen.upstream?.headers["accept-encoding"], "identity");
    assert.equal(seen.upstream?.body, HELLO);
  });

  it("changes only where a secret stood, and announces its new length", async () => {
    const secret = ["AKIA", "Q3EG7MZKPLX2WV5T"].join("");
    const policies = policyWith("{ingress: {secrets: {action: redact}}}");
    const spaced = `{ "model" : "m",\n "messages":[{"role":"user","content":"my key \\u003d ${secret} ok"}], "n":1.0e0 }`;
    const seen = await runSession({ policies, request: post(spaced), response: json });
    const expected = spaced.replace(secret, "[aws_access_key]");
    assert.equal(seen.upstream?.body, expected);
    assert.equal(seen.upstream?.headers["content-length"], String(expected.length));
    assert.equal(seen.client.headers["x-limen-decision"], "mutate");
  });

  it("is refused for a tool that its policy does not allow to be forced", async () => {
    const policies = policyWith("{action: {default: deny}}");
    const body = JSON.stringify({
      model: "m",
      messages: [{ role: "user", content: "go" }],
      tools: [{ type: "function", function: { name: "rm" } }],
      tool_choice: { type: "function", function: { name: "rm" } },
    });
    const seen = await runSession({ policies, request: post(body) });
    assert.equal(seen.client.status, 403);
    assert.equal(JSON.parse(seen.client.body).error.code, "action_denied");
    assert.equal(seen.outcomes[0]?.verdict.action, "denied");
  });

  it("is judged by all matching policies, the strictest wins", async () => {
    const policy = (name: string, spec: string) =>
      `apiVersion: limen.dev/v1alpha1\nkind: BoundaryPolicy\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
    const documents = [
      policy("open", "{action: {default: allow}}"),
      policy("closed", "{action: {default: deny, definitions: {unlisted: deny}}}"),
    ];
    for (const order of [documents, documents.toReversed()]) {
      const body = JSON.stringify({
        model: "m",
        messages: [],
        tools: [{ type: "function", function: { name: "rm" } }],
      });
      const seen = await runSession({
        policies: policySet(order.join("---\n")),
        request: post(body),
      });
      assert.equal(seen.client.status, 403);
      assert.deepEqual(seen.decisions[0]?.policy.names, ["closed", "open"]);
    }
  });
});
