"""The tokenizer as the one file that the service reads (src/detect/pieces/vocabulary.ts says what stands where).
With --golden, also what it makes of the texts in a file of the tests.

Pieces go in as sorted bytes, so that the reader builds its trie in one pass. Which characters hang on the one before
them is asked of the tokenizer itself: its normaliser replaces whole graphemes, and the file must agree with its Unicode.
"""
import argparse
import base64
import json
import struct
from pathlib import Path

from tokenizers import Tokenizer, normalizers

from place import BACKBONE

MAGIC = b"LMV1"
LIMIT = 1_600_000
PLAIN, EXTENDS, PREPENDS, CONTROLS = range(4)
# Mapped, two bytes, and one that hangs on what stands before it.
HALF, ACUTE, DIALYTIKA = "\u00bd", "\u0301", "\u0344"


def without_specials(spec: dict) -> dict:
    """The tokenizer for text that nobody vouches for: `<pad>` written in a text is five characters, never the token."""
    names = {token["content"] for token in spec["added_tokens"]}
    # A piece that no text can have: the normaliser turns an unpaired U+2581 into a space before a piece could match.
    vocab = [[f"\u2581\u2581{piece}", score] if piece in names else [piece, score] for piece, score in spec["model"]["vocab"]]
    return {**spec, "added_tokens": [], "post_processor": None, "model": {**spec["model"], "vocab": vocab}}


def grapheme_classes(charsmap: str) -> list[tuple[int, int, int]]:
    """Ranges of code points with what they do at the edge of a grapheme, seen by which marks the normaliser drops."""
    normalise = normalizers.Precompiled(base64.b64decode(charsmap)).normalize_str
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    found = {}
    for c in points:
        x = chr(c)
        # In one grapheme with what it hangs on, a mark is dropped together with it, if both have fewer than six bytes.
        if len(x.encode()) < 4 and normalise(HALF + x) == normalise(HALF) != normalise(HALF) + normalise(x):
            found[c] = EXTENDS
        # A mark is replaced alone only where a grapheme starts with it: after a control.
        elif normalise(x + DIALYTIKA + ACUTE) == normalise(x) + normalise(DIALYTIKA):
            found[c] = CONTROLS
        elif normalise(x + HALF + ACUTE) == normalise(x) + normalise(HALF) + ACUTE:
            found[c] = PREPENDS
        # Four bytes are too many for that; but they make a grapheme too long for its first mark to be dropped.
        elif len(x.encode()) == 4 and normalise(HALF + ACUTE + x) != normalise(HALF) + normalise(x):
            found[c] = EXTENDS
    ranges: list[tuple[int, int, int]] = []
    for c in sorted(found):
        if ranges and ranges[-1][1] == c - 1 and ranges[-1][2] == found[c]:
            ranges[-1] = (ranges[-1][0], c, found[c])
        else:
            ranges.append((c, c, found[c]))
    return ranges


def packed(spec: dict) -> bytes:
    model, names = spec["model"], {token["content"] for token in spec["added_tokens"]}
    precompiled, spaces = spec["normalizer"]["normalizers"]
    assert model["type"] == "Unigram" and not model.get("byte_fallback")
    assert precompiled["type"] == "Precompiled" and spaces == {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
    assert spec["pre_tokenizer"] == {"type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}
    pieces = sorted((piece.encode(), i, score) for i, (piece, score) in enumerate(model["vocab"]) if piece not in names)
    assert len(model["vocab"]) <= 1 << 16 and all(0 < len(piece) < 256 for piece, _, _ in pieces)
    charsmap = base64.b64decode(precompiled["precompiled_charsmap"])
    ranges = grapheme_classes(precompiled["precompiled_charsmap"])
    text = b"".join(piece for piece, _, _ in pieces)
    header = MAGIC + struct.pack("<5I", len(pieces), len(text), len(charsmap), len(ranges), model["unk_id"])
    return b"".join((
        header,
        struct.pack(f"<{len(pieces)}f", *(score for _, _, score in pieces)),
        struct.pack(f"<{3 * len(ranges)}I", *(number for row in ranges for number in row)),
        struct.pack(f"<{len(pieces)}H", *(i for _, i, _ in pieces)),
        bytes(len(piece) for piece, _, _ in pieces),
        text,
        charsmap,
    ))


def golden(spec: dict, texts: list[str]) -> list[dict]:
    """Ids and where the pieces stand, in UTF-16 units."""
    tokenizer = Tokenizer.from_str(json.dumps(without_specials(spec)))
    rows = []
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        units = [len(text[:i].encode("utf-16-le")) // 2 for i in range(len(text) + 1)]
        spans = [[units[start], units[end]] for start, end in encoding.offsets]
        rows.append({"text": text, "ids": encoding.ids, "spans": spans})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--golden", type=Path)
    arguments = parser.parse_args()
    spec = json.loads((BACKBONE / "tokenizer.json").read_text())
    blob = packed(spec)
    assert len(blob) <= LIMIT, f"{len(blob)} bytes"
    arguments.out.write_bytes(blob)
    if arguments.golden:
        rows = golden(spec, [row["text"] for row in json.loads(arguments.golden.read_text())])
        arguments.golden.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print(f"{len(blob)} bytes")


if __name__ == "__main__":
    main()
