"""Texts to windows of token ids, exactly as at run time: at most 144 ids with the frame, as few windows as will do."""
import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from tokenizers import Tokenizer

from backbone import TOKENIZER
from place import BACKBONE
from vocabulary import without_specials

LENGTH = 144
FRAME = 3  # start, slot, end
BODY = LENGTH - FRAME
OVERLAP = 24  # at least, of neighbouring windows
OWN = 20  # what a sentence of ours counts for: it is drawn often, a row once


@dataclass(frozen=True, slots=True)
class Window:
    ids: tuple[int, ...]  # without the frame
    start: int  # code points of the text
    end: int


def spans_of(count: int) -> list[tuple[int, int]]:
    """Where windows begin and end in a text of `count` tokens: full windows, spread evenly over the text."""
    if count <= BODY:
        return [(0, count)]
    gaps = -(-(count - BODY) // (BODY - OVERLAP))
    starts = [i * (count - BODY) // gaps for i in range(gaps + 1)]
    return [(start, start + BODY) for start in starts]


def windows_of(ids: list[int], offsets: list[tuple[int, int]]) -> list[Window]:
    return [
        Window(tuple(ids[a:b]), offsets[a][0] if b > a else 0, offsets[b - 1][1] if b > a else 0)
        for a, b in spans_of(len(ids))
    ]


def tokenizer() -> Tokenizer:
    """As the service reads: a special token that is written in a text is letters."""
    return Tokenizer.from_str(json.dumps(without_specials(json.loads((BACKBONE / "tokenizer.json").read_text()))))


def count_pieces(texts: Iterable[str]) -> np.ndarray:
    """How often each piece of the whole vocabulary is used."""
    spec = json.loads(TOKENIZER.read_text())
    spec["post_processor"] = None
    whole = Tokenizer.from_str(json.dumps(spec))
    counts = np.zeros(len(spec["model"]["vocab"]), dtype=np.int64)
    batch: list[str] = []

    def flush() -> None:
        for encoding in whole.encode_batch_fast(batch):
            np.add.at(counts, encoding.ids, 1)
        batch.clear()

    for text in texts:
        batch.append(text)
        if len(batch) == 1_000:
            flush()
    flush()
    return counts


if __name__ == "__main__":
    from languages import files
    from rows import training_rows

    BACKBONE.mkdir(parents=True, exist_ok=True)
    own = [line for sections in files().values() for lines in sections.values() for line in lines]
    counted = count_pieces(text for row in training_rows() for text in (row.plain, *(h.text for h in row.hidden)))
    counted += count_pieces(own) * OWN
    np.save(BACKBONE / "piece-counts.npy", counted)
    print(f"{int((counted > 0).sum())} of {len(counted)} pieces occur in the training texts")
