"""Orders in wrappers that training has never seen around one, to measure what a detector makes of them.

    python wrapped.py [--carriers N] [--seed N]     -> wrappers/injection/dev.jsonl, for passages.ts and wrappers.ts

Carriers and orders are of the tuning sets. Each carrier comes clean, and at one place of it an order and a harmless line
of another carrier, both in a new wrapper and both in one of training's: only the wrapper differs.
"""
import argparse
import json
import random
from collections import defaultdict
from collections.abc import Iterator
from itertools import cycle

import languages
import phrases
from compose import UNREADABLE, carrier_of, place_in
from place import WORK
from rows import Row, rows_of, training_rows
from wrappers import ATTACKS, LINE, STYLES, known

OUT = WORK / "wrappers" / "injection" / "dev.jsonl"
TUNING = ("dev", "dev_extra")


def attacks() -> Iterator[tuple[str, tuple[int, int] | None]]:
    """All that training can show of an attack, with its place where that is known."""
    for row in training_rows():
        if row.label != "benign":
            yield row.plain, row.span
    for sections in languages.files().values():
        for name, lines in sections.items():
            for line in lines:
                if name == "carrier":
                    at = line.index(LINE)
                    yield line, (at, at + len(LINE))
                elif name in ATTACKS:
                    yield line, None
    for line in (*phrases.STYLES.values(), *phrases.ADDRESS, *phrases.GOALS, *phrases.USER_ATTACKS):
        yield line, None


def harmless() -> Iterator[tuple[str, None]]:
    """All else that training can show."""
    for row in training_rows():
        if row.label == "benign":
            yield row.plain, None
    for sections in languages.files().values():
        for name, lines in sections.items():
            if name not in ATTACKS:
                for line in lines:
                    yield line, None


class Tuning:
    """Carriers, orders and harmless lines that nothing was trained on."""

    def __init__(self, rng: random.Random):
        rows = [row for name in TUNING for row in rows_of(name)]
        self.rng = rng
        self.carriers = [row for row in rows if row.label == "benign" and row.slot != "user" and not row.transform]
        self.orders = [
            (row.id, row.plain[row.span[0] : row.span[1]])
            for row in rows
            if row.label == "embedded" and row.span and not row.weak and row.transform not in UNREADABLE and 15 <= row.span[1] - row.span[0] <= 600
        ]
        self.lines: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for row in self.carriers:
            lines = [line.strip() for line in row.plain[:2_000].split("\n")]
            self.lines[row.script] += [(row.id, line) for line in lines if 20 <= len(line) <= 260]

    def harmless(self, carrier: Row) -> tuple[str, str]:
        """A line of another carrier in the same script."""
        others = [pair for pair in self.lines[carrier.script] if pair[0] != carrier.id]
        return self.rng.choice(others or self.lines["Latin"])

    def rows(self, count: int, met: set[str]) -> Iterator[dict[str, str]]:
        """`met`: styles that training has around harmless lines."""
        rng = self.rng
        new = [("harmless" if style in met else "nowhere", family, style) for family, styles in STYLES.items() for style in styles]
        old = [("training", family, style) for family, styles in phrases.FAMILIES.items() for style in styles]
        rng.shuffle(new)
        rng.shuffle(old)
        for carrier, *both in zip(rng.sample(self.carriers, count), cycle(new), cycle(old)):
            text = carrier_of(carrier, rng)
            at = place_in(text, rng)
            common = {"provenance": carrier.slot, "lang": carrier.lang}
            yield {"id": carrier.id, "text": text, "label": "benign", "source": "clean", **common}
            for label, (origin, line) in (("embedded", rng.choice(self.orders)), ("benign", self.harmless(carrier))):
                line = " ".join(line.split())
                for source, family, style in both:
                    wrapped = phrases.wrapped(line, style)[1] if source == "training" else STYLES[family][style][0].replace("{}", line)
                    yield {
                        "id": f"{carrier.id}+{style}+{origin}", "text": text[:at] + wrapped + text[at:], "label": label,
                        "source": source, "family": family, "kind": style, **common,
                    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--carriers", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if names := known(attacks()):
        raise SystemExit(f"training knows {', '.join(sorted(names))}")
    met = known(harmless())
    OUT.parent.mkdir(parents=True, exist_ok=True)
    beside = OUT.with_suffix(".tmp")
    with open(beside, "w", encoding="utf-8") as out:
        for row in Tuning(random.Random(arguments.seed)).rows(arguments.carriers, met):
            out.write(json.dumps(row) + "\n")
    beside.rename(OUT)
    print(f"{OUT}: {sum(map(len, STYLES.values()))} styles around no attack of training, {len(met)} of them in harmless rows")


if __name__ == "__main__":
    main()
