"""claims: the store of values that are too large to travel."""

import math
from typing import Annotated

import typer

from penstock.cli.codes import Exit, Failed
from penstock.cli.dlq_select import span_s
from penstock.cli.output import AsJson, errors, print_json, say
from penstock.cli.session import session_of
from streams.claim_store import ClaimStore
from streams.kafka.claim_age import needed_s

DAY_S = 86_400


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Look after the values that are too large to travel.", no_args_is_help=True)
    group.callback()(lambda: None)  # so that a single command keeps its name
    group.command()(clean)
    app.add_typer(group, name="claims")


def clean(
    context: typer.Context,
    *,
    older_than: Annotated[str, typer.Option("--older-than", help="Age from which values go: 70d, 10w.", metavar="AGE")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove values that nothing can refer to any more.

    Age alone decides, so it must be above what the topics keep: a job's longest deadline, the retention of the topics
    between stages, and that of the dead letters, one after the other.
    """
    age_s, session = span_s(older_than), session_of(context)
    if age_s < (least_s := needed_s(session.connection())):
        _refuse(older_than, least_s)
    store = ClaimStore(session.settings.claims_dir)
    count = size = 0
    with errors.status("looking through the claim store …"):
        for kept in store.old(age_s):
            if dry_run or store.remove(kept):
                count, size = count + 1, size + kept.size
    if as_json:
        print_json({"folder": str(store.folder), "removed": count, "bytes": size, "dry_run": dry_run})
    else:
        would = "would be removed from" if dry_run else "removed from"
        say(f"{count} value{'' if count == 1 else 's'}, {size / 1024**2:.1f} MiB, {would} {store.folder}")


def _refuse(older_than: str, least_s: float) -> None:
    if math.isinf(least_s):
        said = "a topic that may refer to values keeps its records for ever (retention.ms -1): none may ever be removed"
    else:
        said = (
            f"--older-than {older_than} is too short: with what the topics keep, a value may be needed for "
            f"{math.ceil(least_s / DAY_S)} days. Nothing was removed"
        )
    raise Failed(Exit.USAGE, said)
