"""Trials and evaluations as people see them, and the same with stable keys for programs."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

import orjson
from rich.console import Group, RenderableType
from rich.json import JSON
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from penstock.cli.output import ms, number, usd
from penstock.cli.trace_view import answer_in
from penstock.evals import Evaluation, Figures, Judged, Share, figures
from penstock.trial import ACCEPTED, ESCALATED, Trial, TrialStep
from processors.outcome import Pass
from schemas.stages import Attempt

COLOURS: Final = {ACCEPTED: "green", ESCALATED: "yellow"}
SHOWN_WRONG: Final = 5
LONGEST: Final = 400


def tree(trial: Trial) -> RenderableType:
    """Every stage with what it decided and why; then the answer, or the proposal."""
    colour = COLOURS.get(trial.status, "red")
    root = Tree(f"[bold {colour}]{escape(trial.status)}[/]  {escape(trial.reason)}", guide_style="dim")
    for step in trial.steps:
        node = root.add(_step_line(step))
        for line in _facts(step):
            node.add(line)
    answer = trial.output if trial.output is not None else trial.proposed
    shown = [JSON(answer)] if answer is not None else []
    total = f"{ms(trial.ms)}, {usd(trial.cost_usd)} in {trial.head.spent.attempts} calls, {trial.head.workflow}"
    return Group(root, *shown, f"[dim]{total}@{trial.head.workflow_version}[/]")


def _step_line(step: TrialStep) -> str:
    word = type(step.outcome).__name__.lower()
    colour = "green" if isinstance(step.outcome, Pass) else "yellow"
    place = f" rung {step.rung}" if step.stage != "intake" else ""
    again = f" round {step.round}" if step.round else ""
    reason = f"  {escape(step.outcome.reason)}" if step.outcome.reason else ""
    return f"[bold]{step.stage}[/]{place}{again} [{colour}]{word}[/] [dim]{ms(step.ms)}[/]{reason}"


def _facts(step: TrialStep) -> Iterator[RenderableType]:
    facts = step.outcome.facts
    if (decision := facts.decision) is not None:
        yield f"variant {escape(decision.variant)} on {escape(decision.model)}: {escape('; '.join(decision.reasons))}"
        for skipped in decision.skipped:
            yield f"[dim]not {escape(skipped)}[/]"
        for constraint, variant in decision.without.items():
            yield f"[dim]without {constraint} it would be {escape(variant)}[/]"
    for attempt in facts.attempts:
        yield _attempt_line(attempt)
        if attempt.response is not None:
            yield f"[dim]{escape(_short(answer_in(attempt.response) or attempt.response))}[/]"
    for finding in facts.findings:
        colour = "green" if finding.verdict == "allow" else "red"
        yield f"check {escape(finding.check)}: [{colour}]{finding.verdict}[/] {escape(finding.evidence)}"
    if (gate := facts.gate) is not None:
        yield f"gate: confidence {number(gate.confidence)} (raw {number(gate.raw_confidence)}): {escape(gate.decision)}"


def _attempt_line(attempt: Attempt) -> str:
    used = attempt.usage
    tokens = f"{used.input_tokens or '?'} → {used.output_tokens or '?'} tokens"
    failed = f" [red]{escape(attempt.error_class)}: {escape(attempt.error or '')}[/]" if attempt.error_class else ""
    took = f"{ms(attempt.total_ms)}, {tokens}, {usd(attempt.cost_usd)}"
    return f"call {attempt.n} to {escape(attempt.model_asked)}: {took}{failed}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[:LONGEST] + " …"


def as_json(trial: Trial) -> dict[str, Any]:
    """A trial with stable keys."""
    return {
        "status": trial.status,
        "reason": trial.reason,
        "output": _value(trial.output),
        "proposed": _value(trial.proposed),
        "confidence": trial.gate.confidence if trial.gate else None,
        "workflow": trial.head.workflow,
        "workflow_version": trial.head.workflow_version,
        "rung": trial.head.rung,
        "cost_usd": trial.cost_usd,
        "attempts": trial.head.spent.attempts,
        "ms": trial.ms,
        "decision_path": [_step_json(step) for step in trial.steps],
    }


def _value(text: str | None) -> Any:
    return None if text is None else orjson.loads(text)


def _step_json(step: TrialStep) -> dict[str, Any]:
    facts = step.outcome.facts
    return {
        "stage": step.stage,
        "rung": step.rung,
        "round": step.round,
        "outcome": type(step.outcome).__name__.lower(),
        "reason": step.outcome.reason,
        "ms": step.ms,
        "decision": facts.decision,
        "calls": list(facts.attempts),
        "checks": list(facts.findings),
        "gate": facts.gate,
    }


def evaluation(name: str, done: Evaluation) -> RenderableType:
    """The figures of all cases, by rung and by segment, and the first that were accepted and wrong."""
    table = Table(title=f"{escape(name)}: {len(done.judged)} cases", title_justify="left", box=None, pad_edge=False)
    of_accepted = ("accepted", "of these right", "95 %")
    times = ("p50", "p95", "first token", "p95")
    columns = ("", "cases", *of_accepted, "to a person", "answers right", "cost", "per accepted", *times)
    for column in columns:
        table.add_column(column, justify="right" if column else "left")
    table.add_row("all", *_cells(figures(done.judged)), style="bold")
    for title, groups in (("ended at rung", done.by_rung()), ("segment", done.by_segment())):
        for group, found in groups.items():
            table.add_row(escape(f"{title} {group}"), *_cells(found))
    return Group(table, *map(_wrong_line, done.wrong()[:SHOWN_WRONG]))


def _cells(found: Figures) -> tuple[str, ...]:
    interval = found.right.interval
    between = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
    return (
        str(found.cases),
        _share(found.accepted),
        _share(found.right),
        between,
        _share(found.escalated),
        _share(found.answers_right),
        usd(found.cost_usd),
        usd(found.cost_per_accepted) if found.accepted.count else "",
        ms(found.p50_ms),
        ms(found.p95_ms),
        ms(found.first_token_p50_ms),
        ms(found.first_token_p95_ms),
    )


def _share(share: Share) -> str:
    return "" if share.value is None else f"{share.value:.1%}"


def _wrong_line(judged: Judged) -> str:
    wanted = f", expected {judged.case.expected}" if judged.case.expected is not None else ""
    return f"[red]wrong[/] {escape(judged.case.id)}: {escape(_short(f'{judged.trial.output}{wanted}'))}"


def evaluation_json(done: Evaluation) -> dict[str, Any]:
    """The same figures with stable keys."""
    return {
        "all": _figures_json(figures(done.judged)),
        "by_rung": _groups_json(done.by_rung()),
        "by_segment": _groups_json(done.by_segment()),
        "skipped": done.skipped,
        "wrong": [{"id": one.case.id, "output": _value(one.trial.output)} for one in done.wrong()],
    }


def _groups_json(groups: Mapping[str, Figures]) -> dict[str, Any]:
    return {name: _figures_json(found) for name, found in groups.items()}


def _figures_json(found: Figures) -> dict[str, Any]:
    shares = {name: _share_json(getattr(found, name)) for name in ("accepted", "right", "escalated", "answers_right")}
    return {**asdict(found), **shares, "cost_per_accepted_usd": found.cost_per_accepted}


def _share_json(share: Share) -> dict[str, Any]:
    return {"count": share.count, "of": share.of, "value": share.value, "interval": share.interval}
