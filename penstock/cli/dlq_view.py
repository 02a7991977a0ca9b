"""Dead letters as people see them, and the same with stable keys for programs."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from penstock.cli.dlq_select import Found
from streams.dead_letters import Contents, Letter
from streams.redrive import Done, job_json

PREVIEW: Final = 256
SHOWN_MESSAGE: Final = 200
COLOURS: Final = {"open": "red", "redriven": "green", "dropped": "dim"}


def table(found: Sequence[Found], total: int) -> Table:
    """One line for each."""
    more = f"the newest {len(found)} of {total}; --limit shows more" if total > len(found) else ""
    shown = Table(box=None, pad_edge=False, header_style="bold", caption=more or None, caption_justify="left")
    for column in ("address", "when (UTC)", "stage", "class", "message", "job", "retryable", "state"):
        shown.add_column(column, overflow="fold", no_wrap=column in {"address", "when (UTC)", "state"})
    for one in found:
        why = one.letter.why
        shown.add_row(
            str(one.letter.address),
            f"{one.letter.at:%Y-%m-%d %H:%M:%S}",
            escape(why.stage),
            escape(why.error_class),
            escape(_line(why.message)),
            escape(f"{why.tenant}/{why.job_id}" if why.job_id else ""),
            "yes" if why.retryable else "no",
            f"[{COLOURS[one.state]}]{one.state}[/]",
        )
    return shown


def _line(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= SHOWN_MESSAGE else f"{text[: SHOWN_MESSAGE - 1]}…"


def summary(found: Found) -> dict[str, Any]:
    """A letter with stable keys, without what it holds."""
    letter, why = found.letter, found.letter.why
    return {
        "address": str(letter.address),
        "at": letter.at.isoformat(),
        "stage": why.stage,
        "error_class": why.error_class,
        "message": why.message,
        "tenant": why.tenant or None,
        "job_id": why.job_id or None,
        "retryable": why.retryable,
        "state": found.state.value,
        "origin": str(letter.origin),
        "attempts": why.attempts,
        "delivery_count": why.delivery_count,
        "group": why.group,
        "size": found.size,
        "claim": letter.claim or None,
        "cut": letter.cut or None,
        "action": None if found.action is None else action(found.action.model_dump(mode="json")),
    }


def action(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What was done about a letter, with stable keys."""
    return {name: fields[name] for name in ("action", "time", "who", "why", "new_job_id", "destination", "n")}


def whole(found: Found, letter: Letter, read: Contents) -> dict[str, Any]:
    """A letter with stable keys and all that it holds; `letter` has the value."""
    key = letter.raw.key
    return summary(found) | {
        "key": None if key is None else readable(key),
        "headers": [{"name": name, "value": readable(value)} for name, value in letter.raw.headers],
        "job": None if read.job is None else orjson.loads(job_json(read.job)),
        "problem": read.problem or None,
        "value": readable(letter.raw.value),
    }


def readable(value: bytes | None) -> dict[str, Any]:
    """Bytes as text where they are text, else in hex."""
    if value is None:
        return {"size": 0, "text": None, "hex": None}
    try:
        return {"size": len(value), "text": value.decode(), "hex": None}
    except UnicodeDecodeError:
        return {"size": len(value), "text": None, "hex": value.hex()}


def panel(found: Found, letter: Letter, read: Contents) -> Panel:
    """A letter for people."""
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column(overflow="fold")
    for name, shown in _facts(found, read):
        facts.add_row(name, shown)
    parts: list[RenderableType] = [facts]
    if letter.raw.headers:
        parts += ["\n[bold]headers[/]", _headers(letter)]
    if read.job is not None:
        parts += ["\n[bold]job[/]", JSON.from_data(orjson.loads(job_json(read.job)))]
    elif letter.raw.value is not None:
        parts += [f"\n[bold]value[/] [dim]({escape(read.problem)})[/]", escape(preview(letter.raw.value))]
    title = f"[bold {COLOURS[found.state]}]{found.state}[/]  [dim]{found.letter.address}[/]"
    return Panel(Group(*parts), title=title, title_align="left", border_style=COLOURS[found.state])


def _facts(found: Found, read: Contents) -> list[tuple[str, str]]:
    letter, why, done = found.letter, found.letter.why, found.action
    job = f"{why.tenant}/{why.job_id}" if why.job_id else ""
    said = ""
    if done is not None:
        became = f" as job {done.new_job_id}" if done.new_job_id else ""
        said = f"{done.action} by {done.who} at {done.time:%Y-%m-%d %H:%M:%S}{became}: {done.why}"
    facts = [
        ("given up by", f"{why.stage} at {letter.at:%Y-%m-%d %H:%M:%S} UTC"),
        ("because", f"{why.error_class}: {why.message}"),
        ("record", f"{letter.origin}, {found.size} bytes" + (f", claimed as {letter.claim}" if letter.claim else "")),
        ("left out", letter.cut),
        ("job", job),
        ("workflow", read.head.workflow if read.head else ""),
        ("done", said),
        ("next", f"penstock trace {why.job_id}" if why.job_id else ""),
    ]
    return [(name, escape(shown)) for name, shown in facts if shown]


def _headers(letter: Letter) -> Table:
    shown = Table.grid(padding=(0, 2))
    shown.add_column(style="dim")
    shown.add_column(overflow="fold")
    for name, value in letter.raw.headers:
        shown.add_row(escape(name), escape(preview(value or b"")))
    return shown


def preview(value: bytes) -> str:
    """The beginning of some bytes: as text where they are text, else in hex."""
    more = f" … ({len(value)} bytes)" if len(value) > PREVIEW else ""
    try:
        text = value[:PREVIEW].decode(errors="strict" if len(value) <= PREVIEW else "ignore")
    except UnicodeDecodeError:
        return value[:PREVIEW].hex(" ") + more
    return (
        text + more if all(sign.isprintable() or sign in "\n\t" for sign in text) else value[:PREVIEW].hex(" ") + more
    )


def done(one: Done) -> dict[str, Any]:
    """What became of a letter, with stable keys."""
    event = one.action
    return {
        "letter": event.letter,
        "action": event.action,
        "job_id": event.job_id or None,
        "new_job_id": event.new_job_id,
        "destination": event.destination,
    }


def became(one: Done) -> str:
    """The same as a sentence."""
    event = one.action
    if event.destination is None:
        return f"{event.letter} is dropped"
    if event.new_job_id is None:
        return f"{event.letter} → put back to {event.destination} as it was"
    return f"{event.letter} → job {event.new_job_id}"
