/** Where a detector errs: the rows of the tuning sets by what they are, each part with its share of errors. */
import type { Judged } from "./measures.ts";
import type { Label, Slot } from "./rows.ts";

const BY = ["kind", "source", "family", "part", "lang"] as const;
/** Fewer rows than this say nothing. */
const LEAST = 15;

export type Part = {
  readonly by: (typeof BY)[number];
  readonly value: string;
  readonly slot: Slot;
  readonly label: Label;
  readonly rows: number;
  /** Benign rows that are flagged, attacks that are missed. */
  readonly wrong: number;
};

/** The tuning sets only: nobody is to look at where a test errs. */
export function partsOf(judged: readonly Judged[]): readonly Part[] {
  const own = judged.filter(({ row }) => row.set === "dev" || row.set === "dev_extra");
  return BY.flatMap((by) =>
    [...Map.groupBy(own, ({ row }) => `${row.slot}\n${row.label}\n${row[by]}`).values()].flatMap(
      (members) => {
        const [first] = members;
        if (first === undefined || members.length < LEAST || first.row[by] === "") return [];
        const wrong = members.filter(({ attack, flagged }) => attack !== flagged).length;
        const { slot, label } = first.row;
        return [{ by, value: first.row[by], slot, label, rows: members.length, wrong }];
      },
    ),
  );
}

/** Parts with an error, the most errors first within each label. */
export function errorsOf(name: string, parts: readonly Part[]): string {
  const lines = parts
    .filter(({ wrong }) => wrong > 0)
    .toSorted((a, b) => (a.label < b.label ? -1 : a.label > b.label ? 1 : b.wrong - a.wrong))
    .map(({ by, value, slot, label, rows, wrong }) =>
      [
        label.padEnd(8),
        slot.padEnd(8),
        by.padEnd(6),
        `${wrong} of ${rows}`.padStart(12),
        `${((100 * wrong) / rows).toFixed(1)} %`.padStart(8),
        value,
      ].join("  "),
    );
  return [`errors of ${name} by part of dev and dev_extra`, ...lines].join("\n");
}
