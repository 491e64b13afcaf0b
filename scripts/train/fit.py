"""Fine-tunes the encoder on composed chunks. Killed at any moment, it goes on from the last checkpoint.

    python fit.py NAME --chunks N [--passes N | --seconds N] [--layers N] [--teacher RUN] [--rate R]

Chunks come from compose.py, which may still be at work on them. With a teacher the answers are in part its own. The
learning rate falls with the work done, or with the time spent where time is what is short.
"""
import argparse
import json
import os
import queue
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from backbone import SLOTS
from compose import UNKNOWN, path_of
from model import Detector, fresh
from place import BACKBONE, RUNS

SMOOTH = 0.005  # label noise: no answer is taken as certain
CLIP = 1.0
EASY = 0.05  # a loss, near the least that SMOOTH leaves, below which half of the bags are left out of later passes
KEPT = 0.999 if torch.cuda.is_available() else 0.995  # of the running mean of weights, which is what a run ends with; batches differ in size
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TOKENS = 49_152 if DEVICE.type == "cuda" else 4_096  # of one batch, padding included


@dataclass
class Batch:
    ids: torch.Tensor  # of all windows
    owner: torch.Tensor  # the bag of each window
    answers: torch.Tensor
    weights: torch.Tensor
    bags: np.ndarray  # numbers in the chunk


