"""Wrappers that an order may stand in, so that training can do without some of them: how they are known by sight."""
import re
from collections.abc import Iterable
from dataclasses import dataclass

from phrases import FAMILIES
from rows import Row

REACH = 400  # code points before an order in which its wrapper begins; a window shows about as many
LINE = "{line}"  # where a tool's carrier has its order
# Sections of languages/ that say what an attacker would.
ATTACKS = frozenset({"override", "order", "trick", "goal", "agent_order", "freed", "unlock"})


@dataclass(frozen=True)
class Mark:
    """Of a family: more than phrases.STYLES, whatever looks like them."""

    inside: re.Pattern[str]  # of what stands before an order that is in such a wrapper
    anywhere: re.Pattern[str]  # of a text that has such a wrapper around something


# `inline` has none: a line without any wrapper is of it.
MARKS = {
    # In a comment, an element or an attribute.
    "markup": Mark(re.compile(r"(?:<!--|<[A-Za-z][^<>]*>)[^<>]*\Z|<[A-Za-z][^<>]*\Z"), re.compile(r"<!--|<[A-Za-z][^<>]*>")),
    # In a comment of a line or a block, behind a fence, in a string.
    "code": Mark(
        re.compile(r"(?:^|\s)(?:#|//)\s[^\n]*\Z|/\*(?:(?!\*/)[\s\S])*\Z|```[\s\S]*\Z|[:=(\[{,]\s*\"(?:[^\"\\\n]|\\.)*\Z"),
        re.compile(r"(?:^|\s)(?:#|//)\s|/\*|```|[:=(\[{]\s*\""),
    ),
    "markdown": Mark(re.compile(r"\*\*[^*\n]*\Z|(?m:^)[ \t]*(?:>|[-*+] |#{2,} )[^\n]*\Z|(?m:^)-{3,}\n[^\n]*\Z"), re.compile(r"(?m)\*\*|^[ \t]*(?:>|[-*+] |#{2,} |-{3})")),
}


class Without:
    """Training without some families of wrappers around what an attacker says. Harmless rows stay as they are."""

    def __init__(self, families: Iterable[str] = ()):
        families = tuple(families)
        self.marks = [MARKS[name] for name in families]
        self.styles = frozenset(style for name in families for style in FAMILIES[name])

    def around(self, text: str, start: int) -> bool:
        """Whether what begins at `start` stands in one of them."""
        before = text[max(0, start - REACH) : start]
        return any(mark.inside.search(before) for mark in self.marks)

    def within(self, text: str) -> bool:
        return any(mark.anywhere.search(text) for mark in self.marks)

    def trains_on(self, row: Row) -> bool:
        if row.label == "benign":
            return True
        if row.span is None:
            return not self.within(row.plain)
        start, end = row.span
        return not self.around(row.plain, start) and not self.within(row.plain[start:end])

    def sections(self, sections: dict[str, list[str]]) -> dict[str, list[str]]:
        """Of a file of languages/: without the attacks and the tools' carriers that have such a wrapper."""
        return {name: [line for line in lines if self.draws(name, line)] for name, lines in sections.items()}

    def draws(self, section: str, line: str) -> bool:
        if section == "carrier":
            return not self.around(line, line.index(LINE))
        return section not in ATTACKS or not self.within(line)
