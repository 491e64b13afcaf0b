/**
 * One inference as every dialect reads it and every control judges it: the request with its text,
 * tools and history, the response with its text and calls. Positions point into the body's text.
 */
import type { Content } from "./content.ts";
import type { Segment } from "./segment.ts";

export const DIALECTS = ["openai-chat", "anthropic-messages"] as const;
export type DialectId = (typeof DIALECTS)[number];

/** Who runs a tool: the client that gets the call, or the provider by itself, unseen by the client. */
export type Execution = "client" | "provider";

/** A tool that a request declares. Provider-run tools are named `openai:<type>`, `anthropic:<type>`. */
type ToolDefinition = {
  readonly name: Content;
  readonly execution: Execution;
  /** Identifies the definition to the dialect that read it (`Dialect.withoutTools`). */
  readonly index: number;
};

/** A call that a model emitted, or that a request replays as history. */
export type ToolCall = {
  readonly name: Content;
  readonly execution: Execution;
  /** The arguments as the model wrote them: JSON text, or free text for custom tools. */
  readonly args: Content;
  /** `json` must parse as one object (else `malformed_arguments`); `text` is free text. */
  readonly argsForm: "json" | "text";
  /** Identifies the call within its response: the same key buffered and streamed. */
  readonly key: string;
};

export type InferenceRequest = {
  readonly dialect: DialectId;
  readonly model: Content;
  readonly streamed: boolean;
  readonly segments: readonly Segment[];
  readonly tools: readonly ToolDefinition[];
  /** Names that `tool_choice` forces. */
  readonly forcedTools: readonly Content[];
  /** Calls in the conversation so far. */
  readonly history: readonly ToolCall[];
  readonly messages: number;
  readonly maxOutputTokens: number | undefined;
  /** The request carries images, audio or files. */
  readonly media: boolean;
};

export type InferenceResponse = {
  readonly model: Content | undefined;
  readonly segments: readonly Segment[];
  readonly calls: readonly ToolCall[];
  readonly media: boolean;
};
