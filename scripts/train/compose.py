"""Chunks of training: which windows, with which answers. A function of the rows and the seed alone.

    python compose.py --chunks N [--bags N] [--seed N] [--workers N] [--debias RUN] [--without FAMILY,...]
                                                                                         -> chunks/SEED-000.npz ...

The rows are drawn so that language and length say nothing about the label; carriers are drawn for both labels, with an
order to the model in one and a harmless line in the same wrapping in the other.
"""
import argparse
import json
import math
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import languages
import phrases
from backbone import SLOTS
from pieces import Window, tokenizer, windows_of
from place import CHUNKS, RUNS
from rows import Row, training_rows
from wrappers import MARKS, Without

UNKNOWN = -1  # of a head that this row says nothing about
HARMLESS = (0, 0, 0)
# What HEADS say of what: to drop or give away what the model was told; a harmful wish in a frame that only coaxes; what
# frees the model, often in so many words; an order inside data.
OVERRIDE, COAXED, FREED, EMBEDDED = (1, UNKNOWN, UNKNOWN), (0, UNKNOWN, 1), (UNKNOWN, UNKNOWN, 1), (UNKNOWN, 1, UNKNOWN)
# Written in a way that only the decoded reading shows.
UNREADABLE = frozenset({"base64", "hex", "url", "rot13", "emoji_smuggle", "unicode_tags", "spaced"})
OVERRIDES = frozenset({"override", "extract", "secret", "override_extract", "manipulate"})
# Rows without a family: these tell the model to drop its task, those only wrap a wish.
HIJACKS = frozenset({"CyberSecEval prompt injection", "Giskard prompt-injections", "langkit themes", "spikee 2025 seeds"})
COAXING = frozenset({"fiction_frame", "generated_roleplay", "attack_inception", "attack_pair", "attack_TAP", "attack_rene", "safety_role_play_instruction", "template_Poems"})
BAG = 5  # windows of one attack whose place is not known


@dataclass
class Bag:
    """Windows that share one answer: of an attack without a place at least one window has it."""

    windows: list[tuple[int, ...]]
    slot: str
    answers: tuple[int, int, int]  # of HEADS, each 0, 1 or UNKNOWN
    weight: float
    origin: str


@dataclass
class Mix:
    """Shares of one pass, and how rows of a kind are preferred."""

    bags: int = 40_000
    shares: dict[str, float] = field(default_factory=lambda: {
        "user_benign": 0.20, "user_direct": 0.13, "data_benign": 0.12, "data_embedded": 0.07, "woven": 0.11, "phrases": 0.05, "tongues": 0.17, "frames": 0.10, "tools": 0.06})
    often: dict[str, int] = field(default_factory=dict)  # files of our own sentences, by what stands behind the dash: drawn so many times as often
    prefer: dict[str, float] = field(default_factory=lambda: {
        "trigger_words": 2.0, "about_attacks": 2.5, "fiction_frame": 2.5, "plain_harmful_request": 3.5, "roleplay": 1.5, "persona_prompt": 1.5, "persona_long": 2.0,
        "agent_request": 1.0, "user+document": 0.7, "mail": 1.5, "agent_docs": 4.0, "payload_splitting": 2.0, "generated_roleplay": 0.6, "safety_goal_hijacking": 0.7})


def group_of(row: Row) -> str:
    place = "user" if row.slot == "user" else "data"
    return f"{place}_{'benign' if row.label == 'benign' else 'direct' if row.label == 'direct' else 'embedded'}"


def answers_of(row: Row) -> tuple[int, int, int]:
    """Of an attack."""
    if row.label == "embedded":
        return (1 if row.family in OVERRIDES else UNKNOWN, 1, UNKNOWN)
    if row.family in OVERRIDES or row.source in HIJACKS or row.kind == "safety_goal_hijacking":
        return OVERRIDE
    if row.source == "Prompt-Injection-Firewall benchmark" and row.kind != "jailbreak":
        return OVERRIDE
    return COAXED if row.kind in COAXING or row.family == "fiction_frame" or row.source == "DeepInception" else FREED


