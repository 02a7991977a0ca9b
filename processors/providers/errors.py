"""What a provider's failure means for the job: tables from status, body and kind of break to a class."""

import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final

import orjson

from processors.providers.reading import at, entries, text

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
    NO_BEGINNING = "no_beginning"
    STALLED = "stalled"
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
    Break.NO_BEGINNING: (ErrorClass.RETRYABLE_ELSEWHERE, True),
    Break.STALLED: (ErrorClass.RETRYABLE_ELSEWHERE, True),
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
    "server_error": ErrorClass.RETRYABLE_HERE,
    "server_overloaded": ErrorClass.RETRYABLE_HERE,
    # Anthropic
    "authentication_error": ErrorClass.CREDENTIAL_DEAD,
    "billing_error": ErrorClass.CREDENTIAL_DEAD,
    "permission_error": ErrorClass.CREDENTIAL_DEAD,
    "request_too_large": ErrorClass.CONTEXT_TOO_LONG,
    "rate_limit_error": ErrorClass.WAIT_UNTIL,
    "overloaded_error": ErrorClass.RETRYABLE_HERE,
    "api_error": ErrorClass.RETRYABLE_HERE,
    "timeout_error": ErrorClass.RETRYABLE_ELSEWHERE,
    # Google
    "API_KEY_INVALID": ErrorClass.CREDENTIAL_DEAD,
    "UNAUTHENTICATED": ErrorClass.CREDENTIAL_DEAD,
    "PERMISSION_DENIED": ErrorClass.CREDENTIAL_DEAD,
    "RESOURCE_EXHAUSTED": ErrorClass.WAIT_UNTIL,
    "UNAVAILABLE": ErrorClass.RETRYABLE_HERE,
    "DEADLINE_EXCEEDED": ErrorClass.RETRYABLE_ELSEWHERE,
    "INTERNAL": ErrorClass.RETRYABLE_HERE,
    # AWS
    "UnrecognizedClientException": ErrorClass.CREDENTIAL_DEAD,
    "ExpiredTokenException": ErrorClass.CREDENTIAL_DEAD,
    "AccessDeniedException": ErrorClass.CREDENTIAL_DEAD,
    "ThrottlingException": ErrorClass.WAIT_UNTIL,
    "throttlingException": ErrorClass.WAIT_UNTIL,
    "ServiceQuotaExceededException": ErrorClass.WAIT_UNTIL,
    "ModelNotReadyException": ErrorClass.RETRYABLE_ELSEWHERE,
    "ModelTimeoutException": ErrorClass.RETRYABLE_ELSEWHERE,
    "ModelErrorException": ErrorClass.RETRYABLE_ELSEWHERE,
    "modelStreamErrorException": ErrorClass.RETRYABLE_ELSEWHERE,
    "serviceUnavailableException": ErrorClass.RETRYABLE_HERE,
    "ServiceUnavailableException": ErrorClass.RETRYABLE_HERE,
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
    424: ErrorClass.RETRYABLE_ELSEWHERE,
    501: ErrorClass.OURS_TO_FIX,
    505: ErrorClass.OURS_TO_FIX,
}
"""The class of a status that its hundred does not already say."""

# Servers that speak the dialect without its codes say it in words only.
_TOO_LONG = re.compile(
    r"maximum context length|context (window|length)|prompt is too long|too many tokens|input is too long|"
    r"exceeds the maximum number of tokens|input token count",
    re.IGNORECASE,
)
_AGAIN_IN: Final = re.compile(r"try again in ((?:\d{1,6}h)?(?:\d{1,6}m(?!s))?(?:\d{1,6}(?:\.\d{1,9})?(?:ms|s))?)")
_PARTS: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|h|m)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def complaint(body: Any, headers: Mapping[str, str]) -> tuple[tuple[str, ...], str]:
    """A provider's codes for what is wrong, the most telling first, and its words."""
    if isinstance(body, list) and body:
        body = body[0]
    said = at(body, "error")
    if isinstance(said, str):
        return _kind(headers), said
    if not isinstance(said, dict):
        said = body if isinstance(body, dict) else {}
    reasons = [text(detail, "reason") for detail in entries(said, "details")]
    codes = [*reasons, *(_word(said.get(name)) for name in ("code", "status", "type", "__type")), *_kind(headers)]
    words = next((said[name] for name in ("message", "detail", "Message") if said.get(name)), "")
    return tuple(dict.fromkeys(filter(None, codes))), words if isinstance(words, str) else orjson.dumps(words).decode()


def _word(code: Any) -> str | None:
    """A code that is a word; a number repeats the status, mostly."""
    return code.rpartition("#")[2] if isinstance(code, str) and code != "error" else None


def _kind(headers: Mapping[str, str]) -> tuple[str, ...]:
    """AWS's code, which stands in a header."""
    kind = headers.get("x-amzn-errortype", "").partition(":")[0]
    return (kind,) if kind else ()


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


def retry_after_s(status: int, headers: Mapping[str, str], body: Any = None, message: str = "") -> float | None:
    """The wait that the provider asks for, from 0 to 60 s; nothing if it asks for none.

    Only 429, 503 and 529 are heard: some send the header with every response. It may be a number or a date, which is
    read beside the date of the response itself; Google says it in the body, OpenAI in words too.
    """
    if status not in (429, 503, 529):
        return None
    asked = (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _until(headers.get("retry-after"), headers.get("date")),
        _delay(body),
        _in_words(message),
    )
    wait = next((one for one in asked if one is not None), None)
    return None if wait is None else min(max(wait, 0.0), MAX_WAIT_S)


def _number(value: str | None, unit: float) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return None if math.isnan(number) else number * unit


def _until(value: str | None, date: str | None) -> float | None:
    try:
        return (parsedate_to_datetime(value or "") - parsedate_to_datetime(date or "")).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None


def _delay(body: Any) -> float | None:
    """Google's RetryInfo."""
    body = body[0] if isinstance(body, list) and body else body
    for detail in entries(body, "error", "details"):
        if (said := text(detail, "retryDelay")) is not None:
            return _number(said.removesuffix("s"), 1.0)
    return None


def _in_words(message: str) -> float | None:
    found = _AGAIN_IN.search(message)
    parts = _PARTS.findall(found[1]) if found else []
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None
