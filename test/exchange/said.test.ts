/** What an answer says of its decision, in every body mode: only what is known when its headers leave. */
import assert from "node:assert/strict";
import { policyWith, runSession, type Seen, type Session } from "../envoy/ext-proc/session.ts";
import { ANSWER, CHAT, HELLO } from "./chat.ts";

const CANARY = "CANARY-7f3a91c2d4";
const CARD = ["4111", "1111", "1111", "1111"].join(" ");
const KEY = ["AKIA", "Q3EG7MZKPLX2WV5T"].join("");
const policies = policyWith(`
  ingress: {secrets: {action: redact}}
  egress: {promptLeak: {action: deny, canaries: [${CANARY}]}, pii: {action: redact}}`);
const NAMES = ["BUFFERED", "STREAMED", "FULL_DUPLEX_STREAMED"] as const;

const whole = (content: string): Session["response"] => ({
  chunks: [ANSWER.replace("Hi.", content)],
});
const live = (content: string): Session["response"] => {
  const frames = [{ delta: { content } }, { delta: {}, finish_reason: "stop" }].map(
    (choice) => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`,
  );
  return {
    headers: { "content-type": "text/event-stream" },
    chunks: [...frames, "data: [DONE]\n\n"],
  };
};
const asked = (
  mode: (typeof NAMES)[number],
  response: Session["response"],
  body = HELLO,
): Promise<Seen> =>
  runSession({
    policies,
    request: { path: CHAT, body },
    modes: { request: "BUFFERED", response: mode },
    ...(response && { response }),
  });
const wordOf = ({ client }: Seen): unknown => client.headers["x-limen-decision"];

describe("what an answer says of its decision", () => {
  for (const mode of NAMES) {
    it(`is known of a whole one, unless its headers leave first (${mode})`, async () => {
      for (const [content, known] of [
        ["Hi.", "allow"],
        [`Card ${CARD}.`, "mutate"],
      ] as const) {
        const seen = await asked(mode, whole(content));
        assert.equal(wordOf(seen), mode === "STREAMED" ? "pending" : known);
        assert.ok(!seen.client.body.includes(CARD));
      }
    });

    it(`is pending for a live one, whatever became of the request (${mode})`, async () => {
      for (const [body, decision] of [
        [HELLO, "allow"],
        [HELLO.replace("Hello", KEY), "mutate"],
      ] as const) {
        const seen = await asked(mode, live("Hi."), body);
        assert.equal(wordOf(seen), "pending");
        assert.equal(seen.client.headers["x-limen-decision-id"], seen.decisions[0]?.id);
        assert.equal(seen.decisions[0]?.verdict.decision, decision);
      }
    });
  }

  it("is never the provider's own word", async () => {
    const headers = { "x-limen-decision": "deny", "x-limen-decision-id": "forged" };
    for (const [response, word] of [
      [whole("Hi."), "allow"],
      [live("Hi."), "pending"],
    ] as const) {
      const forged = { chunks: [], ...response, headers: { ...response?.headers, ...headers } };
      const seen = await asked("BUFFERED", forged);
      assert.equal(wordOf(seen), word);
      assert.equal(seen.client.headers["x-limen-decision-id"], seen.decisions[0]?.id);
    }
  });

  it("is a refusal where the answer is refused before its headers have left", async () => {
    for (const response of [whole(CANARY), live(CANARY)]) {
      const seen = await asked("FULL_DUPLEX_STREAMED", response);
      assert.deepEqual([seen.client.status, wordOf(seen)], [403, "deny"]);
    }
  });

  it("is a change where a provider's error is said again in our words", async () => {
    const headers = { "content-type": "text/plain; charset=utf-7" };
    const seen = await asked("BUFFERED", { status: 502, headers, chunks: ["bad gateway"] });
    assert.deepEqual([seen.client.status, wordOf(seen)], [502, "mutate"]);
  });
});
