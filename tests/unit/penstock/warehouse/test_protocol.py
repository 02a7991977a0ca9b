from pathlib import Path

import pytest
from multidict import CIMultiDict

from penstock.local.warehouse.engine import Call, Result
from penstock.local.warehouse.errors import (
    AuthenticationError,
    EngineError,
    OriginRefusedError,
    StatementRefusedError,
)
from penstock.local.warehouse.protocol import (
    Request,
    answer_headers,
    check_credentials,
    check_origin,
    content_type,
    read_call,
)
from penstock.local.warehouse.settings import Settings


def request(method="POST", address=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(method, address or {}, CIMultiDict(named))


def test_a_call_is_put_together():
    """Transport names, parameters and settings of the address go where they belong."""
    address = {
        "query": "SELECT 1",
        "database": "d",
        "param_x": "1",
        "max_threads": "2",
        "session_id": "s",
        "query_id": "q",
        "wait_end_of_query": "1",
    }
    call = read_call(request("GET", address, X_ClickHouse_Format="JSON"), b"")
    assert call == Call(
        text=b"SELECT 1",
        query_id="q",
        database="d",
        default_format="JSON",
        settings={"max_threads": "2"},
        parameters={"x": "1"},
        read_only=True,
    )


def test_the_body_goes_on_where_the_address_ends():
    """A statement begun in the address and ended in the body is parted by a line."""
    assert (
        read_call(request(address={"query": "INSERT INTO t FORMAT CSV"}), b"1\n").text
        == b"INSERT INTO t FORMAT CSV\n1\n"
    )
    assert read_call(request(), b"SELECT 1").text == b"SELECT 1"
    assert not read_call(request(), b"SELECT 1").read_only


def test_native_compression_of_answers_is_refused():
    """`compress=1` is said to be unsupported, instead of being ignored."""
    with pytest.raises(StatementRefusedError, match="enable_http_compression"):
        read_call(request(address={"compress": "1"}), b"SELECT 1")


@pytest.mark.parametrize(
    ("host", "origin", "listening", "allowed"),
    [
        ("127.0.0.1:8123", None, "127.0.0.1", True),
        ("localhost:8123", None, "127.0.0.1", True),
        ("[::1]:8123", None, "::1", True),
        ("evil.example:8123", None, "127.0.0.1", False),
        ("", None, "127.0.0.1", False),
        ("warehouse:8123", None, "0.0.0.0", True),
        ("127.0.0.1:8123", "http://127.0.0.1:8123", "127.0.0.1", True),
        ("127.0.0.1:8123", "http://127.0.0.1:3000", "127.0.0.1", False),
        ("127.0.0.1:8123", "null", "127.0.0.1", False),
    ],
)
def test_origins(host, origin, listening, allowed):
    """Only requests meant for this warehouse, and not sent by other pages, are let in."""
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    if allowed:
        check_origin(request(**headers), listening)
        return
    with pytest.raises(OriginRefusedError):
        check_origin(request(**headers), listening)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"user": "u", "password": "p"}, None),
        ({"password": "p"}, None),
        ({"user": "u", "password": "x"}, 516),
        ({"user": "x", "password": "p"}, 516),
        ({"user": "u"}, 194),
        ({}, 194),
        ({"user": "ü", "password": "ß"}, 516),
    ],
)
def test_credentials(given, code):
    """User and password must both be right."""
    settings = Settings(data=Path("d"), user="u", password="p")
    if code is None:
        check_credentials(request(address=given), settings, None)
        return
    with pytest.raises(AuthenticationError) as caught:
        check_credentials(request(address=given), settings, None)
    assert caught.value.code == code


def test_password_is_not_shown():
    """The settings can be printed without giving the password away."""
    assert "secret" not in repr(Settings(data=Path("d"), password="secret"))


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("JSON", "application/json"),
        ("JSONCompact", "application/json"),
        ("JSONEachRow", "application/x-ndjson"),
        ("JSONCompactEachRow", "application/x-ndjson"),
        ("TSV", "text/tab-separated-values; charset=UTF-8"),
        ("CSVWithNames", "text/csv; charset=UTF-8; header=present"),
        ("Parquet", "application/octet-stream"),
        ("Native", "application/octet-stream"),
        ("PrettyCompact", "text/plain"),
    ],
)
def test_media_types(form, kind):
    """A format has the media type that ClickHouse gives it."""
    assert content_type(form).startswith(kind)


def test_headers_never_carry_what_they_cant():
    """A query id with a line break in it is left out of the headers."""
    call = Call(text=b"SELECT 1", query_id="a\r\nSet-Cookie: x")
    assert "X-ClickHouse-Query-Id" not in answer_headers(Result(b"", None), call)


def test_engine_errors_are_worded_as_clickhouse_words_them():
    """Code, status and version are in their places once, wherever the engine left them out."""
    for text in (
        "Code: 60. DB::Exception: No. (UNKNOWN_TABLE)",
        "Code: 60. DB::Exception: No. (UNKNOWN_TABLE) (version 1.2)\n",
    ):
        error = EngineError(text)
        assert (error.code, error.status) == (60, 404)
        assert error.text("26.9") == "Code: 60. DB::Exception: No. (UNKNOWN_TABLE) (version 26.9)\n"
    strange = EngineError("std::exception. Code: 1001, type: avro::Exception, e.what() = EOF")
    assert (strange.code, strange.status) == (1001, 500)
    assert EngineError("no code at all").code == 1002
