/**
 * Envoy's body send modes over a real connection: which reply each message gets, when the headers leave, and what
 * happens to an exchange whose mode shows less than has to be read.
 */
import { status as Code } from "@grpc/grpc-js";
import { type Boundary, startBoundary } from "./boundary.ts";
import { bodyMessage, headersMessage, type Modes, trailersMessage } from "./messages.ts";
import {
  ANSWER_JSON,
  ANSWER_WITH_CANARY,
  answerHead,
  chatHead,
  INJECTION_JSON,
  MODELS_HEADERS,
  PROMPT_JSON,
  prompt,
  SSE_EVENTS,
  SSE_WITH_CANARY,
} from "./phrases.ts";
import { ends, gets, halfClose, play, type Step, send, type Transcript } from "./transcript.ts";

const DUPLEX: Modes = { request: "BUFFERED", response: "FULL_DUPLEX_STREAMED" };
const BOTH_DUPLEX: Modes = { request: "FULL_DUPLEX_STREAMED", response: "FULL_DUPLEX_STREAMED" };
const STREAMED: Modes = { request: "STREAMED", response: "STREAMED" };

const done: readonly Step[] = [halfClose, ends(Code.OK)];
const ALLOWED = ["allowed", "allowed"] as const;
const DENIED = ["allowed", "denied"] as const;
const SSE = "text/event-stream";

const asked = (modes: Modes): readonly Step[] => [
  send(chatHead({ modes })),
  gets("request_headers"),
  send(prompt),
  gets("request_body"),
];
const [head = "", tail = ""] = [PROMPT_JSON.slice(0, 20), PROMPT_JSON.slice(20)];
/** A reply in full duplex. */
const piece = (body: string | undefined, end_of_stream = false): Step =>
  gets("response_body", {
    response: {
      body_mutation: {
        streamed_response: {
          ...(body !== undefined && { body }),
          ...(end_of_stream && { end_of_stream }),
        },
      },
    },
  });