class Chunk:
    def __init__(self, path: Path, shape: dict, wait: float = 600):
        began = time.monotonic()
        while not path.exists():
            if time.monotonic() - began > wait:
                raise SystemExit(f"{path} did not come; run compose.py")
            time.sleep(0.2)
        with np.load(path) as arrays:
            self.ids, self.lengths, self.owners = arrays["ids"], arrays["lengths"].astype(np.int64), arrays["owners"]
            self.slots, self.answers, self.weights = arrays["slots"], arrays["answers"], arrays["weights"]
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)])
        self.first = np.searchsorted(self.owners, np.arange(len(self.slots) + 1))
        self.longest = np.maximum.reduceat(self.lengths, self.first[:-1])
        self.shape = shape

    def batches(self, bags: np.ndarray, rng: random.Random) -> list[np.ndarray]:
        """Bags of like length, at most TOKENS with padding; in random order."""
        noise = np.array([rng.random() for _ in bags])
        made: list[list[int]] = [[]]
        longest = windows = 0
        for bag in bags[np.lexsort((noise, self.longest[bags] // 8))]:
            length, count = int(self.longest[bag]) + 3, int(self.first[bag + 1] - self.first[bag])
            if made[-1] and (windows + count) * max(longest, length) > TOKENS:
                made.append([])
                longest = windows = 0
            made[-1].append(int(bag))
            longest = max(longest, length)
            windows += count
        rng.shuffle(made)
        return [np.array(batch) for batch in made]

    def batch(self, bags: np.ndarray) -> Batch:
        windows = [(i, w) for i, bag in enumerate(bags) for w in range(self.first[bag], self.first[bag + 1])]
        ids = np.full((len(windows), int(self.longest[bags].max()) + 3), self.shape["pad"], dtype=np.int64)
        for row, (i, window) in enumerate(windows):
            start, length = self.starts[window], self.lengths[window]
            ids[row, 0], ids[row, 1] = self.shape["bos"], self.shape["slots"][SLOTS[self.slots[bags[i]]]]
            ids[row, 2 : 2 + length] = self.ids[start : start + length]
            ids[row, 2 + length] = self.shape["eos"]
        owner = torch.tensor([i for i, _ in windows])
        answers, weights = torch.from_numpy(self.answers[bags]).float(), torch.from_numpy(self.weights[bags])
        return Batch(*(t.to(DEVICE, non_blocking=True) for t in (torch.from_numpy(ids), owner, answers, weights)), bags)


def of_bags(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Loss of each bag and head on its strongest window; a head without an answer does not count."""
    index = batch.owner[:, None].expand(-1, batch.answers.shape[1])
    strongest = torch.full_like(batch.answers, -1e9).scatter_reduce(0, index, logits, "amax")
    target = batch.answers.clamp(min=0) * (1 - 2 * SMOOTH) + SMOOTH
    return F.binary_cross_entropy_with_logits(strongest, target, reduction="none") * (batch.answers != UNKNOWN) * batch.weights[:, None]


def loss_of(model: Detector, teacher: Detector | None, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What to learn from, and the late head's loss of each bag."""
    early, late = (logits.float() for logits in model(batch.ids))
    heads = (batch.answers != UNKNOWN).float()
    known = (heads * batch.weights[:, None]).sum().clamp(min=1)
    bags = of_bags(late, batch)
    of_bag = bags.detach().sum(1) / (heads.sum(1) * batch.weights)
    hard, hard_early = bags.sum() / known, of_bags(early, batch).sum() / known
    if teacher is None:
        soft = F.binary_cross_entropy_with_logits(early, late.detach().sigmoid())
        return hard + 0.25 * (hard_early + soft), of_bag
    with torch.no_grad():
        told = teacher(batch.ids)[1].float().sigmoid()
    soft = F.binary_cross_entropy_with_logits(late, told)
    soft_early = F.binary_cross_entropy_with_logits(early, told)
    return 0.4 * hard + 0.6 * soft + 0.25 * (hard_early + soft_early), of_bag


class Half:
    """The model in bfloat16 with its exact weights beside it: the optimiser moves those, the model follows."""

    def __init__(self, model: Detector, rate: float):
        self.model = model
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.exact = [p.detach().float().clone().requires_grad_() for p in self.trained]
        self.mean = [e.detach().clone() for e in self.exact]
        heads = {id(p) for p in model.heads()}
        slow = [e for e, p in zip(self.exact, self.trained) if id(p) not in heads]
        fast = [e for e, p in zip(self.exact, self.trained) if id(p) in heads]
        self.rates = (rate, rate * 4)
        self.optimiser = torch.optim.AdamW([{"params": slow}, {"params": fast}], weight_decay=0.02, foreach=True)
        self.steps = 0
        self.frozen = {name: p.detach().cpu().clone() for name, p in model.named_parameters() if not p.requires_grad}
        self.model.bfloat16()

    def step(self, loss: torch.Tensor, progress: float) -> None:
        """`progress`: the share of the work that is done."""
        loss.backward()
        for p, e in zip(self.trained, self.exact):
            e.grad = p.grad.float() if p.grad is not None else None
            p.grad = None
        torch.nn.utils.clip_grad_norm_(self.exact, CLIP)
        factor = min((self.steps + 1) / 200, max(0.01, (1 - progress) / 0.95))
        for group, rate in zip(self.optimiser.param_groups, self.rates):
            group["lr"] = rate * factor
        self.optimiser.step()
        self.steps += 1
        with torch.no_grad():
            torch._foreach_lerp_(self.mean, self.exact, max(1 - KEPT, 1 / (self.steps + 1)))
            torch._foreach_copy_(self.trained, self.exact)

    def state(self, mean: bool) -> dict[str, torch.Tensor]:
        names = {id(p): name for name, p in self.model.named_parameters()}
        state = dict(self.frozen)
        for p, e in zip(self.trained, self.mean if mean else self.exact):
            state[names[id(p)]] = e.detach().cpu().clone()
        return state


def saved(path: Path, value: object) -> None:
    """In place by one rename: a kill leaves the old file or the new one."""
    beside = path.with_suffix(".tmp")
    torch.save(value, beside)
    os.replace(beside, path)


def loaded(run: str) -> Detector:
    held = torch.load(RUNS / run / "model.pt", weights_only=True)
    state = held["model"]
    model = Detector(held["shape"], state["first.word.weight"].shape[0], state["first.position.weight"].shape[0])
    model.load_state_dict(state)
    return model.eval()


class Work:
    """The order of batches, how much is done, and the mark from which a killed run goes on."""

    def __init__(self, arguments: argparse.Namespace, shape: dict):
        self.arguments, self.shape = arguments, shape
        self.began = time.monotonic()
        self.at = (0, 0, 0)  # pass, chunk, batch
        self.count = 1  # batches of the chunk
        self.losses: dict[int, np.ndarray] = {}
        self.told: list[tuple[int, np.ndarray, torch.Tensor]] = []  # not yet in `losses`: asking earlier would stop the device

    def progress(self) -> float:
        a = self.arguments
        if a.seconds:
            return (time.monotonic() - self.began) / a.seconds
        return (self.at[0] * a.chunks + self.at[1] + self.at[2] / self.count) / (a.passes * a.chunks)

    def batches(self) -> Iterator[tuple[tuple[int, int, int], Batch]]:
        """Each with its place: pass, chunk, batch."""
        a = self.arguments
        start = self.at
        for number in range(start[0], 10_000 if a.seconds else a.passes):
            for index in range(start[1] if number == start[0] else 0, a.chunks):
                chunk = Chunk(path_of(a.chunk_seed, index), self.shape)
                rng = random.Random(a.seed * 100_003 + number * 1_009 + index)
                batches = chunk.batches(self.wanted(index, len(chunk.slots), rng), rng)
                self.count = len(batches)
                for i, bags in enumerate(batches):
                    if (number, index) == start[:2] and i < start[2]:
                        continue
                    if a.seconds and time.monotonic() - self.began > a.seconds:
                        return
                    yield (number, index, i + 1), chunk.batch(bags)

    def wanted(self, index: int, count: int, rng: random.Random) -> np.ndarray:
        """All bags at first; later half of what was easy is left out."""
        told, self.told = self.told, []
        for chunk, bags, losses in told:
            self.losses[chunk][bags] = losses.cpu().numpy()
        known = self.losses.setdefault(index, np.ones(count, dtype=np.float32))
        dice = np.array([rng.random() for _ in range(count)])
        return np.flatnonzero((known > EASY) | (dice < 0.5))


def ahead(batches: Iterator[tuple[tuple[int, int, int], Batch]]) -> Iterator[tuple[tuple[int, int, int], Batch]]:
    """The same, made by a thread while the model is at work."""
    made: queue.Queue = queue.Queue(maxsize=4)

    def make() -> None:
        try:
            for pair in batches:
                made.put(pair)
            made.put(None)
        except BaseException as failure:
            made.put(failure)

    threading.Thread(target=make, daemon=True).start()
    while (pair := made.get()) is not None:
        if isinstance(pair, BaseException):
            raise pair
        yield pair


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--chunk-seed", type=int, default=1)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="instead of passes")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--teacher", help="a run that answers as well")
    parser.add_argument("--start", help="a run whose weights to begin with; what has another shape begins anew")
    parser.add_argument("--upper", action="store_true", help="only the second part learns")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=3, help="between checkpoints")
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    folder = RUNS / arguments.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "arguments.json").write_text(json.dumps(vars(arguments), indent=1))
    model = fresh(torch.load(BACKBONE / "encoder.pt", weights_only=True), arguments.layers)
    if arguments.start:
        begun, own = torch.load(RUNS / arguments.start / "model.pt", weights_only=True)["model"], model.state_dict()
        model.load_state_dict({name: value for name, value in begun.items() if own[name].shape == value.shape}, strict=False)
    model.freeze(arguments.upper)
    teacher = loaded(arguments.teacher).to(DEVICE).bfloat16() if arguments.teacher else None
    work = Work(arguments, model.shape)
    mark = folder / "checkpoint.pt"
    checkpoint = torch.load(mark, weights_only=True, map_location="cpu") if mark.exists() else None
    if checkpoint:
        model.load_state_dict(checkpoint["model"])
        work.at = tuple(checkpoint["at"])
    half = Half(model.to(DEVICE), arguments.rate)
    if checkpoint:
        half.optimiser.load_state_dict(checkpoint["optimiser"])
        half.steps = checkpoint["steps"]
        half.mean = [m.to(DEVICE) for m in checkpoint["mean"]]
    run(half, teacher, work, arguments.minutes * 60, mark)
    saved(folder / "model.pt", {"model": half.state(mean=True), "shape": model.shape})
    print("done", flush=True)


def run(half: Half, teacher: Detector | None, work: Work, every: float, mark: Path) -> None:
    half.model.train()
    last = said = time.monotonic()
    losses: list[torch.Tensor] = []
    windows = 0
    for at, batch in ahead(work.batches()):
        work.at = at
        torch.manual_seed(half.steps)
        loss, of_bag = loss_of(half.model, teacher, batch)
        half.step(loss, work.progress())
        losses.append(of_bag.mean())
        work.told.append((at[1], batch.bags, of_bag))
        windows += len(batch.ids)
        now = time.monotonic()
        if now - said > 20:
            print(f"{time.strftime('%H:%M:%S')} {work.at} {work.progress():.2f} step {half.steps} loss {torch.stack(losses).mean():.4f}, {windows / (now - said):.0f} windows/s", flush=True)
            said, losses, windows = now, [], 0
        if now - last > every:
            saved(mark, {"model": half.state(mean=False), "mean": half.mean, "optimiser": half.optimiser.state_dict(), "steps": half.steps, "at": work.at})
            last = now


if __name__ == "__main__":
    main()
