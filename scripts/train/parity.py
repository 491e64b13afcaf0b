"""What Python makes of some texts of our own with the files in a folder of weights: the input of parity.ts."""
import argparse
import json
import random
from pathlib import Path

import numpy as np

import languages
from export import Files
from pieces import tokenizer, windows_of

TEXTS = 300
# What tokenizers disagree about: spaces, marks, wide forms.
LINES = (
    "  two  spaces\tand a tab\n\nand lines  ", "ﬁne ｗｉｄｅ ① ½ e\u0301 \u00a0 end", "🙂 👩‍👩‍👧 ok", "x" * 900, "{\"a\": [1, 2.5e-3, null], \"b\\n\": \"c\"}", "SELECT * FROM t WHERE a >= 10; -- note",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    shape = json.loads((arguments.weights / "manifest.json").read_text())["shape"]
    judge, cut, rng = Files(arguments.weights), tokenizer(), random.Random(5)
    every = languages.files()
    every.pop("frames"), every.pop("tools")
    tongues = [languages.Language(sections) for sections in every.values()]
    texts = [*LINES, *(" ".join(tongues[i % len(tongues)].carrier(rng) for _ in range(rng.randint(1, 6))) for i in range(TEXTS))]
    with open(arguments.out, "w") as out:
        for index, text in enumerate(texts):
            slot = list(shape["slots"])[index % len(shape["slots"])]
            encoding = cut.encode(text, add_special_tokens=False)
            rows = [np.array([[shape["bos"], shape["slots"][slot], *w.ids, shape["eos"]]], dtype=np.int64) for w in windows_of(encoding.ids, encoding.offsets)]
            late = np.concatenate([judge(ids)[1] for ids in rows]).max(0).astype(np.float64)
            out.write(json.dumps({"text": text, "place": slot, "scores": (10_000 / (1 + np.exp(-late))).round(2).tolist()}) + "\n")
    print(f"{len(texts)} texts")


if __name__ == "__main__":
    main()
