/** What a rule of the lint is: a row of a table, with a small function that finds where it is broken. */
import type { Cursor } from "./cursor.ts";

/** The largest bodies that the policies in force allow, in bytes. */
export type Limits = { readonly requestBytes: number; readonly responseBytes: number };

/** `detail` is appended to what the rule says: numbers, a name. */
export type Spot = { readonly at: Cursor; readonly detail: string };

/** Limen answers every message within 4 s (`cli/serve.ts`); what gives up earlier decides instead of it. */
export const REPLY_DEADLINE_MS = 4_000;

export type RuleText = {
  readonly id: string;
  /** "error": something passes unread, hangs, or every request fails. */
  readonly severity: "error" | "warning";
  /** What is written or missing. */
  readonly what: string;
  /** What happens then. */
  readonly so: string;
  readonly fix: string;
};

export type Rule<Subject> = RuleText & {
  readonly find: (subject: Subject, limits: Limits) => readonly Spot[];
};

export const spotIf = (isBroken: boolean, at: Cursor, detail = ""): readonly Spot[] =>
  isBroken ? [{ at, detail }] : [];

/** Two sizes for a detail. */
export const smaller = (bytes: number, needed: number): string =>
  ` (${bytes} bytes, the policy allows ${needed})`;
