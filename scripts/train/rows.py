"""Rows of the data folder with the readings that views.ts made of them, and which rows may be used for what.

Only `train` and `train_extra` are ever trained on. A part of the benign mail and tool results of `train_extra` is
taken out by a hash of its id and used for thresholds together with `calibration`: those rows are in no training set.
"""
import gzip
import hashlib
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass

from place import ROWS, VIEWS, data_folder

TRAINING = ("train", "train_extra")
# Sets whose rows the trainer refuses to open.
NEVER = ("dev", "dev_extra", "calibration")

# Of the benign rows of train_extra with these slots, so many in a hundred set thresholds instead.
HELD_PER_CENT = {"tool": 20, "document": 20, "user": 8}
# A benign carrier of ours or a mail is held with all rows made of it where the id tells them apart; where it does
# not, near copies stay in training, which makes the enlarged pool easier than it looks. Reported, not hidden.


@dataclass(frozen=True, slots=True)
class Hidden:
    text: str
    share: float  # of the attack; 0 in a benign row


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    plain: str
    label: str
    slot: str
    lang: str
    script: str
    kind: str
    family: str
    source: str
    transform: str
    hidden: tuple[Hidden, ...]
    span: tuple[int, int] | None
    weak: bool


def is_held(identity: str, label: str, slot: str) -> bool:
    """Whether a row of train_extra sets thresholds. Known by its id alone, so that every script agrees."""
    if label != "benign" or not identity.startswith("train_extra/"):
        return False
    bucket = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:4], "big") % 100
    return bucket < HELD_PER_CENT.get(slot, 0)


# A system message that nobody pinned is scored like a document; a slot of the data that is none of ours is an error.
SLOT_OF = {"user": "user", "tool": "tool", "document": "document", "system": "document"}


def merged(name: str) -> Iterator[Row]:
    """All rows of a set of the data folder, in order, with their readings."""
    folder = data_folder()
    path = folder / f"{name}.jsonl.gz"
    if not path.exists():
        path = folder / "test" / f"{name}.jsonl.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines, open(VIEWS / f"{name}.jsonl", encoding="utf-8") as views:
        for line, view_line in zip(lines, views, strict=True):
            raw, view = json.loads(line), json.loads(view_line)
            if raw["id"] != view["id"]:
                raise SystemExit(f"{name}: the readings are of other rows; run views.ts again")
            span = view.get("span")
            yield Row(
                id=raw["id"], plain=view.get("plain", raw["text"]),
                hidden=tuple(Hidden(h["text"], h.get("share", 0.0)) for h in view["hidden"]),
                label=raw["label"], slot=SLOT_OF[raw["provenance"]], span=None if span is None else (span[0], span[1]),
                lang=raw.get("lang", "und"), script=raw.get("script", "None"), kind=raw.get("kind") or "none",
                family=raw.get("family") or "none", source=raw.get("source", ""), transform=raw.get("transform") or "",
                weak=bool(raw.get("weak")),
            )


def rows_of(name: str) -> Iterator[Row]:
    """All rows of a set, in order, out of the work folder."""
    with lzma.open(ROWS / f"{name}.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            *first, hidden, span, weak = json.loads(line)
            yield Row(*first, hidden=tuple(Hidden(*h) for h in hidden), span=span and tuple(span), weak=weak)


def pack(name: str) -> None:
    ROWS.mkdir(parents=True, exist_ok=True)
    with lzma.open(ROWS / f"{name}.tmp", "wt", preset=4, encoding="utf-8") as out:
        for r in merged(name):
            hidden = [[h.text, h.share] for h in r.hidden]
            row = [r.id, r.plain, r.label, r.slot, r.lang, r.script, r.kind, r.family, r.source, r.transform, hidden, r.span, r.weak]
            out.write(json.dumps(row, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\x85", "\\u0085") + "\n")
    (ROWS / f"{name}.tmp").rename(ROWS / f"{name}.jsonl.xz")


def training_rows() -> Iterator[Row]:
    for name in TRAINING:
        for row in rows_of(name):
            if not is_held(row.id, row.label, row.slot):
                yield row


def held_rows() -> Iterator[Row]:
    """The rows of train_extra that set thresholds."""
    for row in rows_of("train_extra"):
        if is_held(row.id, row.label, row.slot):
            yield row


if __name__ == "__main__":
    for views in sorted(VIEWS.glob("*.jsonl")):
        pack(views.stem)
