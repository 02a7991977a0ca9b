"""What must be known of a statement before the engine sees it: its format, where its data begins, what it may not say.

Everything else is the engine's to parse. Statements are bytes: inserted data follows in the same body and is binary.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.local.warehouse.errors import StatementRefusedError

_TOKEN: Final = re.compile(
    rb"""
      (?P<blank>\s+ | --[^\n]* | //[^\n]* | \#[ !][^\n]*)
    | (?P<string>'(?:[^'\\]|\\.|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
    | (?P<name>`(?:[^`\\]|\\.|``)*` | "(?:[^"\\]|\\.|"")*")
    | (?P<word>\w+)
    | (?P<open>[(\[{])
    | (?P<close>[)\]}])
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")
_ESCAPE: Final = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_BEFORE_DATA: Final = re.compile(rb"[ \t\f]*\r?\n?")
_NOT_KEYWORDS_AFTER: Final = frozenset({b"INTO", b"TABLE", b"FUNCTION", b"."})


@dataclass(frozen=True, slots=True)
class Query:
    """A statement that the engine runs as it is."""

    text: bytes
    format: str | None = None
    """The format of its FORMAT clause."""
    format_at: int | None = None
    """Where that clause begins."""


@dataclass(frozen=True, slots=True)
class Insert:
    """An INSERT whose data comes with it."""

    head: bytes
    """The statement without VALUES or FORMAT."""
    format: str
    data: bytes


Statement = Query | Insert


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    @property
    def key(self) -> bytes:
        """A word in capitals; a symbol as it is; nothing for a quoted name, which can't be a keyword."""
        return self.text.upper() if self.kind != "name" else b""

    @property
    def identifier(self) -> str:
        """The name that a word or a quoted name stands for; nothing for anything else."""
        if self.kind == "word":
            return self.text.decode()
        if self.kind == "name":
            return _ESCAPE.sub(_unescaped, self.text[1:-1].decode("latin-1"))
        return ""


def parse(text: bytes) -> Statement:
    """Tell an INSERT with its data from everything else, and refuse what may not be said here.

    Raises:
        StatementRefusedError: the statement is empty, reads or writes files of this machine, or inserts from input().
    """
    tokens = _tokens(text)
    seen: list[_Token] = []
    for token in tokens:
        seen.append(token)
        if _begins_data(seen):
            _refuse_forbidden(seen)
            return _insert(text, seen, tokens)
    if not seen:
        raise StatementRefusedError(62, "SYNTAX_ERROR", "Empty query")
    _refuse_forbidden(seen)
    _refuse_input(seen)
    clause = _format_clause(seen)
    if clause is None:
        return Query(text)
    return Query(text, clause[1].text.decode(), clause[0].start)


def _tokens(text: bytes) -> Iterator[_Token]:
    """The tokens outside comments, one at a time, so that binary data behind a statement is never looked at."""
    at, depth = 0, 0
    while at < len(text):
        if text.startswith(b"/*", at):
            at = _comment_end(text, at)
            continue
        found = _TOKEN.match(text, at)
        assert found is not None, "the last alternative matches any byte"
        kind = "string" if found["string"] is not None else str(found.lastgroup)
        depth -= kind == "close"
        if kind != "blank":
            yield _Token(kind, found[0], at, found.end(), depth)
        depth += kind == "open"
        at = found.end()


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def _comment_end(text: bytes, at: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, at):
        depth += 1 if edge[0] == b"/*" else -1
        if depth == 0:
            return edge.end()
    return len(text)


def _begins_data(seen: Sequence[_Token]) -> bool:
    """Whether the last token is the VALUES or FORMAT of an INSERT without SELECT."""
    last = seen[-1]
    if last.depth or last.key not in {b"VALUES", b"FORMAT"} or seen[0].key != b"INSERT":
        return False
    if seen[-2].key in _NOT_KEYWORDS_AFTER:
        return False
    return not any(token.key in {b"SELECT", b"WITH", b"INFILE"} for token in seen if token.depth == 0)


def _insert(text: bytes, seen: Sequence[_Token], rest: Iterator[_Token]) -> Insert:
    last = seen[-1]
    head = text[: last.start]
    if any(token.text == b";" for token in seen):
        raise StatementRefusedError(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
    if last.key == b"VALUES":
        return Insert(head, "Values", text[last.end :])
    name = next(rest, None)
    if name is None or name.kind != "word":
        raise StatementRefusedError(62, "SYNTAX_ERROR", "Syntax error: expected the name of a format after FORMAT")
    begin = _BEFORE_DATA.match(text, name.end)
    return Insert(head, name.text.decode(), text[begin.end() if begin else name.end :])


def _format_clause(seen: Sequence[_Token]) -> tuple[_Token, _Token] | None:
    """The FORMAT that ends a statement, or stands before its SETTINGS, and the name behind it."""
    for at in range(len(seen) - 2, -1, -1):
        keyword, name = seen[at], seen[at + 1]
        if keyword.key == b"FORMAT" and keyword.depth == 0 and name.kind == "word":
            after = seen[at + 2].key if at + 2 < len(seen) else b";"
            return (keyword, name) if after in {b";", b"SETTINGS"} else None
    return None


def _refuse_forbidden(seen: Sequence[_Token]) -> None:
    """Refuse what reaches the files of this machine and that the engine's grants don't cover."""
    for at, token in enumerate(seen):
        before = seen[at - 1] if at else None
        what = None
        if before is not None and (before.key, token.key) in {(b"FROM", b"INFILE"), (b"INTO", b"OUTFILE")}:
            what = (before.text + b" " + token.text).decode()
        elif token.identifier == "file" and _is_function(seen, at):
            what = "The function file"
        elif token.key == b"FROM" and seen[0].key == b"ATTACH":
            what = "ATTACH … FROM"
        if what is not None:
            raise StatementRefusedError(
                497, "ACCESS_DENIED", f"{what} is not allowed: it reaches files of this machine"
            )


def _is_function(seen: Sequence[_Token], at: int) -> bool:
    """Whether a name is called, applied to columns, or handed to a function of functions."""
    after = seen[at + 1].text if at + 1 < len(seen) else b""
    if after == b"(":
        return True
    before = [token.key for token in seen[max(at - 2, 0) : at]]
    if b"APPLY" in before:
        return before[-1] in {b"APPLY", b"("}
    return after == b"," and before[-1:] == [b"("] and seen[at - 2].text.lower().startswith(b"array")


def _refuse_input(seen: Sequence[_Token]) -> None:
    for token, after in itertools.pairwise(seen):
        if token.key == b"INPUT" and after.text == b"(" and seen[0].key == b"INSERT":
            raise StatementRefusedError(
                48, "NOT_IMPLEMENTED", "INSERT … SELECT … FROM input() is not supported; insert into a table first"
            )
