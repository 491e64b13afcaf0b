"""One pass of training: which windows, with which answers, in which order. A function of the rows and the seed alone.

The rows are drawn so that language and length say nothing about the label; carriers are drawn for both labels, with an
order to the model in one and a harmless line in the same wrapping in the other.
"""
import json
import math
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import phrases
from pieces import Window, tokenizer, windows_of
from rows import Row, training_rows

UNKNOWN = -1  # of a head that this row says nothing about
# Written in a way that only the decoded reading shows.
UNREADABLE = frozenset({"base64", "hex", "url", "rot13", "emoji_smuggle", "unicode_tags", "spaced"})
OVERRIDES = frozenset({"override", "extract", "secret", "persona", "persona_long", "suffix"})
# Conversations of strangers whose labels nobody read: attacks are among them.
UNREAD = frozenset({"wildchat", "oasst2", "ultrachat", "awesome-chatgpt-prompts", "prompts.chat book"})
BAG = 5  # windows of one attack whose place is not known


@dataclass
class Bag:
    """Windows that share one answer: of an attack without a place at least one window has it."""

    windows: list[tuple[int, ...]]
    slot: str
    direct: int
    embedded: int
    weight: float
    origin: str


@dataclass
class Mix:
    """Shares of one pass, and how rows of a kind are preferred."""

    bags: int = 40_000
    shares: dict[str, float] = field(default_factory=lambda: {
        "user_benign": 0.26, "user_direct": 0.17, "data_benign": 0.14, "data_embedded": 0.11, "woven": 0.18, "phrases": 0.14})
    prefer: dict[str, float] = field(default_factory=lambda: {
        "trigger_words": 2.0, "about_attacks": 2.5, "fiction_frame": 2.5, "plain_harmful_request": 3.5, "roleplay": 1.5, "persona_prompt": 1.5, "persona_long": 2.0,
        "agent_request": 1.0, "user+document": 0.7, "mail": 1.5, "agent_docs": 4.0, "payload_splitting": 2.0, "generated_roleplay": 0.6, "safety_goal_hijacking": 0.7})


def group_of(row: Row) -> str:
    place = "user" if row.slot == "user" else "data"
    return f"{place}_{'benign' if row.label == 'benign' else 'direct' if row.label == 'direct' else 'embedded'}"


def hardness(label: str, score: float, source: str) -> float:
    """How much more a row is worth that the run before judged so. What looks wrong beyond doubt may be labelled wrong."""
    if label != "benign":
        return 0.4 if score > 0.95 else 1.0 if score > 0.5 else 2.5 if score > 0.05 else 1.5
    if score > 0.9:
        return 0.7 if source in UNREAD else 4.0
    return 5.0 if score > 0.2 else 2.0 if score > 0.03 else 0.35


def preference(row: Row, mix: Mix, scores: dict[str, float]) -> float:
    weight = mix.prefer.get(row.kind, 1.0)
    if row.label == "benign" and row.kind.startswith("safety_"):
        weight *= 2  # dark subjects without an attack
    if row.id in scores:
        weight *= hardness(row.label, scores[row.id], row.source)
    if row.kind.startswith("mail") and row.kind != "mail":
        weight *= 1.3
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


