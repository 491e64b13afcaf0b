/** Opens the weights in the folder of its first argument, asks, closes: then nothing may keep the process. */
import { systemClock } from "../../../src/cli/clock.ts";
import { openModel } from "../../../src/detect/model/model.ts";

const [directory = "", end = ""] = process.argv.slice(2);
const clock = systemClock();
const model = await openModel(directory, { threads: 2, clock });
const jobs = ["one", "two", "three"].map((text) => ({ text, place: "user" as const }));
const asked = model.score(jobs, { scope: "", until: clock.monotonicMs() + 10_000 });
// At once: the threads are at work on it.
if (end === "exit") process.exit(0);
if (end === "answer") await asked;
await model.close();
process.stdout.write((await asked).ok ? "answered" : "closed");