def preference(row: Row, mix: Mix) -> float:
    weight = mix.prefer.get(row.kind, 1.0)
    if row.label == "benign" and row.kind.startswith("safety_"):
        weight *= 2  # dark subjects without an attack
    if row.kind.startswith("mail") and row.kind != "mail":
        weight *= 1.3
    if row.label == "benign" and row.slot != "user" and (row.source == "prompts.chat book" or row.lang in ("tl", "zh", "ko", "vi")):
        weight *= 2.5
    if row.label == "benign" and row.hidden:
        weight *= 3  # decoded readings of attacks are many, of harmless lines few
    if row.weak:
        weight *= 0.1
    elif row.source.startswith("llmail"):
        weight *= 0.45
    return weight


def cell_of(row: Row) -> tuple[str, int]:
    """Language class and length class: what must not tell the label."""
    tongue = row.lang if row.lang == "en" else row.script
    length = len(row.plain)
    return tongue, 0 if length < 120 else 1 if length < 450 else 2


def balanced(groups: dict[str, list[Row]]) -> dict[str, dict[tuple[str, int], float]]:
    """For each group and cell the factor that gives every group of a slot the same mixture."""
    factors: dict[str, dict[tuple[str, int], float]] = {}
    for place in ("user", "data"):
        names = [name for name in groups if name.startswith(place)]
        shares = {name: Counter(cell_of(row) for row in groups[name]) for name in names}
        for name in names:
            total = sum(shares[name].values()) or 1
            factors[name] = {}
            for cell in {cell for counted in shares.values() for cell in counted}:
                want = sum(shares[other][cell] / (sum(shares[other].values()) or 1) for other in names) / len(names)
                have = shares[name][cell] / total
                factors[name][cell] = min(4.0, max(0.25, want / have)) if have else 1.0
    return factors


def drawn(rows: list[Row], weights: list[float], count: int, rng: random.Random) -> list[Row]:
    """Weighted, without repetition while there are enough rows."""
    keys = sorted(((-math.log(1 - rng.random())) / w, i) for i, w in enumerate(weights) if w > 0)
    return [rows[i] for _, i in keys[:count]]


def carrier_of(row: Row, rng: random.Random) -> str:
    """Some lines of a long text; a short one as it is."""
    if len(row.plain) <= 1_200:
        return row.plain
    lines = row.plain.splitlines(keepends=True)
    return "".join(lines[rng.randrange(len(lines)) :])[:1_200]


def place_in(carrier: str, rng: random.Random) -> int:
    """At either end, or between two lines or two sentences."""
    breaks = [i + 1 for i, c in enumerate(carrier) if c == "\n" or (c in ".!?。" and carrier[i + 1 : i + 2] in (" ", "", "\n"))]
    where = rng.random()
    return 0 if where < 0.12 else len(carrier) if where < 0.3 or not breaks else rng.choice(breaks)


