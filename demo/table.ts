/** A table for a terminal: fixed columns, cells wrapped at spaces. */

const WIDTHS = [3, 30, 30, 34, 10, 9] as const;
export type Row = readonly [string, string, string, string, string, string];

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines;
}

export function formatRow(row: Row): string {
  const cells = row.map((cell, i) => wrap(cell, WIDTHS[i] ?? 0));
  const height = Math.max(...cells.map(({ length }) => length));
  const line = (n: number): string =>
    cells
      .map((cell, i) => (cell[n] ?? "").padEnd(WIDTHS[i] ?? 0))
      .join("  ")
      .trimEnd();
  return Array.from({ length: height }, (_, n) => line(n)).join("\n");
}

export const HEAD: Row = [
  "act",
  "the client asks",
  "without Limen",
  "with Limen",
  "decided by",
  "added",
];
export const RULE = WIDTHS.map((width) => "-".repeat(width)).join("  ");
