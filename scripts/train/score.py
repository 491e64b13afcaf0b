"""Scores of an int8 file: for `scripts/eval --scores`, or of training rows, so that the next pass can prefer what is hard.

    LIMEN_DATA=... python score.py RUN                rows that are measured or set thresholds -> scores.jsonl
    LIMEN_DATA=... python score.py RUN --training N   N training rows, drawn by a hash of their id -> training.jsonl

A row's score is its strongest window, over the plain reading in its slot and the decoded ones as hidden text.
"""
import argparse
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from export import session, torch
from pieces import tokenizer, windows_of
from place import RUNS
from rows import Row, held_rows, rows_of, training_rows

SETS = ("calibration", "dev_extra", "notinject", "wildguard_benign", "spikee", "xstest", "deepset", "jbb", "mitre_frr",
        "cyberseceval_multilingual", "bipia_in_context", "qualifire_even", "dolly", "dev")
HIDDEN = 4  # decoded readings of one row
BATCH = 24


def measured(sets: Iterable[str]) -> Iterator[tuple[str, Iterable[Row]]]:
    """Set by set: what is scored already is kept when the run is killed. The held rows come first."""
    yield "held", held_rows()
    for name in sets:
        yield name, rows_of(name)


def sampled(count: int, of: int = 132_000) -> Iterator[Row]:
    for row in training_rows():
        if int.from_bytes(hashlib.sha256(b"mine" + row.id.encode()).digest()[:4], "big") / 2**32 < count / of:
            yield row


def spread(windows: list, most: int) -> list:
    """The first half of what is allowed from the start of a long text, the rest evenly."""
    if len(windows) <= most:
        return windows
    first = (most + 1) // 2
    return windows[:first] + [windows[i] for i in np.linspace(first, len(windows) - 1, most - first, dtype=int)]


def strongest(folder: Path, rows: Iterable[Row], most: int, threads: int) -> dict[str, np.ndarray]:
    """Logits of the strongest window for each head. Windows of like length run together."""
    shape = torch.load(folder / "model.pt", weights_only=True, mmap=True)["shape"]
    run, cut = session(folder / "model.onnx", threads), tokenizer()
    began = time.process_time()
    best: dict[str, np.ndarray] = {}
    jobs: list[tuple[int, str, list[int]]] = []
    for row in rows:
        best[row.id] = np.full(2, -30.0)
        for text, slot in [(row.plain, row.slot), *((h.text, "hidden") for h in row.hidden[:HIDDEN])]:
            encoding = cut.encode(text, add_special_tokens=False)
            for window in spread(windows_of(encoding.ids, encoding.offsets), most):
                jobs.append((len(window.ids), row.id, [shape["bos"], shape["slots"][slot], *window.ids, shape["eos"]]))
    tokenised = time.process_time() - began
    jobs.sort(key=lambda job: job[0])
    began = time.process_time()
    for start in range(0, len(jobs), BATCH):
        chunk = jobs[start : start + BATCH]
        ids = np.full((len(chunk), len(chunk[-1][2])), shape["pad"], dtype=np.int64)
        for i, (_, _, window) in enumerate(chunk):
            ids[i, : len(window)] = window
        for (_, name, _), logits in zip(chunk, run.run(None, {"ids": ids})[0]):
            np.maximum(best[name], logits, out=best[name])
    ran = time.process_time() - began
    print(f"{len(best)} rows, {len(jobs)} windows: {tokenised:.0f} s of tokens, {ran:.0f} s of the encoder, {1e3 * ran / max(1, len(jobs)):.1f} ms a window", flush=True)
    return best


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--training", type=int, default=0)
    parser.add_argument("--sets", nargs="*", default=SETS)
    arguments = parser.parse_args()
    folder = RUNS / arguments.run
    training = arguments.training > 0
    path = folder / ("training.jsonl" if training else "scores.jsonl")
    # Scores of an older file of weights are not scores of this one.
    if path.exists() and path.stat().st_mtime < (folder / "model.onnx").stat().st_mtime:
        path.unlink()
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    known = {json.loads(line)["id"] for line in lines}
    parts = [("training", sampled(arguments.training))] if training else measured(arguments.sets)
    for name, rows in parts:
        best = strongest(folder, (row for row in rows if row.id not in known), 3 if training else 24, arguments.threads)
        for identity, logits in best.items():
            direct, embedded = (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist()
            lines.append(json.dumps({"id": identity, "direct": round(direct, 6), "embedded": round(embedded, 6)}) + "\n")
        beside = path.with_suffix(".tmp")
        beside.write_text("".join(lines))
        os.replace(beside, path)
        print(name, flush=True)


if __name__ == "__main__":
    main()
