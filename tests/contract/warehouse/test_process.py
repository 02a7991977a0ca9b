"""The warehouse as a process: who owns the directory, what survives, what runs side by side."""

import base64
import concurrent.futures
import gzip
import http.client
import json
import subprocess
import sys
import threading
import time

import pytest

pytestmark = pytest.mark.stack


def test_second_owner_is_refused(warehouse):
    """A second process on the same directory ends at once and says who owns it."""
    second = subprocess.run(
        [sys.executable, "-m", "penstock.local.warehouse", "--data", str(warehouse.data)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert second.stdout == ""
    for part in (str(warehouse.data), f"pid {warehouse.process.pid}", warehouse.url, "choose another --data"):
        assert part in second.stderr
    assert warehouse.ask("SELECT 1").text == "1\n"


def test_taken_port_is_named(warehouse, tmp_path):
    """A port that is taken ends the process with a sentence that names it."""
    second = subprocess.run(
        [sys.executable, "-m", "penstock.local.warehouse", "--data", str(tmp_path), "--port", str(warehouse.port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert f"can't listen on 127.0.0.1:{warehouse.port}" in second.stderr


def test_acknowledged_inserts_survive_a_kill(start_warehouse, tmp_path):
    """Every insert that was acknowledged before a SIGKILL is there once, after it, and the directory opens again."""
    data = tmp_path / "data"
    acknowledged, first = set(), start_warehouse(data)
    first.ask("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")

    def write(worker):
        for batch in range(10_000):
            n = worker * 1_000_000 + batch * 100
            try:
                answer = first.ask("".join(f"{n + i}\n" for i in range(100)), query="INSERT INTO t FORMAT TSV")
            except (OSError, http.client.HTTPException):
                return
            assert answer.status == 200, answer.text
            acknowledged.update(range(n, n + 100))

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, worker) for worker in range(3)]
        until = time.monotonic() + 30
        while len(acknowledged) < 10_000 and time.monotonic() < until:
            time.sleep(0.01)
        first.kill()
        for writer in writers:
            writer.result()
    second = start_warehouse(data)
    found = [int(line) for line in second.ask("SELECT n FROM t").text.split()]
    assert len(acknowledged) >= 10_000
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
    assert len(found) % 100 == 0, "an insert is whole or absent"
    assert second.stop() == 0


def test_stops_when_told_while_a_query_runs(start_warehouse, tmp_path):
    """SIGTERM ends the process with status 0, cancelling what would run for ever; what was written stays."""
    data = tmp_path / "data"
    first = start_warehouse(data)
    first.ask("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    first.ask("INSERT INTO t VALUES (1)")
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        endless = pool.submit(first.ask, "SELECT sum(sipHash64(number)) FROM system.numbers", log_comment="endless")
        _wait_for(first, "endless", 1)
        assert first.stop() == 0
        assert endless.result().code == "394"
    second = start_warehouse(data)
    assert second.ask("SELECT n FROM t").text == "1\n"
    assert second.stop() == 0


def test_a_query_whose_client_left_is_cancelled(warehouse):
    """When a client closes its connection, its statement stops using the machine."""
    connection = http.client.HTTPConnection("127.0.0.1", warehouse.port, timeout=10)
    connection.request("POST", "/?query_id=left-alone", "SELECT sum(sipHash64(number)) FROM system.numbers")
    _wait_for(warehouse, "left-alone", 1)
    connection.close()
    _wait_for(warehouse, "left-alone", 0)


def test_queries_and_inserts_run_side_by_side(warehouse, table):
    """Readers see whole inserts, and only more of them, while writers write; a long query holds nobody up."""
    warehouse.ask(f"CREATE TABLE {table} (w UInt8, n UInt64) ENGINE = MergeTree ORDER BY n")
    done, seen = threading.Event(), []

    def write(worker):
        for batch in range(10):
            rows = "".join(f"{worker},{batch * 1000 + i}\n" for i in range(1000))
            assert warehouse.ask(rows, query=f"INSERT INTO {table} FORMAT CSV").status == 200

    def read():
        counts = []
        while not done.is_set() or not counts:
            counts.append(int(warehouse.ask(f"SELECT count() FROM {table}").text))
        seen.append(counts)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        long = pool.submit(warehouse.ask, "SELECT sleepEachRow(0.5) FROM numbers(4) FORMAT Null")
        readers = [pool.submit(read) for _ in range(2)]
        for writer in [pool.submit(write, worker) for worker in range(4)]:
            writer.result()
        done.set()
        for reader in readers:
            reader.result()
        assert long.result().status == 200
    assert warehouse.ask(f"SELECT count(), uniqExact(w, n) FROM {table}").text == "40000\t40000\n"
    for counts in seen:
        assert counts == sorted(counts)
        assert all(count % 1000 == 0 for count in counts)


def test_password(start_warehouse, tmp_path):
    """With a password in the environment, statements need it and the health address does not; no log has it."""
    secret = "s3cret-pass"
    locked = start_warehouse(
        tmp_path / "data", environment={"PENSTOCK_WAREHOUSE_USER": "penstock", "PENSTOCK_WAREHOUSE_PASSWORD": secret}
    )
    basic = base64.b64encode(f"penstock:{secret}".encode()).decode()
    assert locked.ask(path="/ping").status == 200
    missing = locked.ask("SELECT 1")
    assert (missing.status, missing.code) == (401, "194")
    assert "Basic" in missing.headers["WWW-Authenticate"]
    assert locked.ask("SELECT 1", user="penstock", password="wrong").code == "516"
    assert locked.ask("SELECT 1", user="default", password=secret).code == "516"
    assert locked.ask("SELECT 1", user="penstock", password=secret).text == "1\n"
    assert locked.ask("SELECT 1", headers={"Authorization": f"Basic {basic}"}).text == "1\n"
    assert locked.ask("SELECT 1", headers={"Authorization": "Basic ?"}).code == "194"
    both = {"X-ClickHouse-User": "penstock", "X-ClickHouse-Key": secret}
    assert locked.ask("SELECT 1", headers=both).text == "1\n"
    client = locked.client(username="penstock", password=secret)
    assert client.command("SELECT 1") == 1
    client.close()
    assert locked.stop() == 0
    assert secret not in locked.log.read_text()
    lines = [json.loads(line) for line in locked.log.read_text().splitlines()]
    assert [line["event"] for line in lines if line["level"] == "info"] == ["ready", "stopped"]


def test_limits(start_warehouse, tmp_path):
    """A body over its limit, packed or not, is refused with 413; a statement over the memory limit fails alone."""
    small = start_warehouse(tmp_path / "data", "--max-body", "1MiB", "--max-memory", "256MiB")
    small.ask("CREATE TABLE t (s String) ENGINE = MergeTree ORDER BY s")
    answer = small.ask(b"x" * (1 << 20) + b"\n", query="INSERT INTO t FORMAT TSV")
    assert (answer.status, answer.code) == (413, "177")
    assert "--max-body" in answer.text
    packed = gzip.compress(b"x" * (50 << 20))
    answer = small.ask(packed, query="INSERT INTO t FORMAT TSV", headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.code) == (413, "177")
    answer = small.ask("SELECT groupArray(number) FROM numbers(100000000)")
    assert (answer.status, answer.code) == (500, "241")
    assert small.ask(b"x\n", query="INSERT INTO t FORMAT TSV").status == 200
    assert small.ask("SELECT count() FROM t").text == "1\n"
    assert small.stop() == 0


def _wait_for(warehouse, comment, count):
    """Wait until so many statements run under an id."""
    until = time.monotonic() + 60
    sql = "SELECT count() FROM system.processes WHERE Settings['log_comment'] = {c:String}"
    while warehouse.ask(sql, param_c=comment, log_comment="watcher").text != f"{count}\n":
        assert time.monotonic() < until, f"{comment} is not as it should be"
        time.sleep(0.02)
