/** Placeholder signatures: implemented by the llm room. */
import { ok, type Result } from "../../core/cause.ts";

export type SseFrame = {
  /** The bytes as they came, terminator included. */
  readonly raw: Uint8Array;
  readonly event: string | undefined;
  /** `data:` lines joined with LF; undefined when the frame has none. */
  readonly data: string | undefined;
};

export class SseFramer {
  constructor(_limitBytes: number) {}
  push(_chunk: Uint8Array): Result<readonly SseFrame[]> {
    return ok([]);
  }
  end(): Result<readonly SseFrame[]> {
    return ok([]);
  }
}
/** The frame's bytes with `data` replaced. */
export function withData(frame: SseFrame, _data: string): Uint8Array {
  return frame.raw;
}