class Composer:
    def __init__(self, mix: Mix, seed: int, rows: Iterable[Row], triggers: dict[str, list[str]] | None = None, without: Without = Without()):
        """`triggers` of each slot: words that the run before took for attacks when they stood alone."""
        self.mix = mix
        self.without = without
        self.styles = [style for style in phrases.STYLES if style not in without.styles]
        self.triggers = triggers or {}
        self.trigger_sets = {slot: frozenset(words) for slot, words in self.triggers.items()}
        self.rng = random.Random(seed)
        self.tokenizer = tokenizer()
        self.groups: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            self.groups[group_of(row)].append(row)
        self.orders = [
            row.plain[row.span[0] : row.span[1]]
            for row in self.groups["data_embedded"]
            if row.span and not row.weak and row.transform not in UNREADABLE and 15 <= row.span[1] - row.span[0] <= 600
        ]
        self.requests = [
            row.plain for row in self.groups["user_benign"]
            if row.source in ("BFCL v4 requests", "self-instruct seeds") and 15 <= len(row.plain) <= 220
        ]
        self.lines = self.bystanders()
        every = {name: without.sections(sections) for name, sections in languages.files(mix.often).items()}
        self.frames = languages.Frames(every.pop("frames"))
        self.tools = languages.Tools(every.pop("tools"))
        self.tongues = {code: languages.Language(sections) for code, sections in every.items()}

    def tempting(self, row: Row) -> float:
        """Harmless rows with several of the words that alone were taken for attacks."""
        if row.label != "benign" or not self.triggers:
            return 1.0
        words = self.trigger_sets["user" if row.slot == "user" else "document"]
        hits = sum(word.strip(".,:;!?\"'()[]") in words for word in row.plain[:1_500].split())
        return 1.0 + min(4, hits) / 2

    def bystanders(self) -> dict[str, list[str]]:
        """By script, lines of harmless data: put into a carrier they are as foreign to it as an order, and no order."""
        found: dict[str, list[str]] = defaultdict(list)
        for row in self.groups["data_benign"]:
            lines = [line.strip() for line in row.plain[:2_000].split("\n")]
            lines = [line for line in lines if 20 <= len(line) <= 260]
            if lines:
                found[row.script].append(self.rng.choice(lines))
        return found

    def order_for(self) -> str:
        """An order to the model: of the data, of ours, or somebody's plain request, foreign where it stands."""
        where = self.rng.random()
        if where < 0.55:
            return self.rng.choice(self.orders)
        return phrases.order(self.rng) if where < 0.92 else self.rng.choice(self.requests)

    def neighbour_for(self, row: Row) -> str:
        lines = self.lines.get(row.script)
        return self.rng.choice(lines) if lines and self.rng.random() < 0.5 else phrases.neighbour(self.rng)

    def cut(self, text: str) -> list[Window]:
        encoding = self.tokenizer.encode(text, add_special_tokens=False)
        return windows_of(encoding.ids, encoding.offsets)

    # -- rows as they are -------------------------------------------------------------------------------------------

    def benign(self, row: Row) -> list[Bag]:
        windows = self.cut(row.plain)
        picked = windows if len(windows) <= 2 else self.rng.sample(windows, 2)
        bags = [Bag([w.ids], row.slot, HARMLESS, 1.0, row.id) for w in picked]
        if row.hidden:
            hidden = self.rng.choice(row.hidden)
            bags.append(Bag([self.rng.choice(self.cut(hidden.text)).ids], "hidden", HARMLESS, 1.0, row.id))
        return bags

    def attack(self, row: Row) -> list[Bag]:
        answers = answers_of(row)
        weight = 0.5 if row.weak else 1.0
        bags: list[Bag] = []
        shown = [h for h in row.hidden if h.share >= 0.8] if row.span else ([max(row.hidden, key=lambda h: len(h.text))] if row.hidden and row.transform in UNREADABLE else [])
        if shown:
            windows = self.cut(shown[-1].text)
            bags.append(Bag([w.ids for w in windows[:BAG]], "hidden", answers, weight, row.id))
        if row.transform in UNREADABLE:
            return bags
        windows = self.cut(row.plain)
        if row.span is None:
            if len(windows) > BAG:
                windows = [windows[0], *self.rng.sample(windows[1:], BAG - 1)]
            return [*bags, Bag([w.ids for w in windows], row.slot, answers, weight, row.id)]
        start, end = row.span
        covering = [w for w in windows if min(w.end, end) - max(w.start, start) >= min(0.6 * (end - start), 160)]
        if covering:
            bags.append(Bag([self.rng.choice(covering).ids], row.slot, answers, weight, row.id))
        else:
            touching = [w for w in windows if w.start < end and w.end > start]
            bags.append(Bag([w.ids for w in touching[:BAG]], row.slot, answers, weight, row.id))
        clean = [w for w in windows if w.end <= start or w.start >= end]
        if clean and self.rng.random() < 0.5:
            bags.append(Bag([self.rng.choice(clean).ids], row.slot, HARMLESS, 1.0, row.id))
        return bags

    # -- carriers with an order, and with a harmless line --------------------------------------------------------------

    def placed(self, carrier: str, line: str, style: str) -> tuple[str, int, int]:
        """The line in the carrier and where it stands."""
        line, wrapped = phrases.wrapped(line, style)
        at = place_in(carrier, self.rng)
        text = carrier[:at] + wrapped + carrier[at:]
        inside = text.index(line, at)
        return text, inside, inside + len(line)

    def woven(self, row: Row) -> list[Bag]:
        carrier = carrier_of(row, self.rng)
        style = self.rng.choice(self.styles)
        order = self.order_for()
        bags: list[Bag] = []
        for line, answers in ((order, EMBEDDED), (self.neighbour_for(row), HARMLESS)):
            text, start, end = self.placed(carrier, line, style)
            bags += self.covering(text, start, end, row.slot, answers, f"{row.id}+{style}")
            if style == "comment" or self.rng.random() < 0.06:
                bags.append(Bag([self.cut(line)[0].ids], "hidden", answers, 1.0, f"{row.id}+hidden"))
        return bags

    def covering(self, text: str, start: int, end: int, slot: str, answers: tuple[int, int, int], origin: str) -> list[Bag]:
        """A window that shows most of `[start, end)`; none of what stands in a wrapper that training does without."""
        if self.without.around(text, start):
            return []
        windows = [w for w in self.cut(text) if min(w.end, end) - max(w.start, start) >= min(0.6 * (end - start), 160)]
        return [Bag([self.rng.choice(windows).ids], slot, answers, 1.0, origin)] if windows else []

    def spoken(self) -> list[Bag]:
        """A phrase alone, in the user's slot or as a short piece of data."""
        rng = self.rng
        if self.triggers and rng.random() < 0.3:
            slot = rng.choice(("user", "user", "tool", "document", "hidden"))
            words = self.triggers["user" if slot == "user" else "document"]
            return [Bag([self.cut(phrases.around(words, rng))[0].ids], slot, HARMLESS, 1.0, "phrases/around")] if words else []
        where = rng.random()
        if where < 0.11:
            return [Bag([self.cut(phrases.honest(rng))[0].ids], "user", HARMLESS, 1.0, "phrases/honest")]
        if where < 0.28:
            harmful = rng.random() < 0.45
            return [Bag([self.cut(phrases.framed(harmful, rng))[0].ids], "user", FREED if harmful else HARMLESS, 1.0, "phrases/framed")]
        if where < 0.35:
            return [Bag([self.cut(phrases.plain_wish(rng))[0].ids], "user", HARMLESS, 1.0, "phrases/plain")]
        if where < 0.62:
            return [Bag([self.cut(phrases.user_harmless(rng))[0].ids], "user", HARMLESS, 1.0, "phrases/user")]
        if where < 0.74:
            return [Bag([self.cut(phrases.user_attack(rng))[0].ids], "user", OVERRIDE, 1.0, "phrases/user_attack")]
        slot = rng.choice(("tool", "document", "hidden"))
        if where < 0.87:
            return [Bag([self.cut(phrases.neighbour(rng))[0].ids], slot, HARMLESS, 1.0, "phrases/neighbour")]
        return [Bag([self.cut(phrases.order(rng))[0].ids], slot, EMBEDDED, 1.0, "phrases/order")]

    # -- sentences of our own in many languages, and frames -------------------------------------------------------------

    def one(self, text: str, slot: str, answers: tuple[int, int, int], origin: str) -> list[Bag]:
        windows = self.cut(text)
        return [Bag([w.ids for w in windows[:BAG]], slot, answers, 1.0, origin)]

    def tongue(self) -> list[Bag]:
        rng = self.rng
        code = rng.choice([*self.tongues, "en", "en"])
        speaker = self.tongues[code]
        where = rng.random()
        if where < 0.26:
            return self.one(speaker.attack(rng), "user", OVERRIDE, f"{code}/attack")
        if where < 0.54:
            return self.one(speaker.harmless(rng), "user", HARMLESS, f"{code}/harmless")
        slot = rng.choice(("tool", "document", "tool", "document", "hidden"))
        if where < 0.6:
            return self.one(speaker.order(rng), slot, EMBEDDED, f"{code}/order")
        if where < 0.68:
            return self.one(rng.choice((speaker.notice, speaker.carrier, speaker.harmless))(rng), slot, HARMLESS, f"{code}/notice")
        carrier, style = speaker.carrier(rng), rng.choice(self.styles)
        # An order may be in another language than the data around it, and so may a harmless line.
        teller = speaker if rng.random() < 0.85 else self.tongues[rng.choice(list(self.tongues))]
        bags: list[Bag] = []
        for line, answers in ((teller.order(rng), EMBEDDED), (teller.notice(rng), HARMLESS)):
            text, start, end = self.placed(carrier, line, style)
            bags += self.covering(text, start, end, slot, answers, f"{code}/{style}")
        return bags

    def frame(self) -> list[Bag]:
        rng, frames = self.rng, self.frames
        where = rng.random()
        if where < 0.24:
            text, unlocked = frames.harmful(rng)
            return self.one(text, "user", FREED if unlocked else COAXED, "frames/harmful")
        if where < 0.3:
            return self.one(frames.freed(rng), "user", FREED, "frames/freed")
        if where < 0.52:
            return self.one(frames.harmless(rng), "user", HARMLESS, "frames/harmless")
        if where < 0.84:
            return self.one(frames.honest(rng), "user", HARMLESS, "frames/honest")
        if where < 0.95:
            # A system message that nobody pinned stands as a document.
            return self.one(frames.app(rng), "user" if rng.random() < 0.75 else "document", HARMLESS, "frames/app")
        return self.one(frames.wish(rng), "user", HARMLESS, "frames/wish")

    def tool(self) -> list[Bag]:
        """A tool's result with an order in it and the same one with a harmless line, or one that is only long and dry."""
        rng = self.rng
        slot = rng.choice(("tool", "tool", "tool", "document"))
        if rng.random() < 0.2:
            return self.one(self.tools.quiet(rng), slot, HARMLESS, "tools/quiet")
        carrier, quoted = self.tools.carrier(rng)
        tongue = self.tongues[rng.choice(list(self.tongues))]
        teller = self.tools if rng.random() < 0.75 else tongue
        orders = (teller.order(rng) if rng.random() < 0.85 else self.order_for(), EMBEDDED)
        bags: list[Bag] = []
        for line, answers in (orders, (teller.notice(rng), HARMLESS)):
            line = json.dumps(line, ensure_ascii=False)[1:-1] if quoted else line
            start = carrier.index("{line}")
            text = carrier.replace("{line}", line, 1)
            bags += self.covering(text, start, start + len(line), slot, answers, "tools")
        return bags

    def compose(self) -> list[Bag]:
        factors = balanced(self.groups)
        bags: list[Bag] = []

        def take(group: str, share: float, make) -> None:
            rows = self.groups[group]
            weights = [preference(row, self.mix) * self.tempting(row) * factors[group][cell_of(row)] for row in rows]
            budget = int(self.mix.bags * share)
            made = 0
            for row in drawn(rows, weights, len(rows), self.rng):
                new = make(row)
                bags.extend(new)
                made += len(new)
                if made >= budget:
                    break

        shares = self.mix.shares
        take("user_benign", shares["user_benign"], self.benign)
        take("user_direct", shares["user_direct"], self.attack)
        take("data_benign", shares["data_benign"], self.benign)
        take("data_embedded", shares["data_embedded"] * 0.9, self.attack)
        take("user_embedded", shares["data_embedded"] * 0.1, self.attack)
        take("data_benign", shares["woven"], self.woven)
        for make, share in ((self.spoken, "phrases"), (self.tongue, "tongues"), (self.frame, "frames"), (self.tool, "tools")):
            for _ in range(int(self.mix.bags * shares[share])):
                bags.extend(make())
        bags = [bag for bag in bags if any(len(ids) > 0 for ids in bag.windows)]
        self.rng.shuffle(bags)
        return bags


