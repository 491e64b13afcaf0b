"""Fine-tunes the encoder on one composed pass after another. Killed at any moment, it goes on from the last checkpoint.

    LIMEN_DATA=... python fit.py NAME [--bags N] [--passes N] [--rate R] [--frozen N] [--seed N]

What a checkpoint holds is enough: the pass is composed again from its seed, and the batches before the mark are skipped.
"""
import argparse
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from compose import UNKNOWN, Bag, Composer, Mix, summary
from model import Detector, fresh
from place import BACKBONE, RUNS

TOKENS = 4_096  # of one batch, padding included
SMOOTH = 0.02  # label noise: no answer is taken as certain
CLIP = 1.0


def batches_of(bags: list[Bag], rng: random.Random) -> list[list[int]]:
    """Indexes of bags of like length, at most TOKENS with padding; in random order."""
    order = sorted(range(len(bags)), key=lambda i: (max(len(ids) for ids in bags[i].windows) // 8, rng.random()))
    batches: list[list[int]] = [[]]
    longest = windows = 0
    for i in order:
        length = max(len(ids) for ids in bags[i].windows) + 3
        if batches[-1] and (windows + len(bags[i].windows)) * max(longest, length) > TOKENS:
            batches.append([])
            longest = windows = 0
        batches[-1].append(i)
        longest = max(longest, length)
        windows += len(bags[i].windows)
    rng.shuffle(batches)
    return batches


def tensors_of(bags: list[Bag], shape: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids of all windows, the bag of each, the answers of each bag, its weight."""
    rows = [(shape["bos"], shape["slots"][bag.slot], *ids, shape["eos"]) for bag in bags for ids in bag.windows]
    length = max(len(row) for row in rows)
    ids = torch.full((len(rows), length), shape["pad"], dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
    owner = torch.tensor([i for i, bag in enumerate(bags) for _ in bag.windows])
    answers = torch.tensor([[bag.direct, bag.embedded] for bag in bags], dtype=torch.float32)
    return ids, owner, answers, torch.tensor([bag.weight for bag in bags])


def loss_of(logits: torch.Tensor, owner: torch.Tensor, answers: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Binary cross-entropy of each head on the strongest window of a bag; a head without an answer does not count."""
    index = owner[:, None].expand(-1, 2)
    strongest = torch.full_like(answers, -1e9).scatter_reduce(0, index, logits, "amax")
    known = (answers != UNKNOWN).float() * weights[:, None]
    target = answers.clamp(min=0) * (1 - 2 * SMOOTH) + SMOOTH
    each = F.binary_cross_entropy_with_logits(strongest, target, reduction="none")
    return (each * known).sum() / known.sum().clamp(min=1)


class Half:
    """The model in bfloat16 with its exact weights beside it: the optimiser moves those, the model follows."""

    def __init__(self, model: Detector, rate: float, steps: int):
        self.model = model
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.exact = [p.detach().float().clone().requires_grad_() for p in self.trained]
        heads = {id(p) for p in (*model.heads.parameters(), *model.middle.parameters())}
        slow = [e for e, p in zip(self.exact, self.trained) if id(p) not in heads]
        fast = [e for e, p in zip(self.exact, self.trained) if id(p) in heads]
        self.optimiser = torch.optim.AdamW([{"params": slow, "lr": rate}, {"params": fast, "lr": rate * 8}], weight_decay=0.01, foreach=True)
        warm = max(1, steps // 20)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, lambda step: min((step + 1) / warm, max(0.02, (steps - step) / max(1, steps - warm))))
        self.follow()

    def follow(self) -> None:
        self.model.bfloat16()
        with torch.no_grad():
            for p, e in zip(self.trained, self.exact):
                p.copy_(e)

    def step(self, loss: torch.Tensor) -> None:
        loss.backward()
        for p, e in zip(self.trained, self.exact):
            e.grad = p.grad.float() if p.grad is not None else None
            p.grad = None
        torch.nn.utils.clip_grad_norm_(self.exact, CLIP)
        self.optimiser.step()
        self.schedule.step()
        with torch.no_grad():
            for p, e in zip(self.trained, self.exact):
                p.copy_(e)


def saved(path: Path, value: object) -> None:
    """In place by one rename: a kill leaves the old file or the new one."""
    beside = path.with_suffix(".tmp")
    torch.save(value, beside)
    os.replace(beside, path)


def exact_state(model: Detector, half: Half) -> dict[str, torch.Tensor]:
    names = {id(p): name for name, p in model.named_parameters()}
    state = {name: value.float() for name, value in model.state_dict().items()}
    for p, e in zip(half.trained, half.exact):
        state[names[id(p)]] = e.detach()
    return state


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--bags", type=int, default=40_000)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--frozen", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", help="a run whose weights to begin with instead of the backbone's")
    parser.add_argument("--mined", help="a run whose scores of training rows say what is hard")
    parser.add_argument("--debias", help="a run whose trigger words to put into harmless sentences")
    parser.add_argument("--minutes", type=float, default=3, help="between checkpoints")
    return parser.parse_args()


def mined(run: str | None) -> dict[str, float]:
    if run is None:
        return {}
    with open(RUNS / run / "training.jsonl") as lines:
        return {row["id"]: max(row["direct"], row["embedded"]) for row in map(json.loads, lines)}


def triggers(run: str | None) -> dict[str, list[str]]:
    if run is None:
        return {}
    found = json.loads((RUNS / run / "triggers.json").read_text())
    return {slot: [word for word, _ in pairs] for slot, pairs in found.items()}


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    folder = RUNS / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arguments.json").write_text(json.dumps(vars(arguments), indent=1))
    mark = folder / "checkpoint.pt"
    checkpoint = torch.load(mark, weights_only=True) if mark.exists() else None

    backbone = torch.load(BACKBONE / "encoder.pt", weights_only=True)
    model = fresh(backbone)
    if arguments.start:
        model.load_state_dict(torch.load(RUNS / arguments.start / "model.pt", weights_only=True)["model"])
    if checkpoint:
        model.load_state_dict(checkpoint["model"])
    model.freeze(arguments.frozen)
    half = None
    scores, words = mined(arguments.mined), triggers(arguments.debias)
    for number in range(arguments.passes):
        seed = arguments.seed * 1_000 + number
        bags = Composer(Mix(bags=arguments.bags), seed, scores, words).compose()
        batches = batches_of(bags, random.Random(seed))
        print(f"pass {number}: {summary(bags)}; {len(batches)} batches", flush=True)
        if half is None:
            half = Half(model, arguments.rate, len(batches) * arguments.passes)
            if checkpoint:
                half.optimiser.load_state_dict(checkpoint["optimiser"])
                half.schedule.load_state_dict(checkpoint["schedule"])
        if checkpoint and checkpoint["pass"] > number:
            continue
        done = checkpoint["batch"] if checkpoint and checkpoint["pass"] == number else 0
        run_pass(model, half, bags, batches, number, done, arguments.minutes, mark)
        checkpoint = None
    assert half is not None
    saved(folder / "model.pt", {"model": exact_state(model, half), "shape": model.shape})
    print("done", flush=True)


def run_pass(model: Detector, half: Half, bags: list[Bag], batches: list[list[int]], number: int, done: int, minutes: float, mark: Path) -> None:
    model.train()
    last = said = time.monotonic()
    losses: list[float] = []
    windows = 0
    for index, batch in enumerate(batches):
        if index < done:
            continue
        torch.manual_seed(number * 1_000_003 + index)
        ids, owner, answers, weights = tensors_of([bags[i] for i in batch], model.shape)
        loss = loss_of(model(ids).float(), owner, answers, weights)
        half.step(loss)
        losses.append(loss.item())
        windows += len(ids)
        now = time.monotonic()
        if now - said > 60:
            print(f"{time.strftime('%H:%M:%S')} {index + 1}/{len(batches)} loss {np.mean(losses):.4f}, {windows / (now - said):.1f} windows/s", flush=True)
            said, losses, windows = now, [], 0
        if now - last > minutes * 60 or index + 1 == len(batches):
            saved(mark, {"model": exact_state(model, half), "optimiser": half.optimiser.state_dict(),
                         "schedule": half.schedule.state_dict(), "pass": number, "batch": index + 1})
            last = now


if __name__ == "__main__":
    main()
