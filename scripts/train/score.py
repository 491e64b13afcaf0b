"""Scores of the int8 file for every row that is measured or sets thresholds: the input of `scripts/eval --scores`.

A row's score is its strongest window, over the plain reading in its slot and the decoded ones as hidden text. What it
costs to look at every window is measured too: the product will look at fewer.
"""
import argparse
import json
import time
from collections.abc import Iterator

import numpy as np

from export import session
from fit import torch
from pieces import tokenizer, windows_of
from place import RUNS, data_folder
from rows import Row, held_rows, rows_of

SETS = ("calibration", "dev_extra", "notinject", "wildguard_benign", "spikee", "xstest", "deepset", "jbb", "mitre_frr",
        "cyberseceval_multilingual", "bipia_in_context", "qualifire_even", "dolly", "dev")
MOST = 24  # windows of one row: first ones, then spread
BATCH = 24


def measured() -> Iterator[tuple[str, Row]]:
    for row in held_rows():
        yield "held", row
    for name in SETS:
        for row in rows_of(name):
            yield name, row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    folder = RUNS / arguments.run
    shape = torch.load(folder / "model.pt", weights_only=True)["shape"]
    run = session(folder / "model.onnx", arguments.threads)
    cut = tokenizer()
    began = time.process_time()
    # Windows of like length go together; every row keeps the strongest of each head.
    best: dict[str, np.ndarray] = {}
    jobs: list[tuple[int, str, list[int]]] = []
    for _, row in measured():
        best[row.id] = np.full(2, -30.0)
        for text, slot in [(row.plain, row.slot), *((h.text, "hidden") for h in row.hidden[:4])]:
            encoding = cut.encode(text, add_special_tokens=False)
            windows = windows_of(encoding.ids, encoding.offsets)
            if len(windows) > MOST:
                windows = windows[: MOST // 2] + [windows[i] for i in np.linspace(MOST // 2, len(windows) - 1, MOST // 2, dtype=int)]
            for window in windows:
                ids = [shape["bos"], shape["slots"][slot], *window.ids, shape["eos"]]
                jobs.append((len(ids), row.id, ids))
    tokenised = time.process_time() - began
    jobs.sort(key=lambda job: job[0])
    began = time.process_time()
    for start in range(0, len(jobs), BATCH):
        chunk = jobs[start : start + BATCH]
        ids = np.full((len(chunk), chunk[-1][0]), shape["pad"], dtype=np.int64)
        for i, (length, _, window) in enumerate(chunk):
            ids[i, :length] = window
        for (_, name, _), logits in zip(chunk, run.run(None, {"ids": ids})[0]):
            np.maximum(best[name], logits, out=best[name])
    ran = time.process_time() - began
    with open(folder / "scores.jsonl", "w") as out:
        for name, logits in best.items():
            direct, embedded = (1 / (1 + np.exp(-logits.astype(np.float64)))).tolist()
            out.write(json.dumps({"id": name, "direct": round(direct, 6), "embedded": round(embedded, 6)}) + "\n")
    print(f"{len(best)} rows, {len(jobs)} windows: {tokenised:.0f} s of tokens, {ran:.0f} s of the encoder ({1e3 * ran / len(jobs):.1f} ms a window); {data_folder().name}")


if __name__ == "__main__":
    main()