def summary(bags: list[Bag]) -> str:
    counted = Counter((bag.slot, "attack" if 1 in bag.answers else "benign") for bag in bags)
    windows = sum(len(bag.windows) for bag in bags)
    tokens = sum(len(ids) for bag in bags for ids in bag.windows)
    parts = ", ".join(f"{slot} {label} {n}" for (slot, label), n in sorted(counted.items()))
    return f"{len(bags)} bags, {windows} windows, {tokens / max(1, windows):.0f} tokens a window: {parts}"


def write(bags: list[Bag], path: Path) -> None:
    """Flat arrays; in place by one rename."""
    windows = [(i, ids) for i, bag in enumerate(bags) for ids in bag.windows]
    arrays = {
        "ids": np.fromiter((piece for _, ids in windows for piece in ids), dtype=np.uint16),
        "lengths": np.array([len(ids) for _, ids in windows], dtype=np.uint8),
        "owners": np.array([i for i, _ in windows], dtype=np.int32),
        "slots": np.array([SLOTS.index(bag.slot) for bag in bags], dtype=np.uint8),
        "answers": np.array([bag.answers for bag in bags], dtype=np.int8),
        "weights": np.array([bag.weight for bag in bags], dtype=np.float32),
    }
    beside = path.with_suffix(".tmp")
    with open(beside, "wb") as out:
        np.savez(out, **arrays)
    beside.rename(path)


