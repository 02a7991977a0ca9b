from decimal import Decimal

from penstock.cli.trace_view import answer_in, tree
from schemas.trace import ToolCallEvent, TraceEvent
from sinks.queries import Call, ToolCall


def test_the_whole_story_is_there_in_order(trace_of, text):
    """Input, every stage, the decision, the call, the check, the gate, the end and the money, as they happened."""
    shown = text(tree(trace_of()))
    wanted = [
        "j1  accepted",
        "banking_intent@c60783ff640e1800 · tenant acme",
        "where is my card?",
        "routing → pass",
        "variant small, tier A, tiny at local",
        "classify starts at tier A; not mid: switched off; without switches it would be mid",
        "inference → pass",
        "asked tiny, answered by tiny-2026 → answered  HTTP 200 · stop · 100 tokens in, 9 out · $0.0001200 · 38 ms",
        "prompt ffffffffffff",
        'answer  {"intent": "card_arrival"}',
        "raw response  ",
        "check schema → allow",
        "gate → accept: confidence 0.930, raw 0.970; accepts at 0.85, climbs below 0.72; isotonic n=1986",
        "ended as accepted",
        "control version 3 · published at jobs/4/2",
        "total $0.0001200 for 1 call, 100 tokens in, 9 out",
    ]
    places = [shown.find(part) for part in wanted]
    assert -1 not in places, wanted[places.index(-1)]
    assert places == sorted(places)


def test_times_say_when_and_for_how_long(trace_of, text):
    """A stage shows its clock time, the time since the job began, its queue and its work."""
    assert "12:00:00.960 +960 ms · waited 1.5 ms, worked 40 ms" in text(tree(trace_of()))


def test_unknown_is_said_and_never_shown_as_zero(trace_of, attempt_row, job_row, text):
    """Unknown tokens, an unknown price and an unknown confidence are called unknown."""
    call = attempt_row(
        cost_usd=None,
        cost_unknown_because="no price for output tokens",
        gen_ai_usage_input_tokens=None,
        gen_ai_usage_output_tokens=None,
    )
    shown = text(tree(trace_of(calls=(Call(call, None, None),), job=job_row(confidence=None, cost_usd=None))))
    assert "tokens unknown · unknown (no price for output tokens)" in shown
    assert "total unknown" in shown
    assert "confidence unknown" in shown
    assert "$0" not in shown


def test_a_sum_with_unknown_parts_says_so(trace_of, attempt_row, text):
    """One priced and one unpriced call are not one price."""
    calls = (
        Call(attempt_row(), None, None),
        Call(attempt_row(cost_usd=None, n=2, error_class="overloaded", error="HTTP 503"), None, None),
    )
    shown = text(tree(trace_of(calls=calls)))
    assert "total $0.0001200, and 1 of unknown price" in shown
    assert "overloaded" in shown
    assert "HTTP 503" in shown


def test_a_call_that_cost_nothing_is_free(trace_of, attempt_row, text):
    """A known price of zero is $0."""
    assert "total $0 for 1 call" in text(tree(trace_of(calls=(Call(attempt_row(cost_usd=Decimal(0)), None, None),))))


def test_an_escalated_job_waits_for_a_person(trace_of, job_row, text):
    """What is open is not called ended, and its output is a proposal."""
    shown = text(tree(trace_of(job=job_row(status="escalated", terminal=False))))
    assert "waits for a person: escalated" in shown
    assert "proposed  " in shown


def test_a_job_on_its_way_shows_what_there_is(trace_of, text):
    """Without an ending the trace has no title's status but that."""
    assert "j1  on its way" in text(tree(trace_of(job=None, output=None)))


def test_a_dead_letter_says_where_it_was_read(trace_of, dead_letter, text):
    """A record that was given up on is part of the story, even if it is all there is."""
    bare = {"stages": (), "decisions": (), "calls": (), "checks": (), "grades": (), "input": None, "output": None}
    shown = text(tree(trace_of(job=None, dead_letters=(dead_letter,), **bare)))
    assert "dead letter at intake: unreadable: expected a JSON object (read from jobs/0/9)" in shown


def test_full_shows_texts_whole(trace_of, text):
    """Requests and responses are cut to a line unless they are asked for."""
    long = '{"text": "' + "x" * 1000 + '"}'
    assert "x" * 190 not in text(tree(trace_of(input=long)))
    assert text(tree(trace_of(input=long), full=True)).count("x") >= 1000


def test_markup_in_what_models_write_is_text(trace_of, text):
    """What a model or a customer writes can't style the terminal or break the rendering."""
    shown = text(tree(trace_of(input='{"text": "[bold red]boo[/] [/nope]"}')))
    assert "[bold red]boo[/] [/nope]" in shown


def test_an_answer_is_found_only_in_a_chat_completion():
    """Anything else has no answer to show."""
    assert answer_in('{"choices": [{"message": {"content": "hi"}}]}') == "hi"
    for other in ("", "[]", "{}", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}', "<html>"):
        assert answer_in(other) is None


def test_tools_stand_with_the_stage_that_called_them(trace_of, attempt_row, text):
    """Which tool, how it went, who asked for it; and what it was told and said."""
    fields = {name: getattr(attempt_row(), name) for name in TraceEvent.model_fields}
    fields |= {"event_id": "acme/j1/inference/0/0/0/tool-1", "attempt_id": "acme/j1/0/0/1", "n": 1}
    event = ToolCallEvent(
        **fields,
        gen_ai_tool_call_id="c1",
        gen_ai_tool_name="orders",
        status="failed",
        error="HTTP 404",
        arguments_sha256="1" * 64,
        response_sha256=None,
        http_response_status_code=404,
        tries=2,
        idempotency_key="k",
        started_at=attempt_row().started_at,
        total_ms=12.0,
    )
    shown = text(tree(trace_of(tools=(ToolCall(event, '{"order": "A"}', None),))))
    assert "tool orders → failed: HTTP 404  asked by attempt 1 · HTTP 404 · 2 tries · 12 ms" in shown
    assert 'arguments  {"order": "A"}' in shown
