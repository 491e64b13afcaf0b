"""What Python makes of some texts of our own: the input of parity.ts."""
import argparse
import json
import random

import phrases
from export import session, torch
from pieces import tokenizer, windows_of
from place import RUNS

TEXTS = 200
# One line of every script that the vocabulary keeps, and what tokenizers disagree about: spaces, marks, wide forms.
LINES = (
    "Wann öffnet das Museum am Feiertag?", "¿Dónde está la llave del almacén?", "Où puis-je déposer les clés ?", "Ключ лежит под ковриком.", "鍵は玄関にあります。", "钥匙在桌子上。", "열쇠는 책상 위에 있어요.", "المفتاح على الطاولة.", "המפתח על השולחן.", "चाबी मेज़ पर है।",
    "চাবিটা টেবিলে আছে।", "กุญแจอยู่บนโต๊ะ", "Το κλειδί είναι στο τραπέζι.", "  two  spaces\tand a tab\n\nand lines  ", "ﬁne ｗｉｄｅ ① ½ e\u0301 \u00a0 end", "🙂 👩‍👩‍👧 ok", "x" * 900, "", "{\"a\": [1, 2.5e-3, null], \"b\\n\": \"c\"}", "SELECT * FROM t WHERE a >= 10; -- note",
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    arguments = parser.parse_args()
    folder = RUNS / arguments.run
    shape = torch.load(folder / "model.pt", weights_only=True)["shape"]
    run, cut, rng = session(folder / "model.onnx"), tokenizer(), random.Random(5)
    makers = (phrases.order, phrases.neighbour, phrases.user_harmless, phrases.user_attack)
    texts = [*LINES, *(" ".join(rng.choice(makers)(rng) for _ in range(rng.randint(1, 12))) for _ in range(TEXTS))]
    with open(folder / "parity.jsonl", "w") as out:
        out.write(json.dumps({"shape": shape}) + "\n")
        for index, text in enumerate(texts):
            slot = list(shape["slots"])[index % len(shape["slots"])]
            encoding = cut.encode(text, add_special_tokens=False)
            windows = [[shape["bos"], shape["slots"][slot], *w.ids, shape["eos"]] for w in windows_of(encoding.ids, encoding.offsets)]
            logits = [run.run(None, {"ids": [ids]})[0][0].tolist() for ids in windows]
            out.write(json.dumps({"text": text, "slot": slot, "windows": windows, "logits": logits}) + "\n")
    print(f"{len(texts)} texts")


if __name__ == "__main__":
    main()
