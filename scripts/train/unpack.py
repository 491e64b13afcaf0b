"""A run that came back from another machine in parts of half precision, without the vocabulary that never moved.

    python unpack.py RUN PART...
"""
import argparse
import io
from pathlib import Path

import torch

from backbone import whole
from place import BACKBONE, RUNS


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("parts", nargs="+", type=Path)
    arguments = parser.parse_args()
    held = torch.load(io.BytesIO(b"".join(part.read_bytes() for part in arguments.parts)), weights_only=True)
    state = whole(torch.load(BACKBONE / "encoder.pt", weights_only=True)["state"])
    model = {name: value.float() for name, value in held["model"].items()}
    model |= {"first.word.weight": state["word"], "first.position.weight": state["position"]}
    (RUNS / arguments.run).mkdir(parents=True, exist_ok=True)
    torch.save({"model": model, "shape": held["shape"]}, RUNS / arguments.run / "model.pt")


if __name__ == "__main__":
    main()
