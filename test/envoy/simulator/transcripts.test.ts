/**
 * The server as Envoy sees it, over a real connection: orders, ends and odd messages, one conversation each. The
 * facts behind them are Envoy's (its ext_proc filter, 1.36 to 1.40).
 */
import { gzipSync } from "node:zlib";
import { status as Code } from "@grpc/grpc-js";
import { type Boundary, startBoundary } from "./boundary.ts";
import { ERROR, grpcFrame } from "./frames.ts";
import {
  bodyMessage,
  clientWindowUpdate,
  flowControlInit,
  headersMessage,
  observed,
  protocolConfig,
  trailersMessage,
  unknownFields,
} from "./messages.ts";
import {
  ANSWER_JSON,
  ANSWER_WITH_CANARY,
  ANSWER_WITH_EMAIL,
  answerHead,
  BUFFERED,
  CHAT_HEADERS,
  chatHead,
  INJECTION_JSON,
  localReply,
  modelsHead,
  PROMPT_JSON,
  prompt,
  promptOf,
  SSE_EVENTS,
} from "./phrases.ts";
import {
  ends,
  gets,
  halfClose,
  halfCloseAndReset,
  isReset,
  play,
  reset,
  type Step,
  send,
  sendBytes,
  sendCut,
  type Transcript,
} from "./transcript.ts";

const LIMIT_BYTES = 1 << 20;
/** As Limen answers a request that may go on. */
const asked: readonly Step[] = [
  send(chatHead()),
  gets("request_headers"),
  send(prompt),
  gets("request_body"),
];
const answered: readonly Step[] = [
  send(answerHead()),
  gets("response_headers"),
  send(bodyMessage("response", ANSWER_JSON, true)),
  gets("response_body"),
];
const done: readonly Step[] = [halfClose, ends(Code.OK)];
const ALLOWED = ["allowed", "allowed"] as const;
const ABORTED = ["failed_closed", "failed_closed"] as const;

