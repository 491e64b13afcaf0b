import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { faultsOf, PROFILES } from "./catalog.ts";
import { matrix, parse, print, readLines } from "./table.ts";

describe("docs/faults.md", () => {
  it("is what the suite would write", () => {
    const text = readFileSync(new URL("../../docs/faults.md", import.meta.url), "utf8");
    assert.equal(print(parse(text)), text);
    assert.ok(parse(text).length > 50);
  });

  it("says of every fault what every version of the matrix does, once for each exchange", () => {
    const lines = readLines();
    assert.equal(matrix().length, 5);
    for (const profile of PROFILES) {
      for (const { name } of faultsOf(profile)) {
        const own = lines.filter((line) => line.profile === profile && line.fault === name);
        for (const version of matrix()) {
          const seen = own.filter(({ versions }) => versions.includes(version));
          const exchanges = seen.map(({ exchange }) => exchange);
          assert.ok(exchanges.length > 0, `${profile}: ${name}: nothing for ${version}`);
          assert.equal(
            new Set(exchanges).size,
            exchanges.length,
            `${profile}: ${name}: ${version}`,
          );
        }
      }
    }
  });

  it("has no row of a fault that is gone", () => {
    const names = new Set(PROFILES.flatMap((one) => faultsOf(one).map(({ name }) => name)));
    for (const { fault } of readLines()) assert.ok(names.has(fault), fault);
  });
});
