"""Which labels a prompt's text offers, what it says of them, and which examples it gives. Pure.

Accepted forms of a list (the package's docstring shows each): bullets or numbers with optional descriptions, a table,
or one line of names after a word such as "labels:" or "one of". A bulleted list counts when the line above it speaks
of labels, or when every name in it is an identifier (`card_arrival`); a list of instructions does neither.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

LONGEST_NAME = 80

_CUE = re.compile(
    r"\b(labels?|categor(?:y|ies)|class(?:es)?|intents?|options?|topics?|queues?|choices?|tags?|one of)\b",
    re.IGNORECASE,
)
_INSTRUCTIONS = re.compile(r"\b(rules?|instructions?|guidelines?|notes?|steps?|hints?|constraints?)\b", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:[-*•+]|\d{1,3}[.)])\s+(\S.*?)\s*$")
_NAMED = re.compile(
    r"""^(?P<mark>\*\*|`|"|')?(?P<name>[^"`*]{1,80}?)(?(mark)(?P=mark))\s*
    (?:(?::\s+|\s[-=\u2013\u2014]+\s+|\s?:\*\*\s+)(?P<after>\S.*)|\((?P<within>.*)\))?:?$""",
    re.VERBOSE,
)
_INLINE = re.compile(
    rf"{_CUE.pattern}[^:\n]{{0,60}}?(?::|(?<=one of))[ \t]*\n?[ \t]*(?P<names>\S.*)$", re.IGNORECASE | re.MULTILINE
)
_SEPARATOR = re.compile(r"\s*(?:,\s*(?:or|and)\s|[,;|/]|\s(?:or|and)\s)\s*")
_ROW = re.compile(r"^\s*\|(.+)\|\s*$")
_ARROW = re.compile(
    r"""^[ \t]*(?:[-*•+][ \t]+|\d{1,3}[.)][ \t]+)?(?:examples?[ \t]*\d*[ \t]*:[ \t]*)?
    ["“'](?P<text>.+?)["”'][ \t]*(?:->|=>|→)[ \t]*(?P<label>\S.*)$""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_PAIR = re.compile(
    r"""^[ \t]*(?:message|text|input|customer|user|query|q)[ \t]*:[ \t]*(?P<text>\S.*)\n
    [ \t]*(?:label|intent|category|class|output|answer|a)[ \t]*:[ \t]*(?P<label>\S.*)$""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Card:
    """What a prompt says of one label."""

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Name and description, as words to compare with."""
        return f"{self.name} {self.description}"


def same(name: str) -> str:
    """What two spellings of one label have in common."""
    return name.strip(" \t.\"'`*").casefold()


def cards_in(text: str) -> tuple[Card, ...]:
    """The labels that a prompt's text offers, each with its description and examples; empty if it offers none."""
    examples = [
        (found["text"].strip(), found["label"].strip())
        for pattern in (_ARROW, _PAIR)
        for found in pattern.finditer(text)
    ]
    text = _PAIR.sub("", _ARROW.sub("", text))
    cards = _listed(text) or _tabled(text) or _inline(text)
    if not cards:
        cards = [Card(label.strip("\"'`.")) for _, label in examples]
    return with_examples(_once(cards), examples)


def with_examples(cards: tuple[Card, ...], examples: Iterable[tuple[str, str]]) -> tuple[Card, ...]:
    """The cards with the examples (text, label) that name them; examples of other labels are left out."""
    by_name: dict[str, list[str]] = {}
    for text, label in examples:
        by_name.setdefault(same(label), []).append(text)
    return tuple(replace(card, examples=(*card.examples, *by_name.get(same(card.name), ()))) for card in cards)


def choose_from(names: Iterable[str], cards: tuple[Card, ...]) -> tuple[Card, ...]:
    """A card for each allowed name, with what the prompt says of it."""
    known = {same(card.name): card for card in cards}
    return tuple(replace(known.get(same(name), Card(name)), name=name) for name in dict.fromkeys(names))


def _once(cards: Iterable[Card]) -> tuple[Card, ...]:
    first: dict[str, Card] = {}
    for card in cards:
        first.setdefault(same(card.name), card)
    return tuple(first.values())


def _listed(text: str) -> list[Card]:
    """Labels from bulleted or numbered blocks; identifiers, where there are any, win over phrases."""
    identifiers: list[Card] = []
    phrases: list[Card] = []
    for heading, items in _blocks(text.splitlines()):
        cards = [_card(item) for item in items]
        if not all(card is not None for card in cards):
            continue
        named = [card for card in cards if card is not None]
        if len(named) > 1 and all(" " not in card.name for card in named):
            identifiers += named
        elif _CUE.search(heading) and not _INSTRUCTIONS.search(heading):
            phrases += named
    return identifiers or phrases


def _blocks(lines: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Runs of items, each with the line of text above it; an indented line continues the item before it."""
    heading, items = "", list[str]()
    for line in lines:
        item = _ITEM.match(line)
        if item is not None:
            items.append(item[1])
        elif items and line[:1].isspace() and line.strip():
            items[-1] += " " + line.strip()
        elif line.strip():
            if items:
                yield heading, items
            heading, items = line, []
    if items:
        yield heading, items


def _card(item: str) -> Card | None:
    found = _NAMED.match(item)
    if found is None or len(found["name"].split()) > 6:
        return None
    return Card(found["name"].strip(), found["after"] or found["within"] or "")


def _tabled(text: str) -> list[Card]:
    """Labels from the first column of a Markdown table with a heading row that speaks of labels."""
    rows = [[cell.strip(" `*") for cell in row[1].split("|")] for row in map(_ROW.match, text.splitlines()) if row]
    if len(rows) < 3 or not _CUE.search(rows[0][0]):
        return []
    body = [row for row in rows[1:] if row[0].strip("-: ")]
    return [Card(row[0][:LONGEST_NAME], " ".join(row[1:])) for row in body]


def _inline(text: str) -> list[Card]:
    """Labels from one line: `Labels: a, b, c`, `one of "a", "b" or "c"`, `Categories: ["a", "b"]`."""
    for found in _INLINE.finditer(text):
        names = [name.strip(" \t.[](){}\"'`*") for name in _SEPARATOR.split(found["names"])]
        if len(names) > 1 and all(0 < len(name) <= LONGEST_NAME and len(name.split()) <= 4 for name in names):
            return [Card(name) for name in names]
    return []
