"""doctor: does everything beneath the pipeline keep what its promises rest on?"""

import shutil
from dataclasses import asdict
from typing import Final

import typer
from rich.markup import escape

from penstock import wanted
from penstock.cli.codes import Exit
from penstock.cli.output import AsJson, console, print_json
from penstock.cli.session import session_of
from penstock.settings import Settings
from streams.kafka.doctor import Finding, Mark, judge
from streams.kafka.facts import ask

COLOURS: Final = {Mark.OK: "green", Mark.WARN: "yellow", Mark.FAIL: "bold red"}
LITTLE_MB: Final = 5_000
TOO_LITTLE_MB: Final = 500


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Check broker, topics, groups, clocks and disk against what the promises need, with a mend for each problem.

    Exit code 1 when a check fails; warnings leave it at 0. It writes one empty record to the topic `doctor`, to see the
    broker's clock.
    """
    session = session_of(context)
    facts = ask(session.connection(), wanted.topics(session.settings))
    findings = (*judge(facts), *disk(session.settings))
    worst = max((finding.mark for finding in findings), key=list(Mark).index)
    if as_json:
        print_json({"worst": worst, "findings": [asdict(finding) for finding in findings]})
    else:
        for finding in findings:
            _show(finding)
    if worst is Mark.FAIL:
        raise typer.Exit(Exit.BAD)


def _show(finding: Finding) -> None:
    colour = COLOURS[finding.mark]
    said = f"[{colour}]{finding.mark.value:4}[/]  [bold]{finding.check}[/]: {escape(finding.said)}"
    console.print(said, soft_wrap=True, highlight=False)
    if finding.mend:
        console.print(f"      → {escape(finding.mend)}", soft_wrap=True, highlight=False)


def disk(settings: Settings) -> tuple[Finding, ...]:
    """How much room the embedded stack has; nothing where there is none on this machine."""
    if not (settings.data_dir / "broker").is_dir():
        return ()
    free_mb = shutil.disk_usage(settings.data_dir).free // 1_000_000
    said = f"{free_mb:,} MB free for {settings.data_dir}"
    mend = "make room, or move data_dir: a broker whose disk is full ends, and nothing is accepted until it has room"
    if free_mb < TOO_LITTLE_MB:
        return (Finding("disk", Mark.FAIL, said, mend),)
    if free_mb < LITTLE_MB:
        return (Finding("disk", Mark.WARN, said, mend),)
    return (Finding("disk", Mark.OK, said),)
