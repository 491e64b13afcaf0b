/** Rules about `processing_mode`, at the filter and in overrides of a route: what Envoy shows to Limen, and when. */
import type { Cursor } from "./cursor.ts";
import { type Rule, type Spot, spotIf } from "./rule.ts";

const BODY_MODES = [
  "NONE",
  "STREAMED",
  "BUFFERED",
  "BUFFERED_PARTIAL",
  "FULL_DUPLEX_STREAMED",
  "GRPC",
] as const;
const SEND_MODES = ["DEFAULT", "SEND", "SKIP"] as const;

export type BodyMode = (typeof BODY_MODES)[number] | "unknown";
const DIRECTIONS = ["request", "response"] as const;
type Direction = (typeof DIRECTIONS)[number];

export const bodyMode = (modes: Cursor, direction: Direction): BodyMode =>
  modes.at(`${direction}_body_mode`).word(BODY_MODES);

/** Modes in which Envoy passes a body on, or a part of it, that Limen has not seen. */
const isBlind = (mode: BodyMode): boolean => mode === "GRPC" || mode === "BUFFERED_PARTIAL";

const sendMode = (modes: Cursor, field: string) => modes.at(field).word(SEND_MODES);

/** A `processing_mode` and whose it is. */
export type ModeUse = { readonly modes: Cursor; readonly of: "filter" | "route" };

/** The field `${direction}${suffix}` wherever `isBroken` says so of a direction. */
const where = (
  { modes }: ModeUse,
  suffix: string,
  isBroken: (direction: Direction) => boolean,
): readonly Spot[] =>
  DIRECTIONS.flatMap((direction) => spotIf(isBroken(direction), modes.at(direction + suffix)));

export const MODE_RULES: readonly Rule<ModeUse>[] = [
  {
    id: "body-mode-blind",
    severity: "error",
    what: "the body mode is GRPC or BUFFERED_PARTIAL",
    so: "Envoy passes on what it has not shown; Limen refuses that (body_not_shown), unless a policy lets it pass unread",
    fix: "use BUFFERED, or FULL_DUPLEX_STREAMED for responses",
    find: (use) => where(use, "_body_mode", (d) => isBlind(bodyMode(use.modes, d))),
  },
  {
    id: "body-mode-none",
    severity: "error",
    what: "the body mode of one direction is NONE, or is not written",
    so: "Limen refuses the exchange (body_not_shown), unless a policy lets it pass unread; a route for headers only says NONE for both",
    fix: "write the body mode of both directions",
    find: (use) => {
      const isNone = (d: Direction): boolean => bodyMode(use.modes, d) === "NONE";
      // Headers only, for one route, is a choice; for a filter it is a filter that does nothing.
      if (use.of === "route" && DIRECTIONS.every(isNone)) return [];
      return where(use, "_body_mode", isNone);
    },
  },
  {
    id: "body-mode-streamed",
    severity: "error",
    what: "the body mode is STREAMED where Limen has not asked for it",
    so: "the provider sees headers before the verdict on the request; a Limen that stops hangs the client, whatever message_timeout says",
    fix: "use BUFFERED; for responses with allowed_override_modes, or FULL_DUPLEX_STREAMED",
    find: (use) =>
      where(
        use,
        "_body_mode",
        (d) => bodyMode(use.modes, d) === "STREAMED" && (d === "request" || use.of === "filter"),
      ),
  },
  {
    id: "header-mode-skip",
    severity: "error",
    what: "headers are not sent to Limen",
    so: "without them it can neither choose the API and the policy nor refuse with a status",
    fix: "use SEND",
    find: (use) =>
      where(use, "_header_mode", (d) => sendMode(use.modes, `${d}_header_mode`) === "SKIP"),
  },
  {
    id: "duplex-trailers",
    severity: "error",
    what: "the body mode is FULL_DUPLEX_STREAMED, and trailers are not sent",
    so: "a body that ends with trailers never ends for Limen, and the exchange hangs; Envoy checks it at the filter, not in routes",
    fix: "add the trailer mode SEND for the direction",
    find: (use) =>
      where(
        use,
        "_trailer_mode",
        (d) =>
          bodyMode(use.modes, d) === "FULL_DUPLEX_STREAMED" &&
          sendMode(use.modes, `${d}_trailer_mode`) !== "SEND",
      ),
  },
  {
    id: "request-trailers-hidden",
    severity: "error",
    what: "requests are BUFFERED, and their trailers are not sent",
    so: "an HTTP/2 client that sends trailers behind no body reaches the provider before Limen has decided",
    fix: "add request_trailer_mode: SEND",
    find: (use) =>
      where(
        use,
        "_trailer_mode",
        (d) =>
          d === "request" &&
          bodyMode(use.modes, d) === "BUFFERED" &&
          sendMode(use.modes, "request_trailer_mode") !== "SEND",
      ),
  },
  {
    id: "response-trailers-hidden",
    severity: "warning",
    what: "responses are BUFFERED, and their trailers are not sent",
    so: "a stream that ends by trailers, without its last event, ends for the client without what Limen held of it",
    fix: "add response_trailer_mode: SEND, here and in allowed_override_modes",
    find: (use) =>
      where(
        use,
        "_trailer_mode",
        (d) =>
          d === "response" &&
          bodyMode(use.modes, d) === "BUFFERED" &&
          sendMode(use.modes, "response_trailer_mode") !== "SEND",
      ),
  },
];

