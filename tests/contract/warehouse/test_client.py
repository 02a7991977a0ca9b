"""The warehouse as clickhouse-connect's HTTP client sees it."""

import datetime as dt
from decimal import Decimal

import clickhouse_connect
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

pytestmark = pytest.mark.stack

NASTY = [
    "it's",
    "a\\b",
    "tab\there",
    "line\nbreak",
    "'; DROP TABLE x; --",
    "`q`",
    '"d"',
    "{x:String}",
    "日本語",
    "\\N",
    "",
]


def test_client_connects_and_pings(client):
    """The synchronous client reads version and settings, and its ping succeeds."""
    assert client.ping()
    assert client.server_version.startswith("26.")
    assert str(client.server_tz) == "UTC"
    assert client.command("SELECT currentDatabase()") == "default"


def test_columns_go_in_and_come_out(client, table):
    """Native columns inserted by the client are read back with their types."""
    client.command(
        f"CREATE TABLE {table} (id UInt64, at DateTime64(6, 'UTC'), cost Nullable(Decimal(18, 9)),"
        f" name LowCardinality(String), tags Array(String), facts Map(String, String)) ENGINE = MergeTree ORDER BY id"
    )
    at = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
    rows = [
        [1, at, Decimal("0.000000001"), "a", ["x", "y"], {"k": "v"}],
        [2, at, None, "b", [], {}],
    ]
    summary = client.insert(table, rows, column_names=["id", "at", "cost", "name", "tags", "facts"])
    assert summary.written_rows == 2
    found = client.query(f"SELECT * FROM {table} ORDER BY id", query_tz="UTC", tz_mode="aware")
    assert [list(row) for row in found.result_rows] == [
        [1, at, Decimal("0.000000001"), "a", ["x", "y"], {"k": "v"}],
        [2, at, None, "b", [], {}],
    ]
    assert found.column_names == ("id", "at", "cost", "name", "tags", "facts")


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
def test_compression_both_ways(warehouse, table, compress):
    """Inserts and answers compressed with each encoding of the client are what they are without."""
    compressing = warehouse.client(compress=compress)
    compressing.command(f"CREATE TABLE {table} (n UInt32, s String) ENGINE = MergeTree ORDER BY n")
    rows = [[n, f"row {n}" * 10] for n in range(5000)]
    compressing.insert(table, rows, column_names=["n", "s"])
    assert [list(row) for row in compressing.query(f"SELECT * FROM {table} ORDER BY n").result_rows] == rows
    compressing.close()


def test_empty_result_has_columns(client):
    """A result without rows still names its columns, as a server's does."""
    found = client.query("SELECT toUInt8(1) AS a, 'x' AS b WHERE 0 -- nothing\n;")
    assert found.result_rows == []
    assert found.column_names == ("a", "b")
    assert [kind.name for kind in found.column_types] == ["UInt8", "String"]
    assert client.query("SELECT number FROM numbers(10) LIMIT 0").column_names == ("number",)


def test_arrow_and_raw_query(client):
    """Arrow tables and raw bytes of any format come through."""
    found = client.query_arrow("SELECT number AS n, toString(number) AS s FROM numbers(3)")
    assert found.to_pydict() == {"n": [0, 1, 2], "s": ["0", "1", "2"]}
    assert client.raw_query("SELECT 1 AS a, 'x' AS b", fmt="JSONEachRow") == b'{"a":1,"b":"x"}\n'


def test_raw_insert_of_text(client, table):
    """A raw insert takes columns and any input format; what is left out has its default."""
    client.command(f"CREATE TABLE {table} (a UInt8, b String DEFAULT 'd', c UInt8) ENGINE = MergeTree ORDER BY a")
    client.raw_insert(table, column_names=["a", "c"], insert_block="1,2\n3,4\n", fmt="CSV")
    assert client.query(f"SELECT * FROM {table} ORDER BY a").result_rows == [(1, "d", 2), (3, "d", 4)]


