"""Wrappers that an order may stand in, and how they are known: those that training can do without, and others that it
has never had around an attack.
"""
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


SLACK = 8  # code points that a mark may be farther from an attack than in its style

# Of no attack in training, by family: how a line stands, and what the wrapper is known by around any other.
STYLES: dict[str, dict[str, tuple[str, str]]] = {
    "markup": {
        "footnote": ("\\footnote{{}}", r"\\footnote"),
        "directive": ("\n.. note:: {}\n", r"(?m)^\s*\.\. \w+::"),
        "cdata": ("<![CDATA[{}]]>", r"<!\["),
        "jinja": ("{# {} #}", r"\{# [^#]*#\}"),
        "admonition": ("\n[NOTE]\n====\n{}\n====\n", r"\[[A-Z]+\]\n=+"),
        "org": ("\n#+BEGIN_NOTE\n{}\n#+END_NOTE\n", r"(?i)#\+(?:begin|end)"),
        "troff": ("\n.\\\" {}\n", r"(?m)^\s*\.\\\""),
    },
    "code": {
        "basic": ("\n' {}\n", r"(?m)^[ \t]*' \w"),
        "batch": ("\nREM {}\n", r"(?m)^[ \t]*(?i:rem)\s"),
        "haskell": ("{- {} -}", r"\{- [^}]*-\}"),
        "lua": ("--[[ {} ]]", r"--\[\["),
        "printf": ("\nprintf '%s\\n' '{}'\n", r"\bprintf\b"),
        "lisp": ("\n(remark '{}')\n", r"(?m)^\s*\(\w+ '"),
        "pod": ("\n=pod\n\n{}\n\n=cut\n", r"(?m)^=(?:pod|cut)"),
    },
    "talk": {
        "forwarded": ("\n---------- Forwarded message ---------\nFrom: Rosa Ibel <rosa@quillmoor.example>\nSubject: Fwd: list\n\n{}\n", r"-- ?Forwarded message"),
        "transcript": ("\nSPEAKER 2 (00:14:07): {}\n", r"\(\d\d:\d\d(?::\d\d)?\):"),
        "vcard": ("\nBEGIN:VCARD\nVERSION:4.0\nFN:Ole Brandt\nNOTE:{}\nEND:VCARD\n", r"VCARD"),
        "stage": ("\nHELENA (aside)\n    {}\n", r"(?i)\(aside\)"),
        "slide": ("\n[Speaker note, slide 9] {}\n", r"(?i)\[speaker|slide \d+\]"),
        "voicemail": ("\nVoicemail, 0:42, transcribed: {}\n", r"(?i)voicemail"),
    },
    "borders": {
        "squares": ("\n🟩🟩🟩 {} 🟩🟩🟩\n", r"[🟥🟧🟨🟩🟦🟪⬛⬜]"),
        "stars": ("☆ {} ☆", r"☆ [^☆]+ ☆"),
        "arrows": ("→ {} ←", r"←"),
        "white": ("⟦{}⟧", r"[⟦⟧]"),
        "ceiling": ("⌈{}⌋", r"[⌈⌉⌊⌋]"),
        "waves": ("\n~ ~ ~ ~ ~\n{}\n~ ~ ~ ~ ~\n", r"(?:~ ){3}"),
        "quotes": ("❝{}❞", r"[❝❞]"),
        "flower": ("❦ {} ❦", r"❦"),
    },
    "protocol": {
        "armour": ("\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{}\n-----BEGIN PGP SIGNATURE-----\n", r"BEGIN PGP SIGNED"),
        "multipart": ("\n--=_b7f3c2\nContent-Type: text/plain; charset=utf-8\n\n{}\n--=_b7f3c2--\n", r"(?m)^--\S+\nContent-Type"),
        "events": ("\nevent: note\ndata: {}\n\n", r"(?m)^event: \w+\ndata:"),
        "syslog": ("\n<34>1 2025-03-02T08:14:15Z host7 app - - {}\n", r"(?m)^<\d+>"),
        "reply": ("\n250-{}\n250 OK\n", r"(?m)^250[- ]"),
        "ldif": ("\ndn: cn=ole,dc=tern\ndescription: {}\n", r"(?m)^dn: "),
        "bibtex": ("\n  annote = {{}},\n", r"(?m)^\s*\w+ = \{[^{}\n]*\},$"),
        "citation": ("\nTY  - GEN\nN1  - {}\nER  -\n", r"(?m)^[A-Z][A-Z0-9]  - "),
        "gedcom": ("\n0 @I7@ INDI\n1 NOTE {}\n", r"(?m)^\d (?:@\w+@|NOTE)"),
        "properties": ("\nremark.17 = {} \\\n", r"(?m)^\w+\.\d+ = "),
    },
    "tables": {
        "grid": ("\n+--------+\n| {} |\n+--------+\n", r"\+-{3,}\+\n"),
        "leader": ("\nRemarks ........ {}\n", r"\w \.{5,} \w"),
        "definition": ("\nRemark\n:   {}\n", r"(?m)^:   \S"),
        "checkbox": ("\n☐ {}\n", r"[☐☑]"),
        "roman": ("\n(iv) {}\n", r"(?m)^\s*\([ivx]+\) "),
        "bar": ("\n17 ¦ open ¦ {}\n", r"¦"),
        "asciidoc": ("\n|===\n|17 |{}\n|===\n", r"\|==="),
    },
}


def known(attacks: Iterable[tuple[str, tuple[int, int] | None]]) -> set[str]:
    """Of STYLES, in which an attack stands, or whose mark it has anywhere while its place is not known."""
    every = [(name, *map(len, text.split("{}", 1)), re.compile(mark)) for styles in STYLES.values() for name, (text, mark) in styles.items()]
    found: set[str] = set()
    for text, span in attacks:
        for name, before, after, mark in every:
            start, end = (0, len(text)) if span is None else (max(0, span[0] - before - SLACK), span[1] + after + SLACK)
            if mark.search(text, start, end):
                found.add(name)
    return found
