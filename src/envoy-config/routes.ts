/** Rules about routes behind a filter of Limen: where the filter is off or changed, and limits of their own. */

import { quote } from "../policy/yaml.ts";
import { neededBytes, upgrades } from "./connection-manager.ts";
import type { Cursor } from "./cursor.ts";
import { isOn } from "./filters.ts";
import { bodyMode } from "./modes.ts";
import { type Limits, type Rule, smaller, spotIf } from "./rule.ts";
import { type Guard, type Level, type Manager, type Message, unwrap } from "./scene.ts";

/** A level of the routes of one manager, and what is the same for all of them: there can be many. */
export type Way = {
  readonly level: Level;
  readonly seen: Manager["seen"];
  readonly neededBytes: number;
  readonly isDuplex: boolean;
  readonly gate: Guard | undefined;
};

export function waysOf(manager: Manager, limits: Limits): readonly Way[] {
  const { seen, guards, levels } = manager;
  const isDuplex = guards.some(
    ({ body }) => bodyMode(body.at("processing_mode"), "request") === "FULL_DUPLEX_STREAMED",
  );
  const gate = guards.find(({ kind }) => kind === "ext_authz");
  const all = { seen, neededBytes: neededBytes(manager, limits), isDuplex, gate };
  return levels.map((level) => ({ level, ...all }));
}

/** What the levels of a manager say under the names of Limen's filters. */
export function overridesOf({ guards, levels }: Manager): readonly Override[] {
  const byName = new Map(guards.map((guard) => [guard.name, guard]));
  return levels.flatMap((level) => {
    const configs = level.at.at("typed_per_filter_config");
    return configs.keys().flatMap((name): readonly Override[] => {
      const guard = byName.get(name);
      return guard === undefined ? [] : [{ guard, level, ...unwrap(configs.at(name)) }];
    });
  });
}

/** The names of clusters to which the routes of managers lead. */
export const targetsOf = ({ levels }: Manager): readonly Cursor[] =>
  levels.map(({ kind, at }) => (kind === "share" ? at.at("name") : at.in("route", "cluster")));

/** The name of a route in a message. */
function nameOf({ kind, at }: Level): string {
  const name = at.at("name").text();
  return name === undefined ? "" : ` (${kind} ${quote(name)})`;
}

/** What a level says about a filter of Limen under the filter's name. */
export type Override = { readonly guard: Guard; readonly level: Level } & Message;

export const OVERRIDE_RULES: readonly Rule<Override>[] = [
  {
    id: "route-disabled",
    severity: "warning",
    what: "Limen's filter is off",
    so: "all that takes this way passes unread, and no record says so",
    fix: "make sure that it leads to no model, or leave disabled out",
    find: ({ body, level }) => spotIf(isOn(body, "disabled"), body.at("disabled"), nameOf(level)),
  },
  {
    id: "route-failure-mode-allow",
    severity: "error",
    what: "failure_mode_allow is on",
    so: "every fault of Limen lets the exchange pass unread",
    fix: "leave it out",
    find: ({ body, level }) => {
      const allow = body.in("overrides", "failure_mode_allow");
      return spotIf(allow.boolean() === true, allow, nameOf(level));
    },
  },
  {
    id: "route-body-off",
    severity: "error",
    what: "bodies are not sent to ext_authz",
    so: "Limen is asked without the body, and refuses every request that has one to read",
    fix: "leave disable_request_body_buffering out",
    find: ({ body, level }) => {
      const off = body.in("check_settings", "disable_request_body_buffering");
      return spotIf(off.boolean() === true, off, nameOf(level));
    },
  },
];

export const WAY_RULES: readonly Rule<Way>[] = [
  {
    id: "route-upgrades",
    severity: "error",
    what: "upgrades are allowed",
    so: "an upgraded connection has no bodies to read; nothing but Limen's refusal of its headers keeps the tunnel shut",
    fix: "leave upgrade_configs out",
    find: ({ level }) => upgrades(level.at.at("route")),
  },
  {
    id: "route-idle-timeout",
    severity: "error",
    what: "idle_timeout is 0",
    so: "it switches the manager's stream_idle_timeout off: a stopped exchange never ends",
    fix: "use 120s",
    find: ({ level }) => {
      const timeout = level.at.in("route", "idle_timeout");
      return spotIf(timeout.milliseconds() === 0, timeout, nameOf(level));
    },
  },
  {
    id: "route-timeout",
    severity: "warning",
    what: "timeout is not set",
    so: "answers that take longer than 15 s, the default, are cut off",
    fix: "add timeout: 0s, and an idle_timeout",
    find: ({ level, seen }) => {
      const action = level.at.at("route");
      const isBare = action.isWritten && !action.at("timeout").isWritten;
      return spotIf(seen === "whole" && isBare, action.at("timeout"), nameOf(level));
    },
  },
  {
    id: "route-retries",
    severity: "warning",
    what: "the router retries requests that Limen reads in full duplex",
    so: "Envoy is reported to send such a body twice",
    fix: "leave retry_policy out, or read requests BUFFERED",
    find: ({ level, isDuplex }) => {
      const retries = [level.at.at("retry_policy"), level.at.in("route", "retry_policy")];
      return retries.flatMap((at) => spotIf(isDuplex && at.isWritten, at, nameOf(level)));
    },
  },
  {
    id: "route-buffer",
    severity: "error",
    what: "request_body_buffer_limit is smaller than the bodies that the policy allows",
    so: "Envoy answers them itself (413, or 500 for an answer), in a form that no client library understands",
    fix: "raise it well above the policy's limits.bodyBytes, or leave it out",
    find: ({ level, neededBytes: needed }) => {
      const limit = level.at.at("request_body_buffer_limit");
      const bytes = limit.number() ?? Number.POSITIVE_INFINITY;
      return spotIf(bytes < needed, limit, smaller(bytes, needed));
    },
  },
  {
    id: "route-context",
    severity: "warning",
    what: "ext_authz is not told the name of the route",
    so: "policies that select by route do not apply",
    fix: "add context_extensions: { route: NAME } under the filter's name in typed_per_filter_config",
    find: ({ level, seen, gate }) => {
      const isRoute = level.kind === "route" && level.at.at("route").isWritten;
      if (!isRoute || seen === "patches" || gate === undefined) return [];
      const configs = level.at.at("typed_per_filter_config");
      const isTold = [level, ...level.parents].some(({ at }) => {
        const { body } = unwrap(at.in("typed_per_filter_config", gate.name));
        const context = body.in("check_settings", "context_extensions", "route");
        return context.isWritten || body.at("disabled").isWritten;
      });
      return spotIf(!isTold, configs, nameOf(level));
    },
  },
];
