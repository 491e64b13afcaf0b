/**
 * Rules about Limen as an `extensionProvider` of Istio, for an AuthorizationPolicy with action CUSTOM: ext_authz in
 * other words, from which istiod makes the filter. It sets the authority by itself.
 */

import type { Cursor } from "./cursor.ts";
import { type Rule, smaller, spotIf } from "./rule.ts";

const GRPC = "envoyExtAuthzGrpc";
const BODY = "includeRequestBodyInCheck";

export const PROVIDER_RULES: readonly Rule<Cursor>[] = [
  {
    id: "provider-http",
    severity: "error",
    what: "the provider is called over HTTP",
    so: "Limen speaks gRPC: every request fails",
    fix: "use envoyExtAuthzGrpc",
    find: (provider) => {
      const http = provider.at("envoyExtAuthzHttp");
      return spotIf(http.isWritten, http);
    },
  },
  {
    id: "provider-fail-open",
    severity: "error",
    what: "failOpen is on",
    so: "every fault of Limen lets the request pass unread",
    fix: "set it to false",
    find: (provider) => {
      const open = provider.in(GRPC, "failOpen");
      return spotIf(open.boolean() === true, open);
    },
  },
  {
    id: "provider-timeout",
    severity: "error",
    what: "timeout is not set",
    so: "Istio waits for 600 s: a Limen that stops hangs its clients",
    fix: "use 5s",
    find: (provider) => {
      const call = provider.at(GRPC);
      return spotIf(call.isWritten && !call.at("timeout").isWritten, call.at("timeout"));
    },
  },
  {
    id: "provider-status",
    severity: "warning",
    what: "statusOnError is not set",
    so: "a Limen that cannot be reached looks like a refusal (403)",
    fix: 'add statusOnError: "503"',
    find: (provider) => {
      const call = provider.at(GRPC);
      return spotIf(
        call.isWritten && !call.at("statusOnError").isWritten,
        call.at("statusOnError"),
      );
    },
  },
  {
    id: "provider-body-missing",
    severity: "error",
    what: "includeRequestBodyInCheck is not set",
    so: "Limen is asked without the body, and refuses every request that has one to read",
    fix: "add it, as istio/mesh-config.yaml does",
    find: (provider) => {
      const call = provider.at(GRPC);
      return spotIf(call.isWritten && !call.at(BODY).isWritten, call.at(BODY));
    },
  },
  {
    id: "provider-body-partial",
    severity: "error",
    what: "allowPartialMessage is on",
    so: "Envoy shows Limen the beginning of a large body and sends the whole",
    fix: "set it to false",
    find: (provider) => {
      const partial = provider.in(GRPC, BODY, "allowPartialMessage");
      return spotIf(partial.boolean() === true, partial);
    },
  },
  {
    id: "provider-body-text",
    severity: "warning",
    what: "packAsBytes is not on",
    so: "bytes that are no UTF-8 are replaced before Limen sees them: it refuses what it would have read",
    fix: "set it to true",
    find: (provider) => {
      const body = provider.in(GRPC, BODY);
      const bytes = body.at("packAsBytes");
      return spotIf(body.isWritten && bytes.boolean() !== true, bytes);
    },
  },
  {
    id: "provider-body-limit",
    severity: "error",
    what: "maxRequestBytes is smaller than the bodies that the policy allows",
    so: "Envoy answers them with a 413 that no client library understands, and Limen has no record",
    fix: "raise it to the policy's spec.ingress.limits.bodyBytes at least",
    find: (provider, { requestBytes }) => {
      const limit = provider.in(GRPC, BODY, "maxRequestBytes");
      const bytes = limit.number() ?? Number.POSITIVE_INFINITY;
      return spotIf(bytes < requestBytes, limit, smaller(bytes, requestBytes));
    },
  },
];
