/**
 * The mocha reporter of scripts/test: prints like `spec`, and leaves the counts in a file, with the
 * test files that skipped something, so that a tier that did not run cannot look like one that passed.
 */
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import Mocha from "mocha";

export type Summary = {
  readonly passed: number;
  readonly failed: number;
  /** One entry per skipped test or suite hook: file below test/ without its suffixes, and the title. */
  readonly skipped: readonly { readonly tier: string; readonly title: string }[];
};

/** `test/real/boundary.slow.ts` is `real/boundary`. */
const tierOf = (file: string | undefined): string =>
  relative("test", file ?? "test/unknown").replace(/\.(test|slow)\.ts$/, "");

function report(runner: Mocha.Runner, options: Mocha.MochaOptions): Mocha.reporters.Base {
  const { constants } = Mocha.Runner;
  const spec = new Mocha.reporters.Spec(runner, options);
  const skipped: { tier: string; title: string }[] = [];
  runner.on(constants.EVENT_TEST_PENDING, (test: Mocha.Test) => {
    skipped.push({ tier: tierOf(test.file), title: test.fullTitle() });
  });
  runner.once(constants.EVENT_RUN_END, () => {
    const { passes, failures } = spec.stats;
    const summary: Summary = { passed: passes, failed: failures, skipped };
    writeFileSync(String(options["reporterOptions"]?.summary), JSON.stringify(summary));
  });
  return spec;
}

// The name under which `require` takes an ES module as a whole: mocha wants the function itself.
export { report as "module.exports" };
