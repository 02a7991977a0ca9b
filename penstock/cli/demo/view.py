"""The demo's account for people."""

from typing import Final

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from penstock.cli.demo.report import Bin, Report, Way
from penstock.cli.output import UNKNOWN, ms, usd

WIDTH: Final = 32
SHOWN_QUERY: Final = (
    "SELECT rung, variant, status, count() AS jobs, sum(priced_cost_usd) AS usd FROM v_jobs "
    "WHERE tenant = '{tenant}' GROUP BY ALL ORDER BY rung, status"
)


def page(report: Report) -> RenderableType:
    """All of it."""
    parts: list[RenderableType] = [
        _heading(f"what became of {report.jobs} messages that no model here was trained on"),
        _statuses(report),
        _heading("by rung of the ladder"),
        _rungs(report),
        _heading("beside asking the largest model every time (the same messages, measured just now)"),
        _ways(report),
        _heading("does the confidence mean what it says? (answers and proposals, against people's labels)"),
        _bins(report.bins),
        _heading("rows in the warehouse"),
        _rows(report),
        _heading("what must hold"),
        _checks(report),
    ]
    return Group(*parts)


def next_steps(report: Report, *, stopped: bool) -> str:
    """Three commands to try."""
    query = SHOWN_QUERY.format(tenant=report.tenant)
    lines = [
        f"penstock trace {report.example}",
        f'penstock query "{query}"',
        'penstock submit banking_intent --text "I was charged twice"   # while `penstock run` runs beside it',
    ]
    first = ["penstock up   # the demo stopped what it had started; its data is still there"] if stopped else []
    return "\n".join(["next", *(f"  {line}" for line in [*first, *lines])])


def _heading(text: str) -> RenderableType:
    return Padding(f"[bold]{text}[/]", (1, 0, 0, 0))


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < left else "right", overflow="fold")
    return table


def _statuses(report: Report) -> Table:
    table = _table("status", "jobs", "share", "", left=1)
    table.columns[3].justify = "left"
    for status, jobs in report.by_status.items():
        colour = {"accepted": "green", "escalated": "yellow"}.get(status, "red")
        bar = f"[{colour}]{_bar(jobs / report.jobs)}[/]"
        table.add_row(escape(status), str(jobs), _share(jobs / report.jobs), bar)
    return table


def _rungs(report: Report) -> Table:
    table = _table("rung", "variant", "model", "ended here", "accepted", "right", "p50", "p95", left=3)
    for rung in report.by_rung:
        counts = (str(rung.jobs), str(rung.accepted), _share(rung.accuracy))
        table.add_row(
            str(rung.rung), escape(rung.variant), escape(rung.model), *counts, ms(rung.p50_ms), ms(rung.p95_ms)
        )
    return table


def _ways(report: Report) -> Group:
    table = _table("", "accepted", "right", "cost", "per accepted", "p50", "p95")
    for way in (report.penstock, report.largest):
        cost = (usd(way.cost_usd), usd(way.cost_per_accepted_usd))
        table.add_row(escape(way.name), str(way.accepted), _share(way.accuracy), *cost, ms(way.p50_ms), ms(way.p95_ms))
    share = _share(report.largest_right_on_accepted)
    table.add_row("  where ours accepts", str(report.penstock.accepted), share, style="dim")
    return Group(table, f"[dim]{_verdict(report.penstock, report.largest)}[/]")


def _verdict(ours: Way, theirs: Way) -> str:
    if not ours.cost_per_accepted_usd or not theirs.cost_per_accepted_usd:
        return "What an accepted answer costs is unknown: nothing was accepted, or a price is missing in models.toml."
    saved = 1 - ours.cost_per_accepted_usd / theirs.cost_per_accepted_usd
    word = "less" if saved >= 0 else "more"
    return (
        f"An accepted answer costs {abs(saved):.0%} {word}, failed calls, climbs and handed-over jobs included "
        "(people's time is not). Every valid answer of the large model counts as accepted: nothing gates it. "
        "Times: from publishing to the result, beside the bare call. Prices: models.toml (for local models, made up)."
    )


def _bins(bins: tuple[Bin, ...]) -> Table:
    table = _table("confidence", "jobs", "right", "", left=1)
    table.columns[3].justify = "left"
    most = max((one.jobs for one in bins), default=0) or 1
    for one in bins:
        right = one.right / one.jobs if one.jobs else None
        bar = f"[green]{_bar(one.right / most)}[/][red]{_bar((one.jobs - one.right) / most)}[/]"
        table.add_row(f"{one.low:.1f} to {one.high:.1f}", str(one.jobs), _share(right), bar)
    return table


def _rows(report: Report) -> str:
    return " · ".join(f"{table} {count}" for table, count in report.rows.items())


def _checks(report: Report) -> Table:
    table = _table("", "", "", left=3)
    table.show_header = False
    for check in report.checks:
        table.add_row("[green]✓[/]" if check.ok else "[bold red]✗[/]", check.name, f"[dim]{escape(check.found)}[/]")
    return table


def _bar(share: float) -> str:
    return "█" * round(share * WIDTH)


def _share(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.1%}"
