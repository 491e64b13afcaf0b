/** Numbers: what one connection of an Envoy worker may do in seconds, without the server taking it for an attack. */
import assert from "node:assert/strict";
import { type Boundary, decisions, outcomes, startBoundary } from "./boundary.ts";
import type { EnvoyConnection } from "./connection.ts";
import { chatHead, modelsHead } from "./phrases.ts";
import { settled } from "./transcript.ts";

const RESETS = 20_000;
const AT_A_TIME = 250;
const OPEN = 1_000;

/** One exchange, answered and then ended by END_STREAM and RST_STREAM in one segment. */
async function once(connection: EnvoyConnection): Promise<void> {
  const stream = connection.open();
  await stream.send(modelsHead);
  const { kind } = await stream.next();
  assert.equal(kind, "message");
  stream.halfCloseAndReset();
}

describe("one connection of Envoy", function () {
  this.timeout(60_000);
  let boundary: Boundary;
  let connection: EnvoyConnection;
  beforeEach(async () => {
    boundary = await startBoundary({ maxExchanges: OPEN });
    connection = await boundary.connect();
  });
  afterEach(async () => {
    await boundary.close();
  });

  it(`has ${RESETS} streams reset, every one of them answered and recorded`, async () => {
    for (let done = 0; done < RESETS; done += AT_A_TIME) {
      await Promise.all(Array.from({ length: AT_A_TIME }, () => once(connection)));
    }
    await settled(boundary, connection);
    assert.equal(connection.goaway, undefined);
    assert.equal(decisions(boundary.records).length, RESETS);
    assert.equal(outcomes(boundary.records).length, RESETS);
    assert.deepEqual(boundary.failures, []);
  });

  it(`has ${OPEN} streams open at a time; one more is refused by name, not by a reset`, async () => {
    const streams = Array.from({ length: OPEN }, () => connection.open());
    for (const stream of streams) await stream.send(chatHead());
    for (const stream of streams) assert.equal((await stream.next()).kind, "message");
    assert.equal(boundary.server.open, OPEN);
    const late = connection.open();
    await late.send(chatHead());
    assert.equal((await late.next()).kind, "message");
    late.halfCloseAndReset();
    for (const stream of streams) stream.reset();
    await settled(boundary, connection);
    const actions = decisions(boundary.records).map(({ verdict }) => verdict.reason);
    assert.equal(actions.filter((reason) => reason === "overloaded").length, 1);
    assert.equal(outcomes(boundary.records).length, OPEN + 1);
  });
});