class Composer:
    def __init__(self, mix: Mix, seed: int, scores: dict[str, float] | None = None, triggers: dict[str, list[str]] | None = None):
        """`scores` of training rows and `triggers` of each slot, both by the run before."""
        self.mix = mix
        self.scores = scores or {}
        self.triggers = triggers or {}
        self.trigger_sets = {slot: frozenset(words) for slot, words in self.triggers.items()}
        self.rng = random.Random(seed)
        self.tokenizer = tokenizer()
        self.groups: dict[str, list[Row]] = defaultdict(list)
        for row in training_rows():
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
        bags = [Bag([w.ids], row.slot, 0, 0, 1.0, row.id) for w in picked]
        if row.hidden:
            hidden = self.rng.choice(row.hidden)
            bags.append(Bag([self.rng.choice(self.cut(hidden.text)).ids], "hidden", 0, 0, 1.0, row.id))
        return bags

    def attack(self, row: Row) -> list[Bag]:
        direct = 1 if row.label == "direct" or row.family in OVERRIDES else UNKNOWN
        embedded = 1 if row.label == "embedded" else UNKNOWN
        weight = 0.5 if row.weak else 1.0
        bags: list[Bag] = []
        shown = [h for h in row.hidden if h.share >= 0.8] if row.span else ([max(row.hidden, key=lambda h: len(h.text))] if row.hidden and row.transform in UNREADABLE else [])
        if shown:
            windows = self.cut(shown[-1].text)
            bags.append(Bag([w.ids for w in windows[:BAG]], "hidden", direct, embedded, weight, row.id))
        if row.transform in UNREADABLE:
            return bags
        windows = self.cut(row.plain)
        if row.span is None:
            if len(windows) > BAG:
                windows = [windows[0], *self.rng.sample(windows[1:], BAG - 1)]
            return [*bags, Bag([w.ids for w in windows], row.slot, direct, embedded, weight, row.id)]
        start, end = row.span
        covering = [w for w in windows if min(w.end, end) - max(w.start, start) >= min(0.6 * (end - start), 160)]
        if covering:
            bags.append(Bag([self.rng.choice(covering).ids], row.slot, direct, embedded, weight, row.id))
        else:
            touching = [w for w in windows if w.start < end and w.end > start]
            bags.append(Bag([w.ids for w in touching[:BAG]], row.slot, direct, embedded, weight, row.id))
        clean = [w for w in windows if w.end <= start or w.start >= end]
        if clean and self.rng.random() < 0.5:
            bags.append(Bag([self.rng.choice(clean).ids], row.slot, 0, 0, 1.0, row.id))
        return bags

    # -- carriers with an order, and with a harmless line --------------------------------------------------------------

    def placed(self, carrier: str, line: str, style: str) -> tuple[str, int, int]:
        """The line in the carrier, between two lines or two sentences, and where it stands."""
        if style == "caps":
            line = line.upper()
        if style == "json":
            line = json.dumps(line, ensure_ascii=False)[1:-1]
        wrapped = phrases.STYLES[style].replace("{}", line)
        breaks = [i + 1 for i, c in enumerate(carrier) if c == "\n" or (c in ".!?。" and carrier[i + 1 : i + 2] in (" ", "", "\n"))]
        where = self.rng.random()
        at = 0 if where < 0.12 else len(carrier) if where < 0.3 or not breaks else self.rng.choice(breaks)
        if style == "bare":
            wrapped = f" {wrapped} "
        text = carrier[:at] + wrapped + carrier[at:]
        inside = text.index(line, at)
        return text, inside, inside + len(line)

    def woven(self, row: Row) -> list[Bag]:
        carrier = row.plain
        if len(carrier) > 1_200:
            lines = carrier.splitlines(keepends=True)
            start = self.rng.randrange(max(1, len(lines)))
            carrier = "".join(lines[start:])[:1_200]
        style = self.rng.choice(list(phrases.STYLES))
        order = self.order_for()
        bags = []
        for line, answer in ((order, 1), (self.neighbour_for(row), 0)):
            text, start, end = self.placed(carrier, line, style)
            windows = [w for w in self.cut(text) if min(w.end, end) - max(w.start, start) >= min(0.6 * (end - start), 160)]
            if not windows:
                continue
            window = self.rng.choice(windows)
            bags.append(Bag([window.ids], row.slot, 0 if answer == 0 else UNKNOWN, answer, 1.0, f"{row.id}+{style}"))
            if style == "comment" or self.rng.random() < 0.06:
                bags.append(Bag([self.cut(line)[0].ids], "hidden", 0 if answer == 0 else UNKNOWN, answer, 1.0, f"{row.id}+hidden"))
        return bags

    def spoken(self) -> list[Bag]:
        """A phrase alone, in the user's slot or as a short piece of data."""
        rng = self.rng
        if self.triggers and rng.random() < 0.3:
            slot = rng.choice(("user", "user", "tool", "document", "hidden"))
            words = self.triggers["user" if slot == "user" else "document"]
            return [Bag([self.cut(phrases.around(words, rng))[0].ids], slot, 0, 0, 1.0, "phrases/around")] if words else []
        where = rng.random()
        if where < 0.11:
            return [Bag([self.cut(phrases.honest(rng))[0].ids], "user", 0, 0, 1.0, "phrases/honest")]
        if where < 0.28:
            harmful = rng.random() < 0.45
            return [Bag([self.cut(phrases.framed(harmful, rng))[0].ids], "user", int(harmful), UNKNOWN if harmful else 0, 1.0, "phrases/framed")]
        if where < 0.35:
            return [Bag([self.cut(phrases.plain_wish(rng))[0].ids], "user", 0, 0, 1.0, "phrases/plain")]
        if where < 0.62:
            return [Bag([self.cut(phrases.user_harmless(rng))[0].ids], "user", 0, 0, 1.0, "phrases/user")]
        if where < 0.74:
            return [Bag([self.cut(phrases.user_attack(rng))[0].ids], "user", 1, UNKNOWN, 1.0, "phrases/user_attack")]
        slot = rng.choice(("tool", "document", "hidden"))
        if where < 0.87:
            return [Bag([self.cut(phrases.neighbour(rng))[0].ids], slot, 0, 0, 1.0, "phrases/neighbour")]
        return [Bag([self.cut(phrases.order(rng))[0].ids], slot, UNKNOWN, 1, 1.0, "phrases/order")]

    def compose(self) -> list[Bag]:
        factors = balanced(self.groups)
        bags: list[Bag] = []

        def take(group: str, share: float, make) -> None:
            rows = self.groups[group]
            weights = [preference(row, self.mix, self.scores) * self.tempting(row) * factors[group][cell_of(row)] for row in rows]
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
        for _ in range(int(self.mix.bags * shares["phrases"])):
            bags.extend(self.spoken())
        bags = [bag for bag in bags if any(len(ids) > 0 for ids in bag.windows)]
        self.rng.shuffle(bags)
        return bags


def summary(bags: list[Bag]) -> str:
    counted = Counter((bag.slot, "attack" if 1 in (bag.direct, bag.embedded) else "benign") for bag in bags)
    windows = sum(len(bag.windows) for bag in bags)
    tokens = sum(len(ids) for bag in bags for ids in bag.windows)
    parts = ", ".join(f"{slot} {label} {n}" for (slot, label), n in sorted(counted.items()))
    return f"{len(bags)} bags, {windows} windows, {tokens / max(1, windows):.0f} tokens a window: {parts}"