def test_command_tells_rows_from_none(client, table):
    """A command returns a value where there is one, and a summary where there is none."""
    created = client.command(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    assert created.query_id()
    assert client.command(f"SELECT a FROM {table}") == ""
    assert client.command("SELECT 42") == 42
    assert client.command(f"EXISTS TABLE {table}") == 1
    assert client.command(f"INSERT INTO {table} VALUES", data="(7)(8)").written_rows == 2


@pytest.mark.parametrize("value", NASTY)
def test_parameters_are_values(client, value):
    """Whatever a parameter holds is taken as a value, never as SQL."""
    assert client.query("SELECT {x:String} AS x", parameters={"x": value}).result_rows == [(value,)]


def test_parameters_of_many_types(client):
    """Parameters keep their types: numbers, dates, arrays, NULL and names of tables."""
    at = dt.datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - a DateTime without zone
    found = client.query(
        "SELECT {n:Int64}, {f:Float64}, {d:DateTime}, {a:Array(String)}, {z:Nullable(String)}",
        parameters={"n": -5, "f": 0.5, "d": at, "a": NASTY[:5], "z": None},
    )
    assert found.result_rows == [(-5, 0.5, at, NASTY[:5], None)]
    assert client.query("SELECT dummy FROM system.{t:Identifier}", parameters={"t": "one"}).result_rows == [(0,)]


def test_long_parameters_come_as_a_form(client):
    """Parameters too long for an address, which the client sends as a form, arrive whole."""
    long = "x'\\" * 200_000
    assert client.query("SELECT length({x:String})", parameters={"x": long}).result_rows == [(len(long),)]


def test_settings_are_the_engines(client):
    """A setting holds for its statement only, and an unknown one has ClickHouse's own error."""
    sql = "SELECT getSetting('max_threads')"
    assert client.query(sql, settings={"max_threads": 3}).result_rows == [(3,)]
    assert client.query(sql).result_rows != [(3,)]
    with pytest.raises(DatabaseError, match="UNKNOWN_SETTING") as caught:
        client.raw_query("SELECT 1", settings={"max_thread": 3, "no_such": 1})
    assert caught.value.code == 115


def test_errors_have_code_and_name(client):
    """A failed query raises the client's error with ClickHouse's code and name."""
    with pytest.raises(DatabaseError) as caught:
        client.query("SELECT * FROM no_such_table")
    assert caught.value.code == 60
    assert caught.value.name == "UNKNOWN_TABLE"


def test_databases(warehouse, client):
    """A client's database is where its names are looked up; one that is missing is an error."""
    client.command("CREATE DATABASE other ENGINE = Atomic")
    client.command("CREATE TABLE other.t (a UInt8) ENGINE = MergeTree ORDER BY a")
    other = warehouse.client(database="other")
    other.insert("t", [[5]], column_names=["a"])
    assert other.query("SELECT a, currentDatabase() FROM t").result_rows == [(5, "other")]
    other.close()
    client.command("DROP DATABASE other SYNC")
    with pytest.raises(DatabaseError, match="UNKNOWN_DATABASE"):
        warehouse.client(database="other")


async def test_async_client(warehouse, table):
    """The asynchronous client queries, inserts and pings as the synchronous one does."""
    client = await clickhouse_connect.get_async_client(host="127.0.0.1", port=warehouse.port)
    async with client:
        assert await client.ping()
        await client.command(f"CREATE TABLE {table} (a UInt32, s String) ENGINE = MergeTree ORDER BY a")
        await client.insert(table, [[n, str(n)] for n in range(1000)], column_names=["a", "s"])
        await client.raw_insert(table, insert_block=b'{"a": 1000, "s": "last"}', fmt="JSONEachRow")
        found = await client.query(f"SELECT count(), max(s) FROM {table} WHERE a >= {{x:UInt32}}", parameters={"x": 10})
        assert found.result_rows == [(991, "last")]
        with pytest.raises(DatabaseError, match="SYNTAX_ERROR"):
            await client.query("SELEC 1 FROM")


def test_views_and_replacing_tables(client, table):
    """Views, materialized views and ReplacingMergeTree with FINAL work as the warehouse's schema uses them."""
    client.command(
        f"CREATE TABLE {table} (id String, v UInt64, at DateTime) ENGINE = ReplacingMergeTree(v)"
        f" PARTITION BY toYYYYMM(at) ORDER BY id TTL at + INTERVAL 100 YEAR"
    )
    client.command(f"CREATE VIEW {table}_v AS SELECT id, v FROM {table} FINAL")
    client.command(
        f"CREATE MATERIALIZED VIEW {table}_m ENGINE = AggregatingMergeTree ORDER BY id"
        f" AS SELECT id, uniqState(v) AS n FROM {table} GROUP BY id"
    )
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    for version in (1, 3, 2):
        client.insert(table, [["a", version, at]], column_names=["id", "v", "at"])
    assert client.query(f"SELECT * FROM {table}_v").result_rows == [("a", 3)]
    assert client.query(f"SELECT id, uniqMerge(n) FROM {table}_m GROUP BY id").result_rows == [("a", 3)]
    client.command(f"ALTER TABLE {table} ADD COLUMN extra LowCardinality(String) DEFAULT 'none'")
    assert client.query(f"SELECT DISTINCT extra FROM {table}").result_rows == [("none",)]
    for name in (f"{table}_m", f"{table}_v"):
        client.command(f"DROP TABLE {name} SYNC")
