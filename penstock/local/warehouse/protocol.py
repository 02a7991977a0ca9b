"""ClickHouse's HTTP protocol without the HTTP server: what a request asks for, and which headers an answer has."""

import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import orjson

from penstock.local.warehouse.engine import DEFAULT_DATABASE, DEFAULT_FORMAT, Call, Result
from penstock.local.warehouse.errors import AuthenticationError, OriginRefusedError, StatementRefusedError
from penstock.local.warehouse.settings import Settings

# What the protocol itself takes from the address; everything else there is a parameter or a setting of the engine.
_TRANSPORT: Final = frozenset(
    {
        "query",
        "query_id",
        "database",
        "default_format",
        "user",
        "password",
        "quota_key",
        "session_id",
        "session_timeout",
        "session_check",
        "close_session",
        "buffer_size",
        "wait_end_of_query",
        "compress",
        "decompress",
        "enable_http_compression",
        "stacktrace",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
        "http_zlib_compression_level",
        "add_http_cors_header",
    }
)
_PARAMETER: Final = "param_"
_LOOPBACK_NAMES: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_FIT_FOR_HEADER: Final = re.compile(r"[\x20-\x7e]{1,200}")

_JSON: Final = "application/json; charset=UTF-8"
_TYPE_OF_PREFIX: Final = (
    ("jsoneachrow", "application/x-ndjson; charset=UTF-8"),
    ("jsonlines", "application/x-ndjson; charset=UTF-8"),
    ("json", _JSON),
    ("tsv", "text/tab-separated-values; charset=UTF-8"),
    ("tabseparated", "text/tab-separated-values; charset=UTF-8"),
    ("csv", "text/csv; charset=UTF-8"),
    ("xml", "application/xml; charset=UTF-8"),
    ("markdown", "text/markdown; charset=UTF-8"),
    ("pretty", "text/plain; charset=UTF-8"),
    ("vertical", "text/plain; charset=UTF-8"),
    ("values", "text/plain; charset=UTF-8"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, without its body."""

    method: str
    address: Mapping[str, str]
    """What stands behind the `?`, and the fields of a form."""
    headers: Mapping[str, str]
    """Looked up without regard to case."""


def check_origin(request: Request, host: str) -> None:
    """Refuse what a page of another web site sends through a browser on this machine.

    Args:
        request: As it came.
        host: The address that the warehouse listens on.

    Raises:
        OriginRefusedError: the request names another origin, or, on the loopback, another host.
    """
    named = request.headers.get("Host", "")
    name = urlsplit(f"//{named}").hostname or ""
    if host in _LOOPBACK_NAMES and name not in _LOOPBACK_NAMES:
        raise OriginRefusedError(f"The request is for the host {named!r}, and this is {host}")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != named:
        raise OriginRefusedError(f"The request comes from a page of {origin!r}, and this is {named}")


def check_credentials(request: Request, settings: Settings, basic: tuple[str, str] | None) -> None:
    """Check user and password, from the headers `X-ClickHouse-User` and `-Key`, Basic authentication, or the address.

    Args:
        request: As it came.
        settings: User and password that are expected.
        basic: User and password of Basic authentication, if the request has any.

    Raises:
        AuthenticationError: they are missing or wrong. Without a password in the settings any password is right.
    """
    headers, address = request.headers, request.address
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        given: tuple[str | None, str | None] = headers.get("X-ClickHouse-User"), headers.get("X-ClickHouse-Key")
    else:
        given = basic or (address.get("user"), address.get("password"))
    user, password = given[0] or settings.user, given[1] or ""
    right_user = hmac.compare_digest(user.encode(), settings.user.encode())
    right_password = settings.password is None or hmac.compare_digest(password.encode(), settings.password.encode())
    if not (right_user and right_password):
        raise AuthenticationError(user, password_given=bool(password) or not right_user)


def read_call(request: Request, body: bytes) -> Call:
    """Put together what the engine shall run.

    Raises:
        StatementRefusedError: the request asks for something that is not supported here.
    """
    address, headers = request.address, request.headers
    if _on(address, "compress"):
        raise StatementRefusedError(
            48, "NOT_IMPLEMENTED", "compress=1 is not supported; use enable_http_compression=1 and Accept-Encoding"
        )
    query = address.get("query", "").encode("utf-8", "surrogateescape")
    return Call(
        text=query + b"\n" + body if query and body else query or body,
        query_id=address.get("query_id") or headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4()),
        database=address.get("database") or headers.get("X-ClickHouse-Database") or DEFAULT_DATABASE,
        default_format=address.get("default_format") or headers.get("X-ClickHouse-Format") or DEFAULT_FORMAT,
        settings={k: v for k, v in address.items() if k not in _TRANSPORT and not k.startswith(_PARAMETER)},
        parameters={k.removeprefix(_PARAMETER): v for k, v in address.items() if k.startswith(_PARAMETER)},
        read_only=request.method != "POST",
    )


def wants_blocks(request: Request) -> bool:
    """Whether the body comes in ClickHouse's own compressed blocks."""
    return _on(request.address, "decompress")


def wants_compression(request: Request) -> bool:
    """Whether the answer may be compressed as `Accept-Encoding` says."""
    return _on(request.address, "enable_http_compression")


def answer_headers(result: Result, call: Call) -> dict[str, str]:
    """The headers of a successful answer."""
    made = query_headers(call.query_id) | {
        "X-ClickHouse-Summary": _summary(result),
        "Content-Type": "text/plain; charset=UTF-8",
        # What the reader takes times without a zone for.
        "X-ClickHouse-Timezone": call.settings.get("session_timezone") or "UTC",
    }
    if result.format is not None:
        made |= {"X-ClickHouse-Format": result.format, "Content-Type": content_type(result.format)}
    return made


def query_headers(query_id: str) -> dict[str, str]:
    """The header that every answer to a call has."""
    return {"X-ClickHouse-Query-Id": query_id} if _FIT_FOR_HEADER.fullmatch(query_id) else {}


def content_type(form: str) -> str:
    """The media type of a format."""
    low = form.lower()
    if low in {"tabseparatedwithnames", "tsvwithnames", "csvwithnames"}:
        return f"text/{'csv' if low.startswith('csv') else 'tab-separated-values'}; charset=UTF-8; header=present"
    if low.startswith("jsoncompact") and low.endswith(("eachrow", "names", "types")):
        return "application/x-ndjson; charset=UTF-8"
    return next((kind for prefix, kind in _TYPE_OF_PREFIX if low.startswith(prefix)), "application/octet-stream")


def _summary(result: Result) -> str:
    numbers = {
        "read_rows": result.read_rows,
        "read_bytes": result.read_bytes,
        "written_rows": result.written_rows,
        "written_bytes": result.written_bytes,
        "total_rows_to_read": 0,
        "result_bytes": len(result.body),
        "elapsed_ns": int(result.elapsed_s * 1e9),
    }
    return orjson.dumps({name: str(number) for name, number in numbers.items()}).decode()


def _on(address: Mapping[str, str], name: str) -> bool:
    return address.get(name, "0").lower() in {"1", "true"}
