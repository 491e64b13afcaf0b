/**
 * How an act asks, by the official client libraries, and how it tells what came back: in words that do not differ
 * from run to run.
 */
import Anthropic from "@anthropic-ai/sdk";
import type OpenAI from "openai";
import { APIError } from "openai";
import { API_KEY, CARD, EMAIL, INTERNAL } from "../test/real/scenarios.ts";
import { anthropicAt, MODEL, openaiAt } from "../test/real/sdk.ts";

type Message = OpenAI.ChatCompletionMessageParam;
type Tool = OpenAI.ChatCompletionFunctionTool;

export const tool = (name: string): Tool => ({
  type: "function",
  function: { name, description: `${name} of the shop`, parameters: { type: "object" } },
});

const callsOf = (calls: readonly OpenAI.ChatCompletionMessageToolCall[] = []): readonly string[] =>
  calls.map((call) => (call.type === "function" ? call.function.name : call.custom.name));

/** Streams a chat and tells what a person would see of it. */
export async function chat(
  url: string,
  messages: readonly Message[],
  tools: readonly Tool[] = [],
): Promise<string> {
  try {
    const completion = await openaiAt(url)
      .chat.completions.stream({
        model: MODEL,
        messages: [...messages],
        ...(tools.length > 0 && { tools: [...tools] }),
      })
      .finalChatCompletion();
    const message = completion.choices[0]?.message;
    return told(message?.content ?? "", callsOf(message?.tool_calls));
  } catch (error) {
    return refused(error);
  }
}

/** A refusal as the client library reports it. Anything else than one is a failed demo. */
function refused(error: unknown): string {
  if (error instanceof APIError) return `${error.status} ${error.code}`;
  if (error instanceof Anthropic.APIError) {
    const code = /\[(\w+)\]/.exec(error.message)?.[1];
    return `${error.status} ${code}`;
  }
  throw error;
}

function told(text: string, calls: readonly string[]): string {
  const sights: readonly (readonly [shown: boolean, words: string])[] = [
    [text.includes(INTERNAL), "prints internal data"],
    [text.includes(CARD), "card number in clear"],
    [text.includes(EMAIL), "e-mail in clear"],
    [
      text.includes("Customer 7: card [") && text.endsWith(", paid."),
      "card and e-mail redacted, the rest intact",
    ],
    [text.includes(API_KEY), "the key in clear"],
    [
      text.startsWith("Use [") && text.endsWith(" to sign in."),
      "the key redacted, the rest intact",
    ],
    [text === "Tides follow the moon, about fifty minutes later each day.", "the whole answer"],
    [calls.length > 0, `calls ${calls.join(" and ")}`],
    [
      text.includes("was refused: action_denied") && text.startsWith("I look the order up. "),
      "a sentence for the other",
    ],
  ];
  const seen = sights.filter(([shown]) => shown).map(([, words]) => words);
  return `200, ${seen.length > 0 ? seen.join("; ") : "something else"}`;
}

export const user = (content: string): Message => ({ role: "user", content });

/** Asks about a document, as a block of its own. */
export async function document(url: string, data: string): Promise<string> {
  try {
    const message = await anthropicAt(url).messages.create({
      model: MODEL,
      max_tokens: 256,
      messages: [
        {
          role: "user",
          content: [
            {
              type: "document",
              source: { type: "text", media_type: "text/plain", data },
            },
            { type: "text", text: "May I return an opened jar?" },
          ],
        },
      ],
    });
    return told(
      message.content.flatMap((block) => (block.type === "text" ? [block.text] : [])).join(""),
      [],
    );
  } catch (error) {
    return refused(error);
  }
}

/** Streams a chat in which a tool has found `result`. */
export const lookedUp = (url: string, result: string): Promise<string> =>
  chat(
    url,
    [
      user("May I return an opened jar?"),
      {
        role: "assistant",
        content: null,
        tool_calls: [
          {
            id: "c1",
            type: "function",
            function: { name: "search_documents", arguments: '{"q":"returns"}' },
          },
        ],
      },
      { role: "tool", tool_call_id: "c1", content: result },
    ],
    [tool("search_documents")],
  );