def path_of(seed: int, number: int) -> Path:
    return CHUNKS / f"{seed}-{number:03}.npz"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--bags", type=int, default=24_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--debias", help="a run whose trigger words to put into harmless sentences")
    parser.add_argument("--without", default="", help=f"wrappers that no attack is to stand in: of {', '.join(MARKS)}, by commas")
    parser.add_argument("--share", action="append", default=[], help="NAME=SHARE instead of Mix's; may be repeated")
    parser.add_argument("--often", action="append", default=[], help="NAME=TIMES: lines of languages/*-NAME.txt are drawn so many times as often; may be repeated")
    arguments = parser.parse_args()
    mix = Mix(bags=arguments.bags)
    mix.shares |= {name: float(share) for name, share in (pair.split("=") for pair in arguments.share)}
    mix.often |= {name: int(times) for name, times in (pair.split("=") for pair in arguments.often)}
    triggers = {}
    if arguments.debias:
        found = json.loads((RUNS / arguments.debias / "triggers.json").read_text())
        triggers = {slot: [word for word, _ in pairs] for slot, pairs in found.items()}
    CHUNKS.mkdir(parents=True, exist_ok=True)
    without = Without(filter(None, arguments.without.split(",")))
    rows = list(filter(without.trains_on, training_rows()))
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

    def make(number: int) -> None:
        path = path_of(arguments.seed, number)
        if path.exists():
            return
        bags = Composer(mix, arguments.seed * 1_000 + number, rows, triggers, without).compose()
        write(bags, path)
        print(f"{path.name}: {summary(bags)}", flush=True)

    # Forked: the rows are read once and shared.
    children = []
    for worker in range(arguments.workers):
        child = os.fork()
        if child == 0:
            for number in range(worker, arguments.chunks, arguments.workers):
                make(number)
            os._exit(0)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1] != 0]
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
