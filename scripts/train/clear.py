"""Writes into a manifest below which early score a window goes no further, for each place: of the tuning rows that are
flagged by the whole encoder, one in a hundred has no window above it.

    python clear.py RUN        reads exact.jsonl (score.py --exact) and the thresholds of `balanced`
"""
import argparse
import json

import numpy as np

from place import RUNS
from rows import held_rows, rows_of

LOST = 0.01
IN = {"user": ("direct", "jailbreak"), "tool": ("direct", "embedded"), "document": ("direct", "embedded")}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    arguments = parser.parse_args()
    path = RUNS / arguments.run / "manifest.json"
    manifest = json.loads(path.read_text())
    with open(RUNS / arguments.run / "exact.jsonl") as lines:
        scores = {row["id"]: row for row in map(json.loads, lines)}
    early = lambda row: max(scores[row.id][f"early_{head}"] for head in IN[row.slot])
    rows = [row for name in ("dev", "dev_extra") for row in rows_of(name) if row.label != "benign"]
    harmless = [*rows_of("calibration"), *held_rows()]
    for place, heads in IN.items():
        levels = manifest["thresholds"]["balanced"][place]
        # A head that does not speak in this sensitivity does in another, at what it takes to find most.
        flagged = [early(r) for r in rows if r.slot == place and any(10_000 * scores[r.id][h] >= min(levels[h], 5_000) for h in heads)]
        bound = float(np.quantile(flagged, LOST))
        share = np.mean([early(r) < bound for r in harmless if r.slot == place])
        manifest["clear"][place] = round(10_000 * bound)
        print(f"{place}: below {bound:.4f} ends {share:.0%} of harmless rows early ({len(flagged)} flagged)")
    # Hidden texts are few and mostly hostile: they go all the way.
    manifest["clear"]["hidden"] = 0
    path.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
