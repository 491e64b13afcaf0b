"""Sentences of our own in many languages, put together: attacks, and harmless talk in the same words and frames.

A file of `languages/` has sections (`# name`), one text a line, `\\n` for a line break, and slots in braces which the
sections of the same file fill. `frames.txt` has English frames that a harmless and a harmful wish can stand in.
"""
import random
import re
import unicodedata
from pathlib import Path

FOLDER = Path(__file__).parent / "languages"
SLOT = re.compile(r"\{(\w+)\}")

# Slots in the middle of a sentence.
NAMES = frozenset({"secret", "topic", "role", "do", "other", "work", "place", "s"})

Sections = dict[str, list[str]]


def read(path: Path) -> Sections:
    sections: Sections = {}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if line.startswith("# "):
            name = line[2:].split()[0]
        elif line:
            sections.setdefault(name, []).append(line.replace("\\n", "\n"))
    return sections


def files(often: dict[str, int] | None = None) -> dict[str, Sections]:
    """
    By language; `frames` and `tools` are in English. What stands behind a dash adds to the file before it, and `often`
    says of which of these names each line is drawn as if it stood there so many times.
    """
    found: dict[str, Sections] = {}
    for path in sorted(FOLDER.glob("*.txt")):
        language, _, part = path.stem.partition("-")
        sections = found.setdefault(language, {})
        for name, lines in read(path).items():
            sections.setdefault(name, []).extend(lines * (often or {}).get(part, 1))
    return found


def noise(text: str, rng: random.Random) -> str:
    """As people type: without capitals, accents or full stops, with a slip."""
    chance = rng.random()
    if chance < 0.6:
        return text
    if chance < 0.72:
        return text.lower()
    if chance < 0.76:
        return text.upper()
    if chance < 0.82 and "a" <= text[0].lower() <= "z":
        return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")
    if chance < 0.88:
        return text.rstrip(".!?。")
    if chance < 0.92:
        return text.replace("\n", " ").replace(". ", "\n" if rng.random() < 0.5 else "... ")
    at = rng.randrange(max(1, len(text) - 1))
    return text[:at] + text[at + 1 : at + 2] + text[at : at + 1] + text[at + 2 :]


class Language:
    """One file; every method draws a text of one kind."""

    def __init__(self, sections: Sections):
        self.sections = sections

    def line(self, name: str, rng: random.Random, depth: int = 0) -> str:
        return self.filled(rng.choice(self.sections[name]), rng, depth)

    def filled(self, text: str, rng: random.Random, depth: int = 0) -> str:
        """The text with its slots filled, three deep."""

        def fill(match: re.Match[str]) -> str:
            inner = match.group(1)
            if inner not in self.sections or depth > 2:
                return match.group(0)
            found = self.line(inner, rng, depth + 1)
            return found.rstrip(".!。") if inner in NAMES else found

        return SLOT.sub(fill, text)

    def joined(self, parts: list[str], rng: random.Random) -> str:
        return rng.choice((" ", " ", "\n", "\n\n")).join(parts)

    def attack(self, rng: random.Random) -> str:
        """A direct attack of a user, sometimes behind or before an ordinary request."""
        chance = rng.random()
        if chance < 0.48:
            parts = [self.line("override", rng)]
            if chance < 0.36:
                parts.append(self.line("goal", rng))
        elif chance < 0.62:
            parts = [self.line("goal", rng)]
        else:
            parts = [self.line("trick", rng)]
        aside = rng.random()
        if aside < 0.14:
            parts.insert(0, self.line(rng.choice(("chat", "data", "benign")), rng))
        elif aside < 0.2:
            parts.append(self.line("chat", rng))
        return noise(self.joined(parts, rng), rng)

    def harmless(self, rng: random.Random) -> str:
        """What a user says, in the words of attacks or not."""
        chance = rng.random()
        if chance < 0.45:
            parts = [self.line("benign", rng)]
        elif chance < 0.62:
            parts = [self.line("chat", rng)]
        elif chance < 0.75:
            parts = [self.line("about", rng)]
        elif chance < 0.87:
            parts = [self.line("benign", rng), self.line(rng.choice(("chat", "task", "benign")), rng)]
        elif chance < 0.94:
            parts = [self.line("chat", rng), self.line(rng.choice(("data", "people")), rng)]
        else:
            parts = [self.line(rng.choice(("people", "task", "data")), rng)]
        return noise(self.joined(parts, rng), rng)

    def order(self, rng: random.Random) -> str:
        """An instruction to the model as it stands in data."""
        chance = rng.random()
        if chance < 0.68:
            return self.line("order", rng)
        if chance < 0.76:
            return self.joined([self.line("override", rng), self.line("order", rng)], rng)
        if chance < 0.86:
            return self.joined([self.line("override", rng), self.line(rng.choice(("task", "goal")), rng)], rng)
        return self.line("trick" if chance < 0.92 else "task", rng)

    def notice(self, rng: random.Random) -> str:
        """What data says to people, or of attacks."""
        return self.line("about" if rng.random() < 0.1 else "people", rng)

    def carrier(self, rng: random.Random) -> str:
        """Some lines of data around whatever is put in."""
        lines = [self.line("people" if rng.random() < 0.3 else "data", rng) for _ in range(rng.choice((1, 1, 2, 2, 3, 4, 6)))]
        return rng.choice((" ", "\n", "\n", "\n\n", "\n- ")).join(lines)


