/** Rules about ext_authz: a gate that sees requests only, and only what it is told to send. */
import { isOn, tooShort } from "./filters.ts";
import { type Rule, smaller, spotIf } from "./rule.ts";
import type { Guard } from "./scene.ts";

export const AUTHZ_RULES: readonly Rule<Guard>[] = [
  {
    id: "authz-body-missing",
    severity: "error",
    what: "with_request_body is not set",
    so: "Limen is asked without the body, and refuses every request that has one to read",
    fix: "add with_request_body, as envoy/ext-authz.yaml does",
    find: ({ body }) =>
      spotIf(!body.at("with_request_body").isWritten, body.at("with_request_body")),
  },
  {
    id: "authz-body-partial",
    severity: "error",
    what: "allow_partial_message is on",
    so: "Envoy shows Limen the beginning of a large body and sends the whole",
    fix: "set it to false",
    find: ({ body }) => {
      const request = body.at("with_request_body");
      return spotIf(isOn(request, "allow_partial_message"), request.at("allow_partial_message"));
    },
  },
  {
    id: "authz-body-text",
    severity: "warning",
    what: "pack_as_bytes is not on",
    so: "bytes that are no UTF-8 are replaced before Limen sees them: it refuses what it would have read",
    fix: "set it to true",
    find: ({ body }) => {
      const request = body.at("with_request_body");
      const isText = request.isWritten && !isOn(request, "pack_as_bytes");
      return spotIf(isText, request.at("pack_as_bytes"));
    },
  },
  {
    id: "authz-body-limit",
    severity: "error",
    what: "max_request_bytes is smaller than the bodies that the policy allows",
    so: "Envoy answers them with a 413 that no client library understands, and Limen has no record",
    fix: "raise it above the policy's spec.ingress.limits.bodyBytes",
    find: ({ body }, { requestBytes }) => {
      const limit = body.in("with_request_body", "max_request_bytes");
      const bytes = limit.number() ?? Number.POSITIVE_INFINITY;
      return spotIf(bytes < requestBytes, limit, smaller(bytes, requestBytes));
    },
  },
  {
    id: "authz-timeout-short",
    severity: "warning",
    what: "grpc_service.timeout is not longer than the 4 s in which Limen answers",
    so: "a busy moment ends in Envoy's own error instead of Limen's verdict; 200 ms is the default",
    fix: "use 5s",
    find: ({ body }) => {
      const service = body.at("grpc_service");
      return service.isWritten ? tooShort(service.at("timeout")) : [];
    },
  },
  {
    id: "authz-sampled",
    severity: "error",
    what: "filter_enabled or filter_enabled_metadata is set",
    so: "requests that it leaves out pass unread",
    fix: "leave it out; a policy decides what is not judged",
    find: ({ body }) =>
      ["filter_enabled", "filter_enabled_metadata"].flatMap((name) =>
        spotIf(body.at(name).isWritten, body.at(name)),
      ),
  },
  {
    id: "shadow-mode",
    severity: "error",
    what: "shadow_mode is on",
    so: "Envoy does not heed the verdict: everything passes",
    fix: "leave it out; for a trial without effect write flag for the actions of the policy",
    find: ({ body }) => spotIf(isOn(body, "shadow_mode"), body.at("shadow_mode")),
  },
];
