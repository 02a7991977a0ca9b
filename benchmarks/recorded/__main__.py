"""Recorded responses of real providers: what of them is read, by provider and dialect, and what is no chat."""

import argparse
import json
import sys
from collections import Counter, defaultdict

from rich.console import Console
from rich.table import Table

from processors.providers import Completion, parse
from recorded.readings import golden, recordings, second_reading

COLUMNS = ("read", "streams of these", "as the second reading has it", "refused by the provider", "unreadable")


def counted() -> tuple[dict[tuple[str, str], Counter[str]], Counter[str]]:
    """Counts by provider and dialect, and of what is no chat by kind."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    others: Counter[str] = Counter()
    known = golden()
    for one in recordings():
        if one.dialect is None:
            others[one.why_not] += 1
            continue
        counts = found[one.provider, one.dialect]
        parsed = parse(one.dialect, one.status, one.headers, one.body)
        if isinstance(parsed, Completion):
            counts["read"] += 1
            counts["streams of these"] += one.streamed
            counts["as the second reading has it"] += known[one.name] == second_reading(one)
            counts["as the second reading has it"] -= known[one.name]["text"] != parsed.text
        else:
            counts["refused by the provider" if parsed.error.startswith("HTTP ") else "unreadable"] += 1
    return dict(found), others


def main() -> int:
    """Print."""
    parser = argparse.ArgumentParser(prog="python -m recorded", description=__doc__)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    found, others = counted()
    if told.json:
        chats = [{"provider": who, "dialect": how, **counts} for (who, how), counts in sorted(found.items())]
        print(json.dumps({"chat": chats, "no chat": others}, indent=2))
        return 0
    table = Table("provider", "dialect", *COLUMNS, box=None, pad_edge=False)
    for (who, how), counts in sorted(found.items()):
        table.add_row(who, how, *(str(counts[name] or "") for name in COLUMNS))
    total = sum(found.values(), Counter())
    table.add_section()
    table.add_row("all", "", *(str(total[name]) for name in COLUMNS))
    rest = Table("no chat", "interactions", box=None, pad_edge=False)
    for why, count in others.most_common():
        rest.add_row(why, str(count))
    console = Console()
    console.print(table)
    console.print(rest)
    return int(total["unreadable"] > 0)


if __name__ == "__main__":
    sys.exit(main())
