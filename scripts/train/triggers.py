"""Words that a run takes for an attack when they stand alone: the shortcuts it has learned.

    python triggers.py RUN        -> triggers.json, the words of each slot with their scores, highest first

compose.py --debias RUN puts them into harmless sentences and prefers harmless rows that have several of them.
"""
import argparse
import json

import numpy as np

from export import Exact
from fit import DEVICE
from pieces import tokenizer
from place import RUNS

FLOOR = 0.15
MOST = 500


def words() -> list[str]:
    """Pieces that begin a word and are one, in any script."""
    pieces = (piece for piece, _ in json.loads(tokenizer().to_str())["model"]["vocab"])
    return [p[1:] for p in pieces if p.startswith("▁") and p[1:].isalpha() and (len(p) > 3 or not p.isascii())]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    arguments = parser.parse_args()
    judge, cut, every = Exact(arguments.run, DEVICE), tokenizer(), words()
    shape = judge.model.shape
    found: dict[str, list[tuple[str, float]]] = {}
    for slot in ("user", "document"):
        scores: list[tuple[str, float]] = []
        for start in range(0, len(every), judge.batch):
            some = every[start : start + judge.batch]
            rows = [[shape["bos"], shape["slots"][slot], *cut.encode(w, add_special_tokens=False).ids, shape["eos"]] for w in some]
            ids = np.full((len(rows), max(map(len, rows))), shape["pad"], dtype=np.int64)
            for i, row in enumerate(rows):
                ids[i, : len(row)] = row
            _, late = judge(ids)
            value = late[:, [0, 2]].max(1) if slot == "user" else late[:, :2].max(1)
            scores += zip(some, (1 / (1 + np.exp(-value))).tolist())
        scores.sort(key=lambda pair: -pair[1])
        found[slot] = [(w, round(s, 3)) for w, s in scores[:MOST] if s > FLOOR]
        print(f"{slot}: {len(found[slot])} of {len(every)} words above {FLOOR}")
    (RUNS / arguments.run / "triggers.json").write_text(json.dumps(found, ensure_ascii=False))


if __name__ == "__main__":
    main()
