import { readFileSync } from "node:fs";

/** The version in package.json, which stands beside `src/` in a checkout, the image and the package. */
export function packageVersion(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return /"version": *"([^"]+)"/.exec(text)?.[1] ?? "unknown";
}