const SPELLED = ["response_header_mode", "request_trailer_mode", "response_trailer_mode"] as const;

/** Rules about the configuration of ext_proc that says which other modes Limen may ask for. */
export const OVERRIDE_MODE_RULES: readonly Rule<{ readonly body: Cursor }>[] = [
  {
    id: "override-modes-open",
    severity: "error",
    what: "allow_mode_override is on without allowed_override_modes",
    so: "any mode can be asked for, one without inspection too",
    fix: "list the modes that Limen needs, as envoy/envoy.yaml does",
    find: ({ body }) =>
      spotIf(mayOverride(body) && allowed(body).length === 0, body.at("allow_mode_override")),
  },
  {
    id: "override-mode-blind",
    severity: "error",
    what: "a mode of allowed_override_modes leaves a body out",
    so: "an override to it switches inspection off; a body mode that is not written is NONE",
    fix: "write BUFFERED or STREAMED for both bodies, or leave the entry out",
    find: ({ body }) =>
      allowed(body).flatMap((modes) =>
        where({ modes, of: "filter" }, "_body_mode", (d) => {
          const mode = bodyMode(modes, d);
          return mode === "NONE" || isBlind(mode);
        }),
      ),
  },
  {
    id: "override-mode-unset",
    severity: "warning",
    what: "a mode of allowed_override_modes does not say SEND or SKIP for headers and trailers",
    so: "Envoy compares whole modes, so the entry matches none that Limen asks for: event streams arrive late, in one piece",
    fix: "write all six fields",
    find: ({ body }) =>
      allowed(body).flatMap((modes) =>
        SPELLED.flatMap((field) => spotIf(sendMode(modes, field) === "DEFAULT", modes.at(field))),
      ),
  },
  {
    id: "override-mode-missing",
    severity: "warning",
    what: "responses are BUFFERED, and Limen may not turn them to STREAMED",
    so: "event streams arrive late, in one piece, and none larger than Envoy's buffer",
    fix: "set allow_mode_override, and allow the mode with response_body_mode STREAMED, as envoy/envoy.yaml does",
    find: ({ body }) => {
      const modes = body.at("processing_mode");
      const isStreamable = allowed(body).some(
        (entry) =>
          bodyMode(entry, "response") === "STREAMED" &&
          bodyMode(entry, "request") === bodyMode(modes, "request"),
      );
      const isOpen = mayOverride(body) && (isStreamable || allowed(body).length === 0);
      const at = body.at(mayOverride(body) ? "allowed_override_modes" : "allow_mode_override");
      return spotIf(bodyMode(modes, "response") === "BUFFERED" && !isOpen, at);
    },
  },
  {
    id: "override-ignored",
    severity: "warning",
    what: "allow_mode_override is on where Envoy does not heed it",
    so: "overrides are ignored while the filter says FULL_DUPLEX_STREAMED or does not wait for the headers' answer",
    fix: "leave allow_mode_override and allowed_override_modes out, or use BUFFERED and wait for answers",
    find: ({ body }) => {
      const isDuplex = DIRECTIONS.some(
        (d) => bodyMode(body.at("processing_mode"), d) === "FULL_DUPLEX_STREAMED",
      );
      const isEarly = body.at("send_body_without_waiting_for_header_response").boolean() === true;
      return spotIf(mayOverride(body) && (isDuplex || isEarly), body.at("allow_mode_override"));
    },
  },
];

const mayOverride = (body: Cursor): boolean => body.at("allow_mode_override").boolean() === true;
const allowed = (body: Cursor): readonly Cursor[] => body.at("allowed_override_modes").items();
