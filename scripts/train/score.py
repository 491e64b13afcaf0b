"""Scores of a run's int8 files, for `scripts/eval --scores`: rows that are measured or set thresholds -> scores.jsonl

    python score.py RUN [--exact]

A row's score is its strongest window, over the plain reading in its slot and the decoded ones as hidden text.
"""
import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

import torch

from export import Exact, Files
from fit import DEVICE
from model import HEADS
from pieces import tokenizer, windows_of
from place import RUNS
from rows import Row, held_rows, rows_of

Judge = Exact | Files

SETS = ("calibration", "dev_extra", "notinject", "wildguard_benign", "spikee", "xstest", "deepset", "jbb", "mitre_frr",
        "cyberseceval_multilingual", "bipia_in_context", "qualifire_even", "dolly", "dev")
HIDDEN = 4  # decoded readings of one row


def measured(sets: Iterable[str]) -> Iterator[tuple[str, Iterable[Row]]]:
    """Set by set: what is scored already is kept when the run is killed. The held rows come first."""
    yield "held", held_rows()
    for name in sets:
        yield name, rows_of(name)


def spread(windows: list, most: int) -> list:
    """The first half of what is allowed from the start of a long text, the rest evenly."""
    if len(windows) <= most:
        return windows
    first = (most + 1) // 2
    return windows[:first] + [windows[i] for i in np.linspace(first, len(windows) - 1, most - first, dtype=int)]


def strongest(judge: Judge, shape: dict, rows: Iterable[Row], most: int) -> dict[str, np.ndarray]:
    """Logits of the strongest window of each row for HEADS: the late ones, then the early ones."""
    cut = tokenizer()
    began = time.monotonic()
    best: dict[str, np.ndarray] = {}
    texts: list[tuple[str, str, str]] = []
    for row in rows:
        best[row.id] = np.full(2 * len(HEADS), -30.0)
        texts += [(row.id, row.slot, row.plain), *((row.id, "hidden", h.text) for h in row.hidden[:HIDDEN])]
    jobs: list[tuple[int, str, list[int]]] = []
    for start in range(0, len(texts), 500):
        part = texts[start : start + 500]
        for (name, slot, _), encoding in zip(part, cut.encode_batch([text for *_, text in part], add_special_tokens=False)):
            for window in spread(windows_of(encoding.ids, encoding.offsets), most):
                jobs.append((len(window.ids), name, [shape["bos"], shape["slots"][slot], *window.ids, shape["eos"]]))
    tokenised = time.monotonic() - began
    jobs.sort(key=lambda job: job[0])
    began = time.monotonic()
    for start in range(0, len(jobs), judge.batch):
        chunk = jobs[start : start + judge.batch]
        ids = np.full((len(chunk), len(chunk[-1][2])), shape["pad"], dtype=np.int64)
        for i, (_, _, window) in enumerate(chunk):
            ids[i, : len(window)] = window
        early, late = judge(ids)
        for (_, name, _), logits in zip(chunk, np.concatenate([late, early], axis=1)):
            np.maximum(best[name], logits, out=best[name])
    ran = time.monotonic() - began
    print(f"{len(best)} rows, {len(jobs)} windows: {tokenised:.0f} s of tokens, {ran:.0f} s of the encoder, {1e3 * ran / max(1, len(jobs)):.2f} ms a window", flush=True)
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--exact", action="store_true", help="the weights before rounding, on an accelerator if there is one")
    parser.add_argument("--sets", nargs="*", default=SETS)
    arguments = parser.parse_args()
    folder = RUNS / arguments.run
    shape = torch.load(folder / "model.pt", weights_only=True, mmap=True)["shape"]
    judge: Judge = Exact(arguments.run, DEVICE) if arguments.exact else Files(folder, arguments.threads)
    path = folder / ("exact.jsonl" if arguments.exact else "scores.jsonl")
    # Scores of older weights are not scores of these.
    if path.exists() and path.stat().st_mtime < (folder / ("model.pt" if arguments.exact else "second.onnx")).stat().st_mtime:
        path.unlink()
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    known = {json.loads(line)["id"] for line in lines}
    for name, rows in measured(arguments.sets):
        best = strongest(judge, shape, (row for row in rows if row.id not in known), 24)
        for identity, logits in best.items():
            scores = (1 / (1 + np.exp(-logits.astype(np.float64)))).round(6).tolist()
            lines.append(json.dumps({"id": identity, **dict(zip((*HEADS, *(f"early_{head}" for head in HEADS)), scores))}) + "\n")
        beside = path.with_suffix(".tmp")
        beside.write_text("".join(lines))
        os.replace(beside, path)
        print(name, flush=True)


if __name__ == "__main__":
    main()
