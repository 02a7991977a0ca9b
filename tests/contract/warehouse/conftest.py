import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

import clickhouse_connect
import pytest


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def text(self):
        return self.body.decode()

    @property
    def code(self):
        return self.headers.get("X-ClickHouse-Exception-Code")


class Warehouse:
    """A warehouse in a process of its own."""

    def __init__(self, data, *arguments, environment=None):
        self.data = data
        self.log = data.with_name(data.name + ".log")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock.local.warehouse", "--data", str(data), *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )
        line = self.process.stdout.readline()
        assert line, f"did not start: {self.log.read_text()}"
        self.url = json.loads(line)["url"]
        self.port = urllib.parse.urlsplit(self.url).port

    def ask(self, body=None, *, path="/", headers=None, method=None, **address):
        data = body.encode() if isinstance(body, str) else body
        request = urllib.request.Request(
            f"{self.url}{path}?{urllib.parse.urlencode(address)}", data=data, headers=headers or {}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as got:
                return Answer(got.status, dict(got.headers), got.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())

    def client(self, **more):
        return clickhouse_connect.get_client(host="127.0.0.1", port=self.port, **more)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        return self.process.wait(10)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.process.stdout.close()


@pytest.fixture(scope="session")
def start_warehouse():
    """Start warehouses that end with the run, if not before."""
    with contextlib.ExitStack() as ends:

        def start(data, *arguments, environment=None):
            started = Warehouse(data, *arguments, environment=environment)
            ends.callback(started.close)
            return started

        yield start


@pytest.fixture(scope="session")
def warehouse(start_warehouse, tmp_path_factory):
    """Give one warehouse for all tests that don't hurt it."""
    return start_warehouse(tmp_path_factory.mktemp("warehouse") / "data")


@pytest.fixture(scope="session")
def client(warehouse):
    with contextlib.closing(warehouse.client()) as made:
        yield made


@pytest.fixture
def table(warehouse, request):
    """Give a name for a table of this test, and drop what has it afterwards."""
    name = "t_" + "".join(letter if letter.isalnum() else "_" for letter in request.node.name)
    yield name
    answer = warehouse.ask(f"DROP TABLE IF EXISTS {name} SYNC")
    assert answer.status == 200, answer.text
