/** The official client libraries, pointed at a listener: no retries, so that one call is one request. */
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import type { ScenarioName } from "./scenarios.ts";

export const MODEL = "demo-1";
/** Not a key of anything: the stand-in provider takes every one. */
const KEY = "no-key";

const headersOf = (scenario?: ScenarioName): Record<string, string> =>
  scenario === undefined ? {} : { "x-scenario": scenario };

export const openaiAt = (url: string, scenario?: ScenarioName): OpenAI =>
  new OpenAI({
    apiKey: KEY,
    baseURL: `${url}/v1`,
    maxRetries: 0,
    defaultHeaders: headersOf(scenario),
  });

export const anthropicAt = (url: string, scenario?: ScenarioName): Anthropic =>
  new Anthropic({ apiKey: KEY, baseURL: url, maxRetries: 0, defaultHeaders: headersOf(scenario) });

/** What a person sees of an answer, whichever API and form it came in. */
export type Seen = {
  readonly text: string;
  readonly calls: readonly { name: string; args: string }[];
};
export type Form = "json" | "stream";
export type Api = "openai" | "anthropic";

export const ask = (
  api: Api,
  form: Form,
  url: string,
  prompt: string,
  scenario?: ScenarioName,
): Promise<Seen> =>
  api === "openai"
    ? askOpenai(openaiAt(url, scenario), form, prompt)
    : askAnthropic(anthropicAt(url, scenario), form, prompt);

async function askOpenai(client: OpenAI, form: Form, prompt: string): Promise<Seen> {
  const body = { model: MODEL, messages: [{ role: "user" as const, content: prompt }] };
  const completion =
    form === "json"
      ? await client.chat.completions.create(body)
      : await client.chat.completions.stream(body).finalChatCompletion();
  const message = completion.choices[0]?.message;
  const calls = (message?.tool_calls ?? []).flatMap((call) =>
    call.type === "function" ? [{ name: call.function.name, args: call.function.arguments }] : [],
  );
  return { text: message?.content ?? "", calls };
}

async function askAnthropic(client: Anthropic, form: Form, prompt: string): Promise<Seen> {
  const body = {
    model: MODEL,
    max_tokens: 256,
    messages: [{ role: "user" as const, content: prompt }],
  };
  const message =
    form === "json"
      ? await client.messages.create(body)
      : await client.messages.stream(body).finalMessage();
  const text = message.content
    .flatMap((block) => (block.type === "text" ? [block.text] : []))
    .join("");
  const calls = message.content.flatMap((block) =>
    block.type === "tool_use" ? [{ name: block.name, args: JSON.stringify(block.input) }] : [],
  );
  return { text, calls };
}
