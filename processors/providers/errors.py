"""What a provider's failure means for the job: tables from status, body and kind of break to a class."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

MAX_WAIT_S = 60.0
"""The longest Retry-After that is believed, in seconds."""


class ErrorClass(StrEnum):
    """What to do about a failed attempt."""

    RETRYABLE_HERE = "retryable_here"
    RETRYABLE_ELSEWHERE = "retryable_elsewhere"
    WAIT_UNTIL = "wait_until"
    OURS_TO_FIX = "ours_to_fix"
    CREDENTIAL_DEAD = "credential_dead"
    CONTENT_REFUSED = "content_refused"
    CONTEXT_TOO_LONG = "context_too_long"
    TRUNCATED = "truncated"


class Break(StrEnum):
    """How a call ended without an answer from the provider."""

    NOT_CONNECTED = "not_connected"
    CONNECT_TIMEOUT = "connect_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    CUT = "cut"
    TLS = "tls"
    BAD_URL = "bad_url"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    NO_SLOT = "no_slot"


BY_BREAK: Mapping[Break, tuple[ErrorClass, bool]] = {
    Break.NOT_CONNECTED: (ErrorClass.RETRYABLE_HERE, False),
    Break.CONNECT_TIMEOUT: (ErrorClass.RETRYABLE_HERE, False),
    # As long again in the same place helps nobody.
    Break.TOTAL_TIMEOUT: (ErrorClass.RETRYABLE_ELSEWHERE, True),
    Break.CUT: (ErrorClass.RETRYABLE_HERE, True),
    Break.TLS: (ErrorClass.OURS_TO_FIX, False),
    Break.BAD_URL: (ErrorClass.OURS_TO_FIX, False),
    Break.TOO_LARGE: (ErrorClass.RETRYABLE_ELSEWHERE, True),
    Break.UNREADABLE: (ErrorClass.RETRYABLE_HERE, True),
    Break.NO_SLOT: (ErrorClass.RETRYABLE_ELSEWHERE, False),
}
"""The class of a break, and whether the model may have worked."""

BY_CODE: Mapping[str, ErrorClass] = {
    "context_length_exceeded": ErrorClass.CONTEXT_TOO_LONG,
    "string_above_max_length": ErrorClass.CONTEXT_TOO_LONG,
    "content_filter": ErrorClass.CONTENT_REFUSED,
    "content_policy_violation": ErrorClass.CONTENT_REFUSED,
    "insufficient_quota": ErrorClass.CREDENTIAL_DEAD,
    "billing_hard_limit_reached": ErrorClass.CREDENTIAL_DEAD,
    "billing_not_active": ErrorClass.CREDENTIAL_DEAD,
    "account_deactivated": ErrorClass.CREDENTIAL_DEAD,
    "invalid_api_key": ErrorClass.CREDENTIAL_DEAD,
    "model_not_found": ErrorClass.OURS_TO_FIX,
    "rate_limit_exceeded": ErrorClass.WAIT_UNTIL,
}
"""The class of an error code or type in the body, whatever the status."""

BY_STATUS: Mapping[int, ErrorClass] = {
    401: ErrorClass.CREDENTIAL_DEAD,
    402: ErrorClass.CREDENTIAL_DEAD,
    403: ErrorClass.CREDENTIAL_DEAD,
    408: ErrorClass.RETRYABLE_HERE,
    409: ErrorClass.RETRYABLE_HERE,
    413: ErrorClass.CONTEXT_TOO_LONG,
    425: ErrorClass.RETRYABLE_HERE,
    429: ErrorClass.WAIT_UNTIL,
    501: ErrorClass.OURS_TO_FIX,
    505: ErrorClass.OURS_TO_FIX,
}
"""The class of a status that its hundred does not already say."""

# Servers that speak the dialect without its codes say it in words only.
_TOO_LONG = re.compile(
    r"maximum context length|context (window|length)|prompt is too long|too many tokens", re.IGNORECASE
)


def of_status(status: int, codes: tuple[str, ...], message: str) -> ErrorClass:
    """The class of an error response: its code first, then its words, then its status."""
    for code in codes:
        if code in BY_CODE:
            return BY_CODE[code]
    if status in (400, 422) and _TOO_LONG.search(message):
        return ErrorClass.CONTEXT_TOO_LONG
    if status in BY_STATUS:
        return BY_STATUS[status]
    return ErrorClass.RETRYABLE_HERE if status >= 500 else ErrorClass.OURS_TO_FIX


def may_have_run(status: int) -> bool:
    """Whether the model may have worked behind this status: a request that was refused (4xx) reached no model."""
    return not 400 <= status < 500 or status == 408


def retry_after_s(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """The wait that the provider asks for, in seconds, at most 60; only 429 and 503 are heard, in either form."""
    if status not in (429, 503):
        return None
    wait = _number(headers.get("retry-after-ms"), 0.001)
    if wait is None:
        wait = _number(headers.get("retry-after"), 1.0)
    if wait is None:
        wait = _until(headers.get("retry-after"), now)
    return None if wait is None else min(max(wait, 0.0), MAX_WAIT_S)


def _number(value: str | None, unit: float) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number * unit if number == number else None  # noqa: PLR0124 -- NaN is the one value that differs from itself


def _until(value: str | None, now: datetime) -> float | None:
    try:
        return (parsedate_to_datetime(value or "") - now).total_seconds()
    except (ValueError, TypeError):
        return None