const scenarios: Readonly<Record<string, Transcript>> = {
  "full duplex: holds the headers of a whole answer until it is judged": {
    steps: [
      ...asked(DUPLEX),
      send(answerHead(), bodyMessage("response", ANSWER_JSON.slice(0, 30))),
      send(bodyMessage("response", ANSWER_JSON.slice(30)), bodyMessage("response", "", true)),
      gets("response_headers"),
      piece(ANSWER_JSON, true),
      ...done,
    ],
    records: ALLOWED,
  },
  "full duplex: refuses a whole answer with a status": {
    steps: [
      ...asked(DUPLEX),
      send(answerHead(), bodyMessage("response", ANSWER_WITH_CANARY, true)),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: DENIED,
  },
  "full duplex: refuses a stream with a status while nothing of it has left": {
    steps: [
      ...asked(DUPLEX),
      send(answerHead(SSE), ...SSE_WITH_CANARY.map((event) => bodyMessage("response", event))),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: DENIED,
  },
  "full duplex: ends a stream early by the API's own error, and says nothing of what follows": {
    steps: [
      ...asked(DUPLEX),
      send(
        answerHead(SSE),
        ...SSE_EVENTS.slice(0, 3).map((event) => bodyMessage("response", event)),
      ),
      gets("response_headers"),
      piece(SSE_EVENTS.slice(0, 3).join("")),
      send(...SSE_WITH_CANARY.slice(1, 3).map((event) => bodyMessage("response", event))),
      piece(undefined, true),
      send(bodyMessage("response", SSE_EVENTS[1] ?? ""), bodyMessage("response", "", true)),
      ...done,
    ],
    records: DENIED,
  },
  "full duplex: marks no piece as the last one when trailers follow": {
    steps: [
      ...asked(DUPLEX),
      send(answerHead(), bodyMessage("response", ANSWER_JSON), trailersMessage("response")),
      gets("response_headers"),
      piece(ANSWER_JSON),
      gets("response_trailers"),
      ...done,
    ],
    records: ALLOWED,
  },
  "full duplex: sends the request on when all of it has been judged": {
    steps: [
      send(chatHead({ modes: BOTH_DUPLEX }), bodyMessage("request", head)),
      send(bodyMessage("request", tail), bodyMessage("request", "", true)),
      gets("request_headers"),
      gets("request_body", {
        response: {
          body_mutation: { streamed_response: { body: PROMPT_JSON, end_of_stream: true } },
        },
      }),
      ...done,
    ],
    records: ALLOWED,
  },
  "full duplex: gives a second end of the request no reply": {
    steps: [
      send(chatHead({ modes: BOTH_DUPLEX }), prompt, bodyMessage("request", "", true)),
      gets("request_headers"),
      gets("request_body"),
      send(answerHead("application/json", { endOfStream: true })),
      gets("response_headers"),
      ...done,
    ],
    records: ALLOWED,
  },
  "full duplex: refuses a prompt with a status": {
    steps: [
      send(chatHead({ modes: BOTH_DUPLEX }), bodyMessage("request", INJECTION_JSON, true)),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: ["denied", "denied"],
  },

  "streamed: takes a prompt away piece by piece, and gives all of it behind the last": {
    steps: [
      send(chatHead({ modes: STREAMED })),
      gets("request_headers"),
      send(bodyMessage("request", head), bodyMessage("request", tail)),
      gets("request_body", { response: { body_mutation: { clear_body: true } } }),
      gets("request_body", { response: { body_mutation: { clear_body: true } } }),
      send(bodyMessage("request", "", true)),
      gets("request_body", { response: { body_mutation: { body: PROMPT_JSON } } }),
      ...done,
    ],
    records: ALLOWED,
  },
  "streamed: refuses a prompt behind its last piece": {
    steps: [
      send(chatHead({ modes: STREAMED })),
      gets("request_headers"),
      send(bodyMessage("request", INJECTION_JSON)),
      gets("request_body", { response: { body_mutation: { clear_body: true } } }),
      send(bodyMessage("request", "", true)),
      gets("immediate_response", { status: { code: 403 } }),
      ...done,
    ],
    records: ["denied", "denied"],
  },
  "streamed: answers empty pieces in the middle of a body": {
    steps: [
      send(chatHead({ modes: STREAMED })),
      gets("request_headers"),
      send(bodyMessage("request", ""), bodyMessage("request", head), bodyMessage("request", "")),
      ...Array(3).fill(gets("request_body", { response: { body_mutation: { clear_body: true } } })),
      send(bodyMessage("request", tail, true)),
      gets("request_body", { response: { body_mutation: { body: PROMPT_JSON } } }),
      ...done,
    ],
    records: ALLOWED,
  },
  "streamed: fails where trailers would take the place of what was held": {
    steps: [
      send(chatHead({ modes: STREAMED })),
      gets("request_headers"),
      send(bodyMessage("request", PROMPT_JSON)),
      gets("request_body"),
      send(trailersMessage("request")),
      ends(Code.FAILED_PRECONDITION),
    ],
    records: ["failed_closed", "failed_closed"],
  },
  "streamed: asks for no override of a mode that is set": {
    steps: [
      ...asked(STREAMED),
      send(answerHead(SSE)),
      gets("response_headers"),
      ...SSE_EVENTS.flatMap((event) => [
        send(bodyMessage("response", event)),
        gets("response_body"),
      ]),
      send(bodyMessage("response", "", true)),
      gets("response_body"),
      ...done,
    ],
    records: ALLOWED,
  },
};

const tooWeak: readonly Modes[] = [
  { request: "NONE", response: "BUFFERED" },
  { request: "BUFFERED", response: "NONE" },
  { request: "BUFFERED_PARTIAL", response: "BUFFERED" },
  { request: "BUFFERED", response: "BUFFERED_PARTIAL" },
  { request: "GRPC", response: "GRPC" },
];
const NONE: Modes = { request: "NONE", response: "NONE" };

describe("the server, in Envoy's body modes, ", () => {
  let boundary: Boundary;
  beforeEach(async () => {
    boundary = await startBoundary();
  });
  afterEach(async () => {
    await boundary.close();
  });

  for (const [promise, transcript] of Object.entries(scenarios)) {
    it(promise, async () => play(boundary, await boundary.connect(), transcript));
  }
  for (const modes of tooWeak) {
    it(`refuses a prompt where bodies are sent as ${modes.request} and ${modes.response}`, async () => {
      await play(boundary, await boundary.connect(), {
        steps: [
          send(chatHead({ modes })),
          gets("immediate_response", { details: "limen_body_not_shown" }),
          ...done,
        ],
        records: ["failed_closed", "failed_closed"],
      });
    });
  }
  it("passes headers alone where a policy says that there is no prompt", async () => {
    await play(boundary, await boundary.connect(), {
      steps: [
        send(headersMessage("request", MODELS_HEADERS, { endOfStream: true, modes: NONE })),
        gets("request_headers"),
        send(answerHead()),
        gets("response_headers"),
        ...done,
      ],
      records: ["not_inference", "not_inference"],
    });
  });
});
