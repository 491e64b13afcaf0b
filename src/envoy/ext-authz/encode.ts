/**
 * Replies of the gate in the words of ext_authz. The only place that writes its messages: every one has a status,
 * because an unset one is an allow; header values go into `value`, because Envoy reads no other here.
 */
import { status as Code } from "@grpc/grpc-js";
import type { GateReply } from "../../exchange/gate.ts";
import { said } from "../../exchange/said.ts";

type HeaderOption = {
  readonly header: { readonly key: string; readonly value: string };
  readonly append: { readonly value: false };
  readonly append_action: "OVERWRITE_IF_EXISTS_OR_ADD";
};
type Value =
  | { readonly stringValue: string }
  | { readonly structValue: { readonly fields: Readonly<Record<string, Value>> } };
type Metadata = { readonly fields: { readonly limen: Value } };

/** A reply on the wire. No member of this union can be empty. */
export type CheckResponse = { readonly dynamic_metadata: Metadata } & (
  | {
      readonly status: { readonly code: Code.OK };
      readonly ok_response: {
        readonly headers_to_remove: readonly string[];
        readonly response_headers_to_add: readonly HeaderOption[];
      };
    }
  | {
      readonly status: { readonly code: Code.PERMISSION_DENIED };
      readonly denied_response: {
        readonly status: { readonly code: number };
        readonly headers: readonly HeaderOption[];
        readonly body: string;
      };
    }
);

export function encodeReply(reply: GateReply): CheckResponse {
  const { id } = reply;
  const dynamic_metadata = encodeMetadata(reply);
  switch (reply.kind) {
    case "pass":
      return {
        status: { code: Code.OK },
        ok_response: {
          headers_to_remove: reply.removeHeaders,
          response_headers_to_add: said("allow", id).map(([key, value]) => header(key, value)),
        },
        dynamic_metadata,
      };
    case "refuse": {
      const { status, headers, body } = reply.reply;
      return {
        status: { code: Code.PERMISSION_DENIED },
        denied_response: {
          status: { code: status },
          headers: headers.map(([key, value]) => header(key, value)),
          body,
        },
        dynamic_metadata,
      };
    }
  }
}

const header = (key: string, value: string): HeaderOption => ({
  header: { key, value },
  append: { value: false },
  append_action: "OVERWRITE_IF_EXISTS_OR_ADD",
});

/** Under a key of our own: Envoy files it under the filter's canonical name, where others write as well. */
function encodeMetadata(reply: GateReply): Metadata {
  const decision = reply.kind === "pass" ? "allow" : reply.decision;
  const fields = {
    decision: { stringValue: decision },
    id: { stringValue: reply.id },
    ...(reply.reason === undefined ? {} : { reason: { stringValue: reply.reason } }),
  };
  return { fields: { limen: { structValue: { fields } } } };
}
