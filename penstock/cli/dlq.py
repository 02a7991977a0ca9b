"""dlq: what was given up on, and what shall become of it."""

import getpass
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich.progress import Progress

from penstock import wanted as topics
from penstock.cli import dlq_view as view
from penstock.cli.codes import Exit, Failed
from penstock.cli.dlq_act import Account, Make, Pace, act, opened
from penstock.cli.dlq_select import Found, address, find, moment
from penstock.cli.output import AsJson, console, errors, print_json, say, warn
from penstock.cli.session import Session, session_of
from streams import redrive as deeds
from streams.claim_store import ClaimStore
from streams.dead_letters import Contents, Letter, State, Wanted, contents
from streams.errors import ClaimAway, StreamsError
from streams.kafka.dead_letters import LetterBox
from streams.kafka.desk import Desk
from streams.redrive import Deed, Done

SHOWN: Final = 50
"""Letters that are listed, and lines about them that are printed, unless more are asked for."""

Stage = Annotated[str | None, typer.Option("--stage", help="Only those that this stage gave up.")]
ErrorClass = Annotated[str | None, typer.Option("--error-class", help="Only those of this class of error.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only records of this topic.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
Since = Annotated[str | None, typer.Option("--since", help="Only those since then: 30m, 2h, 7d, or an ISO time.")]
Letters = Annotated[list[str] | None, typer.Argument(help="Their addresses, or options.", metavar="[ADDRESS]")]
Every = Annotated[bool, typer.Option("--all", help="All that are open, without any other choice.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the oldest first.")]
Rate = Annotated[float, typer.Option("--rate", min=0.1, help="At most so many a second.")]
Why = Annotated[str, typer.Option("--why", help="The reason, for the record.", prompt="why")]
Again = Annotated[bool, typer.Option("--again", help="Also what was dealt with before.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="See what was given up on, and do it again or put it aside.", no_args_is_help=True)
    group.command("list")(list_letters)
    group.command()(show)
    group.command()(redrive)
    group.command()(drop)
    app.add_typer(group, name="dlq")


def list_letters(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    *,
    stage: Stage = None,
    error_class: ErrorClass = None,
    topic: Topic = None,
    tenant: Tenant = None,
    since: Since = None,
    state: Annotated[State | None, typer.Option("--state", help="Only those that are so now.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many, the newest.")] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest last, and whether somebody has dealt with them."""
    asked = _wanted(stage, error_class, topic, tenant, since)
    box = LetterBox(session_of(context).connection())
    with errors.status("reading dead letters …"):
        found = [one for one in find(box, box.actions(), [], asked) if state is None or one.state is state]
    newest = found[-limit:]
    if as_json:
        print_json({"letters": [view.summary(one) for one in newest], "total": len(found)})
    elif not found:
        say("no dead letter" + (" is like that" if asked or state else ""))
    else:
        console.print(view.table(newest, len(found)))


def show(
    context: typer.Context,
    letter: Annotated[str, typer.Argument(help="Its address, or that of the record that was given up on.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show a dead letter whole: why it was given up on, its headers, the job that it holds or its bytes."""
    session, place = session_of(context), address(letter)
    box = LetterBox(session.connection())
    found = find(box, box.actions(), [place], Wanted())[-1]
    stored = next(iter(box.fetch([found.letter.address])))
    try:
        stored = opened(stored, ClaimStore(session.settings.claims_dir))
        read = contents(stored)
    except (ClaimAway, ValueError) as away:
        read = Contents(problem=str(away))
    if as_json:
        print_json(view.whole(found, stored, read))
    else:
        console.print(view.panel(found, stored, read))


def redrive(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    *,
    letters: Letters = None,
    stage: Stage = None,
    error_class: ErrorClass = None,
    topic: Topic = None,
    tenant: Tenant = None,
    since: Since = None,
    every: Every = False,
    why: Why,
    limit: Limit = None,
    rate: Rate = 50.0,
    again: Again = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Do again what was given up on: a job as a new job, anything else as the record that it was.

    The new job has an id of its own; its metadata and its result's name the old one as redrive_of. Exit code 1 if a
    letter could not be redriven, or was dealt with before and --again is not given.
    """
    asked = _wanted(stage, error_class, topic, tenant, since)
    choice = _Choice(session_of(context), letters, asked, every, limit, again)
    _do(choice, deeds.redrive, why, rate, dry_run=dry_run, as_json=as_json)


def drop(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    *,
    letters: Letters = None,
    stage: Stage = None,
    error_class: ErrorClass = None,
    topic: Topic = None,
    tenant: Tenant = None,
    since: Since = None,
    every: Every = False,
    why: Why,
    limit: Limit = None,
    again: Again = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Mark dead letters as dealt with: nothing shall become of them. They stay until their topic's retention ends."""
    asked = _wanted(stage, error_class, topic, tenant, since)
    choice = _Choice(session_of(context), letters, asked, every, limit, again)
    _do(choice, deeds.drop, why, float("inf"), dry_run=dry_run, as_json=as_json)


def _wanted(
    stage: str | None, error_class: str | None, topic: str | None, tenant: str | None, since: str | None
) -> Wanted:
    return Wanted(stage, error_class, topic, tenant, moment(since, datetime.now(UTC)) if since else None)


@dataclass
class _Choice:
    """Which letters a command shall deal with, as it was typed."""

    session: Session
    letters: Sequence[str] | None
    wanted: Wanted
    every: bool
    limit: int | None
    again: bool
    refused: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.named = [address(text) for text in self.letters or ()]
        if not (self.named or self.wanted or self.every):
            said = "name dead letters by their addresses, or choose them by options; --all means every open one"
            raise Failed(Exit.USAGE, said)
        if self.every and (self.named or self.wanted):
            raise Failed(Exit.USAGE, "--all is every open letter; leave it out to choose some")

    def made(self, box: LetterBox) -> list[Found]:
        """The letters; those that were dealt with are left out, and refused if they were named."""
        found = find(box, box.actions(), self.named, self.wanted)
        chosen = [one for one in found if self.again or one.state is State.OPEN]
        if self.named:
            self.refused += [_dealt_with(one) for one in found if one not in chosen]
        return chosen[: self.limit]


def _dealt_with(one: Found) -> tuple[str, str]:
    assert one.action is not None
    action = one.action
    became = f" as job {action.new_job_id}" if action.new_job_id else ""
    said = f"{one.letter.address} was {one.state} by {action.who} at {action.time:%Y-%m-%d %H:%M:%S} UTC{became}"
    return str(one.letter.address), f"{said}; --again insists"


def _do(
    choice: _Choice,
    deed: Callable[[Letter, Deed, int], Done],
    why: str,
    rate: float,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    who, connection = getpass.getuser(), choice.session.connection()
    box = LetterBox(connection)

    def make(letter: Letter, n: int) -> Done:
        return deed(letter, Deed(who, why, datetime.now(UTC)), n)

    if dry_run:
        account = _act(choice, box, make, lambda _: None, float("inf"))
    else:
        topics.ensure(choice.session.settings, connection)
        with Desk(
            connection, "dlq", "penstock dlq list"
        ) as desk:  # before the actions are read: nobody else can add to them from here on
            account = _act(choice, box, make, desk.commit, rate)
    _report(account, dry_run=dry_run, as_json=as_json)


def _act(choice: _Choice, box: LetterBox, make: Make, commit: Callable[[Any], None], rate: float) -> Account:
    with errors.status("reading dead letters …"):
        chosen = choice.made(box)
    whole = Account(refused=choice.refused)
    store = ClaimStore(choice.session.settings.claims_dir)
    with Progress(console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task("dead letters", total=len(chosen))
        try:
            for account in act(
                box.fetch([one.letter.address for one in chosen]), store, chosen, make, commit, Pace(rate)
            ):
                whole.done += account.done
                whole.refused += account.refused
                progress.advance(task, len(account.done) + len(account.refused))
        except StreamsError:
            warn(f"{len(whole.done)} dead letters were dealt with before this:")
            raise
    return whole


def _report(account: Account, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        refused = [{"letter": letter, "reason": reason} for letter, reason in account.refused]
        print_json({"dry_run": dry_run, "done": [view.done(one) for one in account.done], "refused": refused})
    else:
        for one in account.done[:SHOWN]:
            say(("would be: " if dry_run else "") + view.became(one))
        for _, reason in account.refused[:SHOWN]:
            warn(reason)
        more = f"; {len(account.refused)} refused" if account.refused else ""
        plural = "" if len(account.done) == 1 else "s"
        say(f"{len(account.done)} dead letter{plural} {'to be ' * dry_run}dealt with{more}")
    if account.refused:
        raise typer.Exit(Exit.BAD)
