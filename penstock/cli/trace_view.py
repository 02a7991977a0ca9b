"""A job's trace as a tree for people: stages in the order of time, what each learned beneath it."""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from rich.markup import escape
from rich.text import Text
from rich.tree import Tree

from penstock.cli.output import UNKNOWN, clock, ms, number, usd
from processors.models import Dialect
from processors.providers import Completion, parse
from schemas.trace import AttemptEvent, CheckEvent, DecisionEvent, GradeEvent, JobEvent, StageEvent, TraceEvent
from sinks.queries import Call, JobTrace, ToolCall

GOOD: Final = "green"
BAD: Final = "red"
WAITS: Final = "yellow"
COLOURS: Final = {
    "pass": GOOD,
    "accept": GOOD,
    "accepted": GOOD,
    "allow": GOOD,
    "ok": GOOD,
    "climb": WAITS,
    "retry": WAITS,
    "escalate": WAITS,
    "escalated": WAITS,
    "unknown": WAITS,
}
CUT: Final = 500


def tree(trace: JobTrace, *, full: bool = False) -> Tree:
    """The whole trace."""
    start = _start(trace)
    root = Tree(_title(trace), guide_style="dim")
    if trace.input is not None:
        root.add(_text("input", trace.input, full=full))
    happened: list[StageEvent | JobEvent] = [*trace.stages, *trace.endings]
    for event in sorted(happened, key=lambda event: (event.time, isinstance(event, JobEvent))):
        if isinstance(event, JobEvent):
            root.add(_ending(event, trace, full=full))
        else:
            _add_stage(root, event, trace, start, full=full)
    for letter in trace.dead_letters:
        place = (
            f"{letter.messaging_destination_name}/{letter.messaging_kafka_partition}/{letter.messaging_kafka_offset}"
        )
        said = f"{escape(letter.error_class)}: {escape(letter.message)}"
        root.add(f"[{BAD}]dead letter[/] at {escape(letter.stage)}: {said} [dim](read from {escape(place)})[/]")
    root.add(_money(trace))
    return root


def _title(trace: JobTrace) -> str:
    job, first = trace.job, next(iter(trace.stages), None)
    known: JobEvent | StageEvent | None = job or first
    if known is None:
        return f"[bold]{escape(trace.job_id)}[/]"
    status = job.status if job else "on its way"
    version = f"@{known.workflow_version}" if known.workflow_version else ""
    about = (
        f"{known.workflow or 'no workflow'}{version} · tenant {known.tenant} · arm {known.arm} · trace {known.trace_id}"
    )
    return f"[bold]{escape(trace.job_id)}[/]  {coloured(status)}\n[dim]{escape(about)}[/]"


def _start(trace: JobTrace) -> datetime | None:
    if trace.job is not None:
        return trace.job.created_at
    begun = [event.time - timedelta(milliseconds=event.duration_ms + event.queue_ms) for event in trace.stages]
    return min(begun, default=None)


def _add_stage(root: Tree, event: StageEvent, trace: JobTrace, start: datetime | None, *, full: bool) -> None:
    began = event.time - timedelta(milliseconds=event.duration_ms)
    after = f"+{ms((began - start).total_seconds() * 1000)}" if start else ""
    rung = f" [cyan]rung {event.rung}[/]" if event.rung else ""
    again = f" [cyan]round {event.round}[/]" if event.round else ""
    outcome = coloured(event.outcome) + (f" as {escape(event.status)}" if event.status else "")
    spent = f"[dim]{clock(began)} {after} · waited {ms(event.queue_ms)}, worked {ms(event.duration_ms)}[/]"
    reason = f"\n  {escape(event.reason)}" if event.reason else ""
    stage = root.add(f"[bold]{event.stage}[/]{rung}{again} → {outcome}  {spent}{reason}")
    for decision in _of(trace.decisions, event):
        stage.add(_decision(decision))
    for call in trace.calls:
        if _place(call.event) == _place(event):
            _add_call(stage, call, full=full)
    for used in trace.tools:
        if _place(used.event) == _place(event):
            _add_tool(stage, used, full=full)
    for check in _of(trace.checks, event):
        stage.add(_check(check))
    for grade in _of(trace.grades, event):
        stage.add(_gate(grade))


def _place(event: TraceEvent) -> str:
    """What all rows of one stage's work on one record share."""
    return event.event_id.rpartition("/")[0]


def _of(events: Iterable[Any], stage: StageEvent) -> list[Any]:
    return [event for event in events if _place(event) == _place(stage)]


def _decision(event: DecisionEvent) -> str:
    model = f"{event.gen_ai_request_model} at {event.gen_ai_provider_name}"
    without = (f"without {constraint} it would be {variant}" for constraint, variant in event.without.items())
    why = [*event.reasons, *(f"not {skipped}" for skipped in event.skipped), *without]
    reasons = f"\n  [dim]{escape('; '.join(why))}[/]" if why else ""
    return f"decision: variant [bold]{escape(event.variant)}[/], tier {event.tier}, {escape(model)}{reasons}"


