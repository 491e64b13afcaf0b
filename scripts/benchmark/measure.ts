/** What the benchmark reads of the machine, and how it makes one number of many. */
import { closeSync, fdatasyncSync, openSync, readdirSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";

const SYNCS_PER_ROUND = 40;

/** `share` from 0 to 1: 0.5 is the median. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
export const median = (values: readonly number[]): number => quantile(values, 0.5);

export const ms = (value: number): string => `${value.toFixed(2)} ms`;

/** CPU time of a process in microseconds, all threads. The ticks of /proc/PID/stat are too coarse for a round. */
export function cpuUs(pid: number): number {
  const threads = `/proc/${pid}/task`;
  const times = readdirSync(threads).map((thread) =>
    Number.parseInt(readFileSync(join(threads, thread, "schedstat"), "utf8"), 10),
  );
  return times.reduce((sum, ns) => sum + ns, 0) / 1000;
}

/** Resident memory in MiB. */
export const rssMiB = (pid: number): number =>
  Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;

/** Median time of appending one record's bytes to a file of its own and making them durable. */
export function syncMs(dir: string): number {
  const file = openSync(join(dir, "sync-probe"), "a");
  const record = Buffer.alloc(700, "x");
  const times: number[] = [];
  for (let i = 0; i < SYNCS_PER_ROUND; i += 1) {
    const start = performance.now();
    writeSync(file, record);
    fdatasyncSync(file);
    times.push(performance.now() - start);
  }
  closeSync(file);
  return median(times);
}

/** Prints the rows of a table below its title. */
export function print(title: string, rows: readonly (readonly [string, string])[]): void {
  console.log(`\n${title}`);
  for (const [name, value] of rows) console.log(`  ${name.padEnd(52)} ${value}`);
}

/** One line that overwrites itself, for people only. */
export function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}
