/** One chat as the tests of the exchange have it: a request, the answer to it, and a control that waits in between. */
import type { JudgeContext, RequestJudgement } from "../../src/core/control.ts";
import { NOBODY } from "../../src/core/identity.ts";
import type { PolicySet } from "../../src/core/policy.ts";
import { ALLOW } from "../../src/core/verdict.ts";
import type { BodyChunk, RequestHead, ResponseHead } from "../../src/exchange/http.ts";
import { judgedBy } from "../envoy/ext-proc/session.ts";

export const CHAT = "/v1/chat/completions";
export const HELLO = JSON.stringify({
  model: "m",
  messages: [{ role: "user", content: "Hello" }],
});
export const ANSWER = JSON.stringify({
  id: "x",
  model: "m",
  choices: [{ index: 0, message: { role: "assistant", content: "Hi." }, finish_reason: "stop" }],
});

export const HEAD: RequestHead = {
  method: "POST",
  path: CHAT,
  headers: new Map([["content-type", "application/json"]]),
  route: "llm",
  identity: NOBODY,
  endOfStream: false,
};
/** All of the request's body. */
export const BODY: BodyChunk = { bytes: Buffer.from(HELLO), endOfStream: true };

/** What Envoy answers by itself when Limen takes too long. */
export const LOCAL_504: ResponseHead = {
  status: 504,
  headers: new Map(),
  endOfStream: true,
  local: true,
};

/** Lets everything else that is ready have its turn. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A control that judges when the test says so; what comes after that is judged the same. */
export class Held {
  /** Of all requests that were asked about. */
  readonly contexts: JudgeContext[] = [];
  #asked: () => void = () => {};
  #answer: (judgement: RequestJudgement) => void = () => {};
  readonly #arrived = new Promise<void>((resolve) => {
    this.#asked = resolve;
  });
  readonly #judgement = new Promise<RequestJudgement>((resolve) => {
    this.#answer = resolve;
  });

  readonly policies = (policies: PolicySet): PolicySet =>
    judgedBy(policies, (_request, context) => {
      this.contexts.push(context);
      this.#asked();
      return this.#judgement;
    });

  /** Resolves when a request waits for its verdict. */
  get arrival(): Promise<void> {
    return this.#arrived;
  }

  answer(judgement: Partial<RequestJudgement> = {}): void {
    this.#answer({ verdict: ALLOW, findings: [], ...judgement });
  }
}