def _add_call(stage: Tree, call: Call, *, full: bool) -> None:
    event = call.event
    answered = event.gen_ai_response_model or "nobody"
    said = coloured(event.error_class, BAD) if event.error_class else coloured("answered", GOOD)
    parts = [
        f"HTTP {event.http_response_status_code}" if event.http_response_status_code else "no response",
        event.gen_ai_response_finish_reason or "",
        _tokens(event),
        usd(event.cost_usd) + (f" ({escape(event.cost_unknown_because)})" if event.cost_unknown_because else ""),
        ms(event.total_ms),
        f"prompt {event.prompt_sha256[:12]}",
    ]
    asked = f"asked {escape(event.gen_ai_request_model)}, answered by {escape(answered)}"
    branch = stage.add(f"attempt {event.n}: {asked} → {said}  [dim]{' · '.join(part for part in parts if part)}[/]")
    if event.error:
        branch.add(f"[{BAD}]{escape(event.error)}[/]")
    if call.request is not None and full:
        branch.add(_text("request", call.request, full=True))
    if call.response is not None:
        if (content := answer_in(call.response)) is not None:
            branch.add(_text("answer", content, full=full))
        branch.add(_text("raw response", call.response, full=full))


def _add_tool(stage: Tree, used: ToolCall, *, full: bool) -> None:
    event = used.event
    status = f"HTTP {event.http_response_status_code} · " if event.http_response_status_code else ""
    tries = f"{event.tries} tr{'y' if event.tries == 1 else 'ies'}"
    about = f"asked by attempt {event.attempt_id.rpartition('/')[2]} · {status}{tries} · {ms(event.total_ms)}"
    said = f": {escape(event.error)}" if event.error else ""
    branch = stage.add(f"tool {escape(event.gen_ai_tool_name)} → {coloured(event.status)}{said}  [dim]{about}[/]")
    for label, content in (("arguments", used.arguments), ("response", used.response)):
        if content is not None:
            branch.add(_text(label, content, full=full))


def _tokens(event: AttemptEvent) -> str:
    read, written = event.gen_ai_usage_input_tokens, event.gen_ai_usage_output_tokens
    if read is None and written is None:
        return "tokens unknown"
    shown = ["unknown" if count is None else str(count) for count in (read, written)]
    cached = f" ({event.gen_ai_usage_cached_tokens} cached)" if event.gen_ai_usage_cached_tokens else ""
    return f"{shown[0]}{cached} tokens in, {shown[1]} out"


def _check(event: CheckEvent) -> str:
    evidence = f": {escape(event.evidence)}" if event.evidence else ""
    version = f"[dim]v{escape(event.check_version)}, {ms(event.duration_ms)}[/]"
    return f"check {escape(event.check_name)} → {coloured(event.verdict)}{evidence}  {version}"


def _gate(event: GradeEvent) -> str:
    confidence = f"confidence {number(event.confidence)}, raw {number(event.raw_confidence)}"
    limits = f"accepts at {event.accept_at:g}, climbs below {event.climb_below:g}"
    calibration = escape(event.calibration) if event.calibration else f"calibration {UNKNOWN}"
    return f"gate → {coloured(event.decision)}: {confidence}; {limits}; [dim]{calibration}[/]"


def _ending(event: JobEvent, trace: JobTrace, *, full: bool) -> Tree:
    verb = "ended as" if event.terminal else "waits for a person:"
    took = f"[dim]{clock(event.time)} after {ms(event.total_ms)}[/]"
    branch = Tree(f"[bold]{verb}[/] {coloured(event.status)}  {took}\n  {escape(event.reason)}")
    if trace.output is not None and event is trace.job:
        branch.add(_text("output" if event.terminal else "proposed", trace.output, full=full))
    facts = [
        f"confidence {number(event.confidence)}",
        f"variant {escape(event.variant)}" if event.variant else "no variant",
        f"control version {event.control_version}",
        f"published at {escape(event.source_topic)}/{event.source_partition}/{event.source_offset}",
    ]
    if event.snapshot_id:
        facts.append(f"snapshot {escape(event.snapshot_id)} version {escape(event.snapshot_version or '')}")
    branch.add(f"[dim]{' · '.join(facts)}[/]")
    return branch


def _money(trace: JobTrace) -> str:
    known = [call.event.cost_usd for call in trace.calls if call.event.cost_usd is not None]
    unpriced = len(trace.calls) - len(known)
    tokens = sum((call.event.gen_ai_usage_input_tokens or 0) for call in trace.calls)
    written = sum((call.event.gen_ai_usage_output_tokens or 0) for call in trace.calls)
    calls = f"{len(trace.calls)} call{'' if len(trace.calls) == 1 else 's'}"
    total = usd(sum(known, start=0 * known[0])) if known else usd(None) if trace.calls else "$0"
    missing = f", and {unpriced} of unknown price" if unpriced and known else ""
    return f"[bold]total[/] {total}{missing} [dim]for {calls}, {tokens} tokens in, {written} out[/]"


def answer_in(response: str) -> str | None:
    """The text that the model wrote, out of a raw response in whatever dialect; None if there is none."""
    body = response.encode("utf-8", "replace")
    found = (parse(dialect, 200, {}, body) for dialect in Dialect)
    return next((one.text for one in found if isinstance(one, Completion) and one.text), None)


def coloured(word: str, otherwise: str = BAD) -> str:
    """A verdict in its colour."""
    return f"[{COLOURS.get(word, otherwise)}]{escape(word)}[/]"


def _text(label: str, text: str, *, full: bool) -> Text:
    """A text under its name: one line that ends where the terminal does, or all of it."""
    shown = Text.assemble((label, "dim"), "  ", _pretty(text) if full else " ".join(text[:CUT].split()))
    if not full:
        shown.no_wrap, shown.overflow = True, "ellipsis"
    return shown


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), indent=1, ensure_ascii=False)
    except ValueError:
        return text
