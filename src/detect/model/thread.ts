/**
 * A thread of the model: reads texts and scores windows, one question after the other, off the event loop.
 * It opens and checks the weights by itself: started again later it may find other files, and must not run.
 */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { Tokenizer } from "../pieces/tokenizer.ts";
import { windowKey } from "./cache.ts";
import { type Answer, CLOSE, type Opening, type Question, type ThreadStart } from "./protocol.ts";
import { type Engine, isProblem, openEngine } from "./weights.ts";
import { windowsOf } from "./windows.ts";

if (parentPort === null) throw new Error("this module is a worker's");
const port: MessagePort = parentPort;
const { directory, manifest, pieceLimit }: ThreadStart = workerData;
const { shape } = manifest;
type ReadQuestion = Extract<Question, { readonly kind: "read" }>;

const engine = await openEngine(directory, manifest);
if (isProblem(engine)) {
  post({ kind: "refused", problem: engine }); // nothing listens: the thread ends
} else {
  listen(engine);
  post({ kind: "ready" });
}

function listen({ vocabulary, encoder }: Engine): void {
  const tokenizer = new Tokenizer(vocabulary, pieceLimit);
  const answer = async (question: Question): Promise<Answer> => {
    if (question.kind === "read") return read(tokenizer, question);
    return { kind: "scored", ...(await encoder.score(question.pieces, question.place)) };
  };
  port.on("message", (message: Question | typeof CLOSE) => {
    if (message === CLOSE) {
      // The sessions go first: a runtime that is torn down under them takes the process with it.
      void encoder.close().finally(() => port.close()); // nobody is left to be told
    } else {
      void answer(message).then(post, () => post({ kind: "failed" })); // the second cannot throw
    }
  });
}

function read(tokenizer: Tokenizer, { text, owner }: ReadQuestion): Answer {
  const { ids, starts, ends, complete } = tokenizer.pieces(text);
  const spans = windowsOf(ids.length, shape);
  const edges = spans.flatMap(({ start, end }) => [starts[start] ?? 0, ends[end - 1] ?? 0]);
  const keys = spans.map(({ start, end }) => windowKey(owner, ids.subarray(start, end)));
  return { kind: "read", pieces: ids, edges: Int32Array.from(edges), keys, complete };
}

function post(message: Answer | Opening): void {
  port.postMessage(message);
}
