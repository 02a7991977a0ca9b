import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sinks.clickhouse import ClickHouse
from sinks.errors import RowsRefused, WarehouseAway, WarehouseUnfit

SECRET = "correct-horse-battery"


@pytest.fixture
def nobody():
    """An address where nothing listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_making_one_needs_no_server(nobody):
    """A sink can be wired up during an outage; only its use says that the warehouse is away."""
    sink = ClickHouse(nobody, password=SECRET)
    with pytest.raises(WarehouseAway):
        sink.ping()
    with pytest.raises(WarehouseAway):
        sink.insert("jobs", (), 0)
    sink.close()
    with pytest.raises(WarehouseAway, match="was closed"):
        sink.ping()


def test_the_password_is_in_no_text(nobody):
    """Neither the representation nor an error shows it."""
    sink = ClickHouse(nobody, "writer", SECRET)
    with pytest.raises(WarehouseAway) as caught:
        sink.query("SELECT 1")
    assert SECRET not in repr(sink) + str(caught.value) + repr(caught.value)
    assert nobody in repr(sink)
    assert caught.value.__cause__ is None


class Tactless(BaseHTTPRequestHandler):
    """Refuses everybody, and says which password they tried."""

    def do_POST(self):
        body = f"Code: 516. DB::Exception: writer: the password {SECRET} is wrong".encode()
        self.send_response(403)
        self.send_header("X-ClickHouse-Exception-Code", "516")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 -- the base class names them so

    def log_message(self, *_):
        """Say nothing on the tests' output."""


def test_a_tactless_server_can_not_leak_the_password():
    """Even a server's own text that repeats the password does not bring it into an error."""
    with HTTPServer(("127.0.0.1", 0), Tactless) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        sink = ClickHouse(f"http://127.0.0.1:{server.server_port}", "writer", SECRET)
        with pytest.raises(WarehouseUnfit, match=r"the password \*\*\* is wrong") as caught:
            sink.insert("jobs", (), 0)
        sink.close()
        server.shutdown()
        serving.join()
    assert SECRET not in repr(caught.value)


def test_a_password_in_the_address_is_refused_unseen():
    """An address is printed in many places, so it may hold no password; the refusal does not print it either."""
    with pytest.raises(ValueError, match="give them as user and password") as caught:
        ClickHouse(f"http://writer:{SECRET}@localhost:8123")
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8123", "tcp://localhost:9000", "http://", "http://host/path"])
def test_what_is_no_address_is_refused(url):
    """The message shows the form that was expected."""
    with pytest.raises(ValueError, match="expected http://host:port"):
        ClickHouse(url)


@pytest.mark.parametrize("database", ["", "a b", "x; DROP TABLE jobs", "1st"])
def test_what_is_no_database_name_is_refused(database):
    """A name that would have to be quoted is refused, since it is part of statements."""
    with pytest.raises(ValueError, match="is no database name"):
        ClickHouse("http://localhost", database=database)


def test_rows_for_an_unknown_table_are_refused_unsent(nobody):
    """A table's name comes from a record's header, so only known ones reach a statement."""
    with pytest.raises(RowsRefused, match="is no table of events"):
        ClickHouse(nobody).insert("jobs; DROP TABLE jobs", (), 1)