const scenarios: Readonly<Record<string, Transcript>> = {
  "answers a whole exchange, and ends OK behind Envoy's half-close": {
    steps: [...asked, ...answered, ...done],
    records: ALLOWED,
  },
  "takes END_STREAM and RST_STREAM in one segment for a normal end": {
    steps: [...asked, ...answered, halfCloseAndReset],
    records: ALLOWED,
  },
  "takes END_STREAM and RST_STREAM before its last reply is read for an end": {
    steps: [
      ...asked,
      send(answerHead()),
      gets("response_headers"),
      send(bodyMessage("response", ANSWER_JSON, true)),
      halfCloseAndReset,
    ],
    records: ALLOWED,
  },
  "says that it redacted, and how long the body is now": {
    steps: [
      ...asked,
      send(answerHead()),
      gets("response_headers"),
      send(bodyMessage("response", ANSWER_WITH_EMAIL, true)),
      gets("response_body", {
        response: {
          header_mutation: { set_headers: [{ header: { key: "content-length" } }] },
        },
      }),
      ...done,
    ],
    records: ["allowed", "mutated"],
  },
  "refuses a prompt with one message and leaves the end to Envoy": {
    steps: [
      send(chatHead()),
      gets("request_headers"),
      send(bodyMessage("request", INJECTION_JSON, true)),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: ["denied", "denied"],
  },
  "writes nothing behind a refusal, whatever still comes": {
    steps: [
      send(
        headersMessage("request", { ...CHAT_HEADERS, upgrade: "websocket" }, { modes: BUFFERED }),
      ),
      gets("immediate_response", { status: { code: 403 } }),
      send(prompt, trailersMessage("request"), localReply("403", "ext_proc")),
      ...done,
    ],
    records: ["failed_closed", "failed_closed"],
  },
  "refuses an answer by its headers": {
    steps: [
      ...asked,
      send(answerHead("text/html")),
      gets("immediate_response", { status: { code: 415 } }),
      ...done,
    ],
    records: ["allowed", "failed_closed"],
  },
  "refuses a whole answer by its body": {
    steps: [
      ...asked,
      send(answerHead()),
      gets("response_headers"),
      send(bodyMessage("response", ANSWER_WITH_CANARY, true)),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: ["allowed", "denied"],
  },
  "judges a stream whole where Envoy ignores that it asked for pieces": {
    steps: [
      ...asked,
      send(answerHead("text/event-stream")),
      gets("response_headers"),
      send(bodyMessage("response", SSE_EVENTS.join(""), true)),
      gets("response_body"),
      ...done,
    ],
    records: ALLOWED,
  },

  "records an exchange that is half-closed after its headers": {
    steps: [send(chatHead()), gets("request_headers"), ...done],
    records: ABORTED,
  },
  "records nothing of a stream that ends before its first message": {
    steps: [halfClose, ends(Code.OK)],
    records: [],
  },
  "records nothing of a stream that is reset before its first message": {
    steps: [reset()],
    records: [],
  },
  "records an exchange that is reset after its headers": {
    steps: [send(chatHead()), gets("request_headers"), reset()],
    records: ABORTED,
  },
  "records an exchange that is reset while its prompt is judged": {
    steps: [send(chatHead()), gets("request_headers"), send(prompt), reset()],
    records: ALLOWED,
  },
  "records an exchange that is reset after its request": {
    steps: [...asked, reset()],
    records: ALLOWED,
  },
  "records an exchange that is reset after its response headers": {
    steps: [...asked, send(answerHead()), gets("response_headers"), reset()],
    records: ALLOWED,
  },
  "records a stream that is reset in the middle of its events": {
    steps: [
      ...asked,
      send(answerHead("text/event-stream")),
      gets("response_headers", {}),
      send(bodyMessage("response", SSE_EVENTS[0] ?? "")),
      gets("response_body"),
      reset(),
    ],
    records: ALLOWED,
  },

  "answers the headers of Envoy's own 413 before the prompt that it belongs to": {
    steps: [
      send(chatHead(), localReply("413", "request_payload_too_large")),
      gets("request_headers"),
      gets("response_headers"),
      send(bodyMessage("response", "Payload Too Large", true)),
      gets("response_body"),
      send(prompt),
      gets("request_body"),
      ...done,
    ],
    records: ["local_reply", "local_reply"],
  },
  "answers a stream that begins with a response of Envoy's own": {
    steps: [
      send(localReply("403", "ext_authz_denied", { modes: BUFFERED })),
      gets("response_headers"),
      send(bodyMessage("response", "denied", true)),
      gets("response_body"),
      ...done,
    ],
    records: ["local_reply", "local_reply"],
  },
  "gives a second end of the request no reply": {
    steps: [...asked, send(bodyMessage("request", "", true)), ...answered, ...done],
    records: ALLOWED,
  },
  "gives a second end of the response no reply": {
    steps: [...asked, ...answered, send(bodyMessage("response", "", true)), ...done],
    records: ALLOWED,
  },
  "answers every chunk of a stream, empty ones too": {
    steps: [
      ...asked,
      send(answerHead("text/event-stream")),
      gets("response_headers", {
        response: { header_mutation: { remove_headers: ["content-length"] } },
      }),
      ...SSE_EVENTS.flatMap((event) => [
        send(bodyMessage("response", event)),
        gets("response_body"),
        send(bodyMessage("response", "")),
        gets("response_body"),
      ]),
      send(bodyMessage("response", "", true)),
      gets("response_body"),
      ...done,
    ],
    records: ALLOWED,
  },
  "answers chunks that come without waiting, in their order": {
    steps: [
      ...asked,
      send(
        answerHead("text/event-stream"),
        ...SSE_EVENTS.map((event) => bodyMessage("response", event)),
        bodyMessage("response", "", true),
      ),
      gets("response_headers"),
      ...Array(SSE_EVENTS.length + 1).fill(gets("response_body")),
      ...done,
    ],
    records: ALLOWED,
  },
  "takes a whole body without end of stream, and the trailers behind it, in both directions": {
    steps: [
      send(chatHead()),
      gets("request_headers"),
      send(bodyMessage("request", PROMPT_JSON)),
      gets("request_body"),
      send(trailersMessage("request", { "x-sum": "1" })),
      gets("request_trailers"),
      send(answerHead()),
      gets("response_headers"),
      send(bodyMessage("response", ANSWER_JSON)),
      gets("response_body"),
      send(trailersMessage("response", { "x-sum": "2" })),
      gets("response_trailers"),
      ...done,
    ],
    records: ALLOWED,
  },
  "answers an exchange without a prompt": {
    steps: [
      send(modelsHead),
      gets("request_headers"),
      send(answerHead("application/json", { endOfStream: true })),
      gets("response_headers"),
      ...done,
    ],
    records: ["not_inference", "not_inference"],
  },

  "gives messages of flow control no reply": {
    steps: [
      send(Buffer.concat([chatHead(), flowControlInit]), clientWindowUpdate),
      gets("request_headers"),
      send(clientWindowUpdate, Buffer.alloc(0), prompt, clientWindowUpdate),
      gets("request_body"),
      ...answered,
      ...done,
    ],
    records: ALLOWED,
  },
  "gives no reply in observability mode, and records that nobody asked": {
    steps: [send(observed(chatHead({})), observed(prompt)), ...done],
    records: ["bypassed", "bypassed"],
  },
  "reads over fields that it does not know": {
    steps: [
      send(Buffer.concat([unknownFields, chatHead()])),
      gets("request_headers"),
      send(Buffer.concat([prompt, unknownFields])),
      gets("request_body"),
      send(unknownFields),
      ...answered,
      ...done,
    ],
    records: ALLOWED,
  },
  "reads a message in frames of single bytes": {
    steps: [
      sendCut(chatHead(), 1),
      gets("request_headers"),
      sendCut(prompt, 1),
      gets("request_body"),
      ...answered,
      ...done,
    ],
    records: ALLOWED,
  },
  "reads padded frames": {
    steps: [
      sendCut(chatHead(), 50, 0),
      gets("request_headers"),
      sendCut(prompt, 7, 255),
      gets("request_body"),
      ...answered,
      ...done,
    ],
    records: ALLOWED,
  },
  "reads messages that share a frame": {
    steps: [
      send(chatHead(), prompt),
      gets("request_headers"),
      gets("request_body"),
      send(answerHead(), bodyMessage("response", ANSWER_JSON, true)),
      gets("response_headers"),
      gets("response_body"),
      ...done,
    ],
    records: ALLOWED,
  },

  "fails a stream whose body comes before its headers": {
    steps: [send(Buffer.concat([prompt, protocolConfig(BUFFERED)])), ends(Code.INVALID_ARGUMENT)],
    records: [],
  },
  "fails a stream that does not say how it shows bodies": {
    steps: [send(chatHead({})), ends(Code.FAILED_PRECONDITION)],
    records: [],
  },
  "fails a stream whose response body comes before its headers": {
    steps: [
      ...asked,
      send(bodyMessage("response", ANSWER_JSON, true)),
      ends(Code.INVALID_ARGUMENT),
    ],
    records: ALLOWED,
  },
  "refuses what a model answers before the prompt was decided": {
    steps: [
      send(chatHead(), answerHead()),
      gets("request_headers"),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: ["failed_closed", "failed_closed"],
  },
  "fails a stream that begins with the model's answer": {
    steps: [send(answerHead("application/json", { modes: BUFFERED })), ends(Code.INTERNAL)],
    records: [],
  },
  "fails a stream with two request headers": {
    steps: [send(chatHead(), chatHead()), gets("request_headers"), ends(Code.INVALID_ARGUMENT)],
    records: ABORTED,
  },
  "fails a stream with two response headers": {
    steps: [
      ...asked,
      send(answerHead(), answerHead()),
      gets("response_headers"),
      ends(Code.INVALID_ARGUMENT),
    ],
    records: ALLOWED,
  },
  "fails a message that is no protobuf": {
    steps: [send(Buffer.from([0xff, 0xff, 0xff])), ends(Code.INVALID_ARGUMENT)],
    records: [],
  },
  "fails a message that is no protobuf behind one that waits for its reply": {
    steps: [
      send(chatHead(), Buffer.from([0xff, 0xff, 0xff])),
      gets("request_headers"),
      ends(Code.INVALID_ARGUMENT),
    ],
    records: ABORTED,
  },
  "fails a message in a compression that nobody announced": {
    steps: [sendBytes(grpcFrame(gzipSync(chatHead()), 1)), ends(Code.INVALID_ARGUMENT)],
    records: [],
  },
  "judges nothing of a message that ends in the middle": {
    steps: [sendBytes(grpcFrame(chatHead()).subarray(0, 20)), ...done],
    records: [],
  },
  "takes a message of the largest size": {
    steps: [
      send(chatHead()),
      gets("request_headers"),
      send(promptOf(LIMIT_BYTES)),
      gets("request_body"),
      ...answered,
      ...done,
    ],
    records: ALLOWED,
  },
  "fails a message one byte above the largest size": {
    steps: [
      send(chatHead()),
      gets("request_headers"),
      send(promptOf(LIMIT_BYTES + 1)),
      ends(Code.RESOURCE_EXHAUSTED),
    ],
    records: ABORTED,
  },
  "refuses an authority with a bar by a reset": {
    steps: [isReset(ERROR.PROTOCOL_ERROR)],
    records: [],
    options: { authority: "outbound|9002||limen.example" },
  },
  "answers for a service that it does not have": {
    steps: [halfClose, ends(Code.UNIMPLEMENTED)],
    records: [],
    options: { path: "/envoy.service.ext_proc.v3.ExternalProcessor/Other" },
  },
};

describe("the server, spoken to as Envoy does, ", () => {
  let boundary: Boundary;
  beforeEach(async () => {
    boundary = await startBoundary({ maxMessageBytes: LIMIT_BYTES });
  });
  afterEach(async () => {
    await boundary.close();
  });

  for (const [promise, transcript] of Object.entries(scenarios)) {
    it(promise, async () => play(boundary, await boundary.connect(), transcript));
  }
});