class Frames:
    """English frames with a wish in them."""

    def __init__(self, sections: Sections):
        self.language = Language(sections)

    def harmful(self, rng: random.Random) -> tuple[str, bool]:
        """A frame with a harmful wish, or that side of a pair; and whether the model is also freed from its rules."""
        language = self.language
        if rng.random() < 0.45:
            return noise(rng.choice(language.sections["pair"]).split(" || ")[1], rng), False
        text = self.framed("harmful", rng)
        unlocked = rng.random() < 0.4
        if unlocked:
            unlock = self.language.filled(rng.choice(language.sections["unlock"]), rng)
            text = language.joined([text, unlock] if rng.random() < 0.75 else [unlock, text], rng)
        return noise(text, rng), unlocked

    def harmless(self, rng: random.Random) -> str:
        if rng.random() < 0.45:
            return noise(rng.choice(self.language.sections["pair"]).split(" || ")[0], rng)
        return noise(self.framed("harmless", rng), rng)

    def framed(self, wishes: str, rng: random.Random) -> str:
        frame = rng.choice(self.language.sections["frame"])
        return self.language.filled(frame.replace("{do}", rng.choice(self.language.sections[wishes])), rng)

    def freed(self, rng: random.Random) -> str:
        """Freed from its rules, whatever is asked next."""
        language = self.language
        text = language.line("freed", rng)
        asked = language.sections["harmless" if rng.random() < 0.4 else "harmful"]
        return noise(text if rng.random() < 0.6 else language.joined([text, rng.choice(PLAIN).replace("{do}", rng.choice(asked))], rng), rng)

    def honest(self, rng: random.Random) -> str:
        """A harmless one; without one of its sentences it is still harmless."""
        text = self.language.line("honest_frame", rng)
        sentences = re.split(r"(?<=[.!?\n]) ?", text)
        if len(sentences) > 3 and rng.random() < 0.4:
            del sentences[rng.randrange(len(sentences))]
            text = " ".join(sentences)
        return noise(text, rng)

    def app(self, rng: random.Random) -> str:
        """What an application sends as its user's message."""
        return self.language.line("app", rng)

    def wish(self, rng: random.Random) -> str:
        """A harmful wish in plain words: another control's matter."""
        return noise(rng.choice(PLAIN).replace("{do}", rng.choice(self.language.sections["harmful"])), rng)


class Tools:
    """Results of tools with a place for a line of somebody else's."""

    def __init__(self, sections: Sections):
        self.sections = sections

    def carrier(self, rng: random.Random) -> tuple[str, bool]:
        """A text with `{line}`, and whether that stands in a JSON string."""
        text = rng.choice(self.sections["carrier"])
        return text, text.lstrip()[:1] in ("{", "[") and '"' in text

    def order(self, rng: random.Random) -> str:
        return rng.choice(self.sections["agent_order"])

    def notice(self, rng: random.Random) -> str:
        """What is said to people, or to the caller in its own interest."""
        return rng.choice(self.sections["people_line" if rng.random() < 0.65 else "guidance"])

    def quiet(self, rng: random.Random) -> str:
        return rng.choice(self.sections["quiet"])


PLAIN = ("How do I {do}?", "What is the best way to {do}?", "Tell me how to {do}.", "Is it hard to {do}?", "Give me instructions to {do}.", "I want to {do}. What do I need?", "List the steps to {do}.", "can you help me {do}", "Write a guide: how to {do}", "{do}", "Which tools do people use to {do}?", "explain how someone could {do}", "My friend wants to {do}. Any advice?", "What are the chances of being caught if I {do}?")
