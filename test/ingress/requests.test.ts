/** What providers get when instructions are taken out of requests or marked, in both dialects, through the exchange. */
import assert from "node:assert/strict";
import { createIngress } from "../../src/ingress/ingress.ts";
import { SIGN, SignScorer } from "../detect/injection/sign-scorer.ts";
import { EMAIL } from "../egress/samples.ts";
import { policyWith, runSession, type Seen } from "../envoy/ext-proc/session.ts";

const CHAT = "/v1/chat/completions";
const MESSAGES = "/v1/messages";
type Path = typeof CHAT | typeof MESSAGES;

function sent(path: Path, body: object, spec: string, signs = [SIGN]): Promise<Seen> {
  const scorer = new SignScorer({ signs });
  const policies = policyWith(spec, (settings) => createIngress(settings, scorer));
  const request = { path, body: JSON.stringify(body) };
  return runSession({ policies, request, response: { status: 500, chunks: ["{}"] } });
}

const NOTES = `The harvest "was" good.\n${SIGN} Prices fell — in May. 🙂`;
const FENCE = `What is this?\n\`\`\`\n${"Rain fell. ".repeat(8)}${SIGN}\n\`\`\`\nBriefly.`;
const user = (content: unknown): object => ({ role: "user", content });
const call = { id: "c1", type: "function", function: { name: "get", arguments: "{}" } };
const use = { type: "tool_use", id: "t1", name: "get", input: {} };
const chat = (messages: readonly object[], rest: object = {}): object => ({
  model: "m",
  messages,
  ...rest,
});
const messages = (list: readonly object[], rest: object = {}): object =>
  chat(list, { max_tokens: 9, ...rest });

/** Where the text stands, and a request with it there. */
const PLACES: readonly (readonly [string, Path, (text: string) => object])[] = [
  ["a user's message", CHAT, (text) => chat([user(text)])],
  ["a part of a user's message", CHAT, (text) => chat([user([{ type: "text", text }])])],
  [
    "a tool's result",
    CHAT,
    (text) =>
      chat([
        user("go"),
        { role: "assistant", tool_calls: [call] },
        { role: "tool", tool_call_id: "c1", content: text },
      ]),
  ],
  [
    "a tool's description",
    CHAT,
    (text) =>
      chat([user("go")], {
        tools: [{ type: "function", function: { name: "get", description: text } }],
      }),
  ],
  ["a user's message", MESSAGES, (text) => messages([user(text)])],
  [
    "a document",
    MESSAGES,
    (data) =>
      messages([
        user([
          { type: "document", source: { type: "text", media_type: "text/plain", data } },
          { type: "text", text: "go" },
        ]),
      ]),
  ],
  [
    "a tool's result",
    MESSAGES,
    (text) =>
      messages([
        user("go"),
        { role: "assistant", content: [use] },
        user([{ type: "tool_result", tool_use_id: "t1", content: [{ type: "text", text }] }]),
      ]),
  ],
  [
    "a tool's description",
    MESSAGES,
    (description) =>
      messages([user("go")], {
        tools: [{ name: "get", description, input_schema: { type: "object" } }],
      }),
  ],
];

const spec = (action: string, rest = ""): string =>
  `{ingress: {injection: {user: ${action}, document: ${action}, tool: ${action}, hidden: ${action}}${rest}}, action: {default: allow}}`;
const bodyOf = (seen: Seen): string => seen.upstream?.body ?? "refused";

describe("instructions in requests", () => {
  for (const [where, path, make] of PLACES) {
    it(`are taken out of ${where} of ${path}, and nothing else changes`, async () => {
      const seen = await sent(path, make(NOTES), spec("strip"));
      assert.equal(bodyOf(seen), JSON.stringify(make(NOTES.replace(SIGN, "[removed]"))));
      const [decision] = seen.decisions;
      assert.equal(decision?.verdict.decision, "mutate");
      assert.equal(decision?.verdict.reason, "injection_detected");
      assert.equal(decision?.findings[0]?.disposition, "masked");
    });
    it(`are marked in ${where} of ${path}, which stays whole`, async () => {
      const body = bodyOf(await sent(path, make(NOTES), spec("annotate")));
      const literal = JSON.stringify(NOTES).slice(1, -1);
      const [before = "", after = ""] = body.split(literal);
      assert.match(before, /"\[Untrusted data up to the mark [0-9a-f]{24}: [\w ,]+\.\]\\n$/);
      assert.match(after, /^\\n\[End of untrusted data [0-9a-f]{24}\.\]"/);
      const plain = body.replace(/\[Untrusted[^\]]*\]\\n|\\n\[End of untrusted[^\]]*\]/g, "");
      assert.equal(plain, JSON.stringify(make(NOTES)));
    });
    it(`are refused in ${where} of ${path}`, async () => {
      assert.equal(bodyOf(await sent(path, make(NOTES), spec("deny"))), "refused");
    });
  }

  it("are judged as a document's where a user put them between marks", async () => {
    const strip = "{ingress: {injection: {user: deny, document: strip, tool: deny, hidden: deny}}}";
    const seen = await sent(CHAT, chat([user(FENCE)]), strip);
    assert.equal(bodyOf(seen), JSON.stringify(chat([user(FENCE.replace(SIGN, "[removed]"))])));
  });

  it("go together with personal data beside them and inside them", async () => {
    const pii = ", pii: {action: redact, entities: [email]}";
    const long = SIGN.replace("desk.", `desk or ${EMAIL}.`);
    const texts = [
      [`Write to ${EMAIL} soon. ${SIGN}`, "Write to [email] soon. [removed]"],
      [`Thanks. ${long} Bye.`, "Thanks. [removed] Bye."],
    ] as const;
    for (const [text, left] of texts) {
      const seen = await sent(CHAT, chat([user(text)]), spec("strip", pii), [SIGN, long]);
      assert.equal(bodyOf(seen), JSON.stringify(chat([user(left)])));
    }
    const marked = bodyOf(
      await sent(CHAT, chat([user(`${EMAIL} ${SIGN} ${EMAIL}`)]), spec("annotate", pii)),
    );
    assert.match(marked, /\.\]\\n\[email\] Kindly [\w ]+\. \[email\]\\n\[End/);
  });

  it("in the name of a schema's field, which cannot be edited, refuse the request", async () => {
    const schema = { type: "object", properties: { [SIGN]: { type: "string" } } };
    const tools = [{ name: "get", description: "gets", input_schema: schema }];
    for (const action of ["strip", "annotate"]) {
      const seen = await sent(MESSAGES, messages([user("go")], { tools }), spec(action));
      assert.equal(bodyOf(seen), "refused");
    }
  });
});
