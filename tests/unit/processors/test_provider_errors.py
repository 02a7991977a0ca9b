from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from processors.providers.errors import BY_BREAK, Break, ErrorClass, complaint, may_have_run, of_status, retry_after_s

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "codes", "message", "expected"),
    [
        (400, (), "bad", "ours_to_fix"),
        (400, ("context_length_exceeded",), "", "context_too_long"),
        (400, (), "This model's maximum context length is 4096 tokens", "context_too_long"),
        (422, (), "prompt is too long: 9 tokens", "context_too_long"),
        (400, ("content_policy_violation",), "", "content_refused"),
        (401, (), "", "credential_dead"),
        (402, (), "", "credential_dead"),
        (403, (), "", "credential_dead"),
        (404, ("model_not_found",), "", "ours_to_fix"),
        (408, (), "", "retryable_here"),
        (413, (), "", "context_too_long"),
        (418, (), "", "ours_to_fix"),
        (429, (), "", "wait_until"),
        (429, ("insufficient_quota",), "", "credential_dead"),
        (429, ("tokens", "rate_limit_exceeded"), "", "wait_until"),
        (500, (), "", "retryable_here"),
        (501, (), "", "ours_to_fix"),
        (502, (), "", "retryable_here"),
        (503, (), "maximum context length", "retryable_here"),
        (529, ("overloaded_error",), "", "retryable_here"),
        (301, (), "", "ours_to_fix"),
    ],
)
def test_status_code_and_words_give_the_class(status, codes, message, expected):
    """The code wins over the words, the words over the status."""
    assert of_status(status, codes, message) == expected


def test_every_break_has_a_class():
    """No way for a call to end is left without a meaning."""
    assert set(BY_BREAK) == set(Break)
    assert BY_BREAK[Break.NOT_CONNECTED] == (ErrorClass.RETRYABLE_HERE, False)
    assert BY_BREAK[Break.TOTAL_TIMEOUT] == (ErrorClass.RETRYABLE_ELSEWHERE, True)


@pytest.mark.parametrize(("status", "ran"), [(400, False), (429, False), (408, True), (500, True), (200, True)])
def test_only_a_refused_request_surely_ran_nothing(status, ran):
    """What the model may have done must not count as free."""
    assert may_have_run(status) is ran


@pytest.mark.parametrize(
    ("status", "headers", "wait"),
    [
        (429, {"retry-after": "7"}, 7.0),
        (429, {"retry-after": "0.5"}, 0.5),
        (503, {"retry-after": format_datetime(NOW + timedelta(seconds=20), usegmt=True)}, 20.0),
        (429, {"retry-after": format_datetime(NOW - timedelta(seconds=20), usegmt=True)}, 0.0),
        (429, {"retry-after": "3600"}, 60.0),
        (429, {"retry-after": "-5"}, 0.0),
        (429, {"retry-after": "inf"}, 60.0),
        (429, {"retry-after": "nan"}, None),
        (429, {"retry-after": "soon"}, None),
        (429, {"retry-after": "Sat, 99 Nov 2026 12:00:00 GMT"}, None),
        (429, {"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (429, {}, None),
        (200, {"retry-after": "7"}, None),
        (500, {"retry-after": "7"}, None),
    ],
)
def test_retry_after_is_heard_on_429_503_and_529_only(status, headers, wait):
    """Both forms, a date beside the response's own, clamped to a minute; what can't be read is no wait."""
    assert retry_after_s(status, {"date": format_datetime(NOW, usegmt=True)} | headers) == wait


GOOGLE = {"error": {"code": 429, "details": [{"@type": "x/google.rpc.RetryInfo", "retryDelay": "34.5s"}]}}


@pytest.mark.parametrize(
    ("body", "message", "wait"),
    [
        (GOOGLE, "", 34.5),
        ([GOOGLE], "", 34.5),
        (None, "Rate limit reached. Please try again in 1m2.5s. Visit", 60.0),
        (None, "Please try again in 220ms.", 0.22),
        (None, "try again in a while", None),
        ({"error": {"details": [{"retryDelay": 5}]}}, "", None),
        ("<html>", "", None),
    ],
)
def test_a_wait_in_the_body_or_in_words_is_heard_too(body, message, wait):
    """Google has a field for it, OpenAI says it in its message; a header wins over both."""
    assert retry_after_s(429, {}, body, message) == (None if wait is None else pytest.approx(wait))
    assert retry_after_s(429, {"retry-after": "3"}, body, message) == 3.0


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        ({"error": {"message": "m", "code": "c", "type": "t"}}, {}, (("c", "t"), "m")),
        ({"error": {"message": "m", "code": 429, "status": "RESOURCE_EXHAUSTED"}}, {}, (("RESOURCE_EXHAUSTED",), "m")),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, {}, (("overloaded_error",), "m")),
        ({"message": "m"}, {"x-amzn-errortype": "ThrottlingException:http"}, (("ThrottlingException",), "m")),
        ({"__type": "com.x#ValidationException", "message": "m"}, {}, (("ValidationException",), "m")),
        ({"detail": [{"loc": ["body"]}]}, {}, ((), '[{"loc":["body"]}]')),
        ({"error": "words"}, {}, ((), "words")),
        ([{"error": {"message": "m", "details": [{"reason": "API_KEY_INVALID"}]}}], {}, (("API_KEY_INVALID",), "m")),
        (None, {}, ((), "")),
    ],
)
def test_every_provider_complains_in_its_own_way(body, headers, expected):
    """The codes, the most telling first, and the words."""
    assert complaint(body, headers) == expected
