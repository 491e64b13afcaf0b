/** Connections that do nothing: they may not take what those that work need. */
import assert from "node:assert/strict";
import { once } from "node:events";
import type { Socket } from "node:net";
import { type Boundary, startBoundary } from "./boundary.ts";
import { socketTo } from "./connection.ts";
import { modelsHead } from "./phrases.ts";

const IDLE = 1_500;
const LIMIT = 1_024;

describe("idle connections", function () {
  this.timeout(60_000);
  let boundary: Boundary;
  const sockets: Socket[] = [];
  beforeEach(async () => {
    boundary = await startBoundary();
  });
  afterEach(async () => {
    for (const socket of sockets.splice(0)) socket.destroy();
    await boundary.close();
  });

  it(`are closed as they come above ${LIMIT}, and the one that works goes on`, async () => {
    const working = await boundary.connect();
    let closed = 0;
    for (let opened = 0; opened < IDLE; opened += 1) {
      const socket = socketTo(boundary.address);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        closed += 1;
      });
      sockets.push(socket);
      await once(socket, "connect");
    }
    while (closed < IDLE - (LIMIT - 1)) await new Promise(setImmediate);
    const stream = working.open();
    await stream.send(modelsHead);
    assert.equal((await stream.next()).kind, "message");
    stream.halfCloseAndReset();
    // Their places are free again when they are gone.
    for (const socket of sockets) socket.destroy();
    while (closed < IDLE) await new Promise(setImmediate);
    let late = await boundary.connect();
    while (late.lost) late = await boundary.connect();
    assert.equal(late.goaway, undefined);
  });
});
