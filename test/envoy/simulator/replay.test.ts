/** Recorded streams of real Envoys, played again without Envoy: every reply is what it was. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Boundary, startBoundary } from "./boundary.ts";
import { type Recording, replay, repliesOf } from "./recording.ts";
import { VECTORS } from "./vectors.ts";

describe("a recorded stream of Envoy", () => {
  const names = readdirSync(VECTORS);
  let boundary: Boundary;
  before(async () => {
    boundary = await startBoundary();
  });
  after(async () => {
    await boundary.close();
  });

  it("is there for the oldest and the newest version", () => {
    for (const version of ["1.36.4", "1.40.0"]) {
      assert.equal(names.filter((name) => name.startsWith(`${version}-`)).length, 7);
    }
  });
  for (const name of names) {
    it(`gets the replies that it got: ${name}`, async () => {
      const recording = JSON.parse(readFileSync(join(VECTORS, name), "utf8")) as Recording;
      assert.deepEqual(await replay(boundary, recording), repliesOf(recording));
    });
  }
});
