"""Avro containers put into tables as they are: what the sink relies on."""

import datetime as dt
import gzip
import io
import uuid
from decimal import Decimal

import fastavro
import lz4.frame
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

pytestmark = pytest.mark.stack

AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)
MICROS = {"type": "long", "logicalType": "timestamp-micros"}
MONEY = {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 9}
STATUS = {"type": "enum", "name": "Status", "symbols": ["accepted", "blocked"], "default": "accepted"}
PART = {
    "type": "record",
    "name": "Part",
    "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": ["null", "string"]}],
}

# Column, its type, the type in Avro, the value of the first row there and in the table; the second row is all null.
COLUMNS = [
    ("id", "String", "string", "a", "a"),
    ("at", "DateTime64(6, 'UTC')", MICROS, AT, AT),
    ("at_or_not", "Nullable(DateTime64(6, 'UTC'))", ["null", MICROS], AT, AT),
    ("day", "Date", {"type": "int", "logicalType": "date"}, AT.date(), AT.date()),
    ("cost", "Decimal(18, 9)", MONEY, Decimal("-1.000000001"), Decimal("-1.000000001")),
    ("cost_or_not", "Nullable(Decimal(18, 9))", ["null", MONEY], Decimal("0.5"), Decimal("0.5")),
    ("tenant", "LowCardinality(String)", "string", "t", "t"),
    ("model_or_not", "LowCardinality(Nullable(String))", ["null", "string"], "m", "m"),
    ("status", "LowCardinality(String)", STATUS, "blocked", "blocked"),
    ("status_enum", "Enum8('accepted' = 1, 'blocked' = 2)", "Status", "blocked", "blocked"),
    ("segments", "Map(LowCardinality(String), String)", {"type": "map", "values": "string"}, {"k": "v"}, {"k": "v"}),
    ("scores", "Map(String, Float64)", {"type": "map", "values": "double"}, {"k": 0.5}, {"k": 0.5}),
    ("tags", "Array(LowCardinality(String))", {"type": "array", "items": "string"}, ["x", "y"], ["x", "y"]),
    (
        "parts",
        "Array(Tuple(x Int32, y Nullable(String)))",
        {"type": "array", "items": PART},
        [{"x": 1, "y": None}],
        None,
    ),
    ("tokens_or_not", "Nullable(UInt64)", ["null", "long"], 7, 7),
    ("score_or_not", "Nullable(Float64)", ["null", "double"], 0.25, 0.25),
    ("ok", "Bool", "boolean", True, True),
    ("n", "UInt32", "int", 5, 5),
    ("key", "UUID", {"type": "string", "logicalType": "uuid"}, uuid.UUID(int=5), uuid.UUID(int=5)),
    ("hash", "FixedString(16)", {"type": "fixed", "name": "Hash", "size": 16}, b"\xff" * 16, b"\xff" * 16),
]


def container(fields, rows, codec="null"):
    made = io.BytesIO()
    schema = {"type": "record", "name": "Row", "fields": [{"name": name, "type": kind} for name, kind in fields]}
    fastavro.writer(made, schema, rows, codec=codec)
    return made.getvalue()


def create(client, table, columns, engine="MergeTree ORDER BY tuple()"):
    client.command(f"CREATE TABLE {table} ({', '.join(columns)}) ENGINE = {engine}")


@pytest.mark.parametrize("codec", ["null", "deflate", "zstandard"])
def test_every_type_the_tables_use(client, table, codec):
    """Each Avro type of the trace records arrives in its column with its value, and null where it may be null."""
    create(client, table, [f"{name} {kind}" for name, kind, *_ in COLUMNS])
    full = {name: value for name, _, _, value, _ in COLUMNS}
    bare = {name: None if name.endswith("_or_not") else value for name, value in full.items()}
    body = container([(name, avro) for name, _, avro, *_ in COLUMNS], [full, bare], codec)
    assert client.raw_insert(table, insert_block=body, fmt="Avro").written_rows == 2
    rows = client.query(f"SELECT * FROM {table} ORDER BY at_or_not IS NULL", query_tz="UTC", tz_mode="aware")
    expected = {name: value for name, _, _, _, value in COLUMNS} | {"parts": [{"x": 1, "y": None}]}
    first, second = rows.named_results()
    assert first == expected
    assert second == {name: None if name.endswith("_or_not") else value for name, value in expected.items()}


@pytest.mark.parametrize(("compression", "pack"), [(None, bytes), ("gzip", gzip.compress), ("lz4", lz4.frame.compress)])
def test_large_bodies(client, table, compression, pack):
    """A body of 50,000 rows becomes one part, whole, however it is compressed for the way."""
    create(client, table, ["id UInt64", "text String"], "MergeTree ORDER BY id")
    body = container([("id", "long"), ("text", "string")], [{"id": n, "text": f"row {n}"} for n in range(50_000)])
    client.raw_insert(table, insert_block=pack(body), fmt="Avro", compression=compression)
    found = client.query(f"SELECT count(), uniqExact(id), max(text) FROM {table}")
    assert found.result_rows == [(50_000, 50_000, "row 9999")]
    assert client.command(f"SELECT count() FROM system.parts WHERE table = '{table}' AND active") == 1


def test_columns_are_matched_by_name(client, table):
    """Order does not matter, unknown fields are left out; missing ones are an error, or the default if told so."""
    create(client, table, ["a String", "b UInt8 DEFAULT 5", "c Nullable(String)", "d Date MATERIALIZED today()"])
    body = container(
        [("more", "string"), ("c", ["null", "string"]), ("a", "string")], [{"more": "m", "c": "C", "a": "A"}]
    )
    with pytest.raises(DatabaseError, match="THERE_IS_NO_COLUMN") as caught:
        client.raw_insert(table, insert_block=body, fmt="Avro")
    assert caught.value.code == 8
    client.raw_insert(table, insert_block=body, fmt="Avro", settings={"input_format_avro_allow_missing_fields": 1})
    client.raw_insert(table, column_names=["a"], insert_block=body, fmt="Avro")
    assert sorted(client.query(f"SELECT a, b, c FROM {table}").result_rows, key=str) == [("A", 5, "C"), ("A", 5, None)]


def test_damaged_container_is_refused_whole(client, table):
    """A body that is cut off or no Avro is an error, and nothing of it is kept."""
    create(client, table, ["a String"])
    body = container([("a", "string")], [{"a": "x" * 100}] * 1000)
    for damaged in (body[:-30], b"nonsense", b""):
        with pytest.raises(DatabaseError):
            client.raw_insert(table, insert_block=damaged, fmt="Avro")
    assert client.command(f"SELECT count() FROM {table}") == 0
    client.raw_insert(table, insert_block=container([("a", "string")], []), fmt="Avro")
    assert client.command(f"SELECT count() FROM {table}") == 0


@pytest.mark.parametrize(
    ("kind", "avro", "value", "code"),
    [
        ("Decimal(18, 6)", MONEY, Decimal(1), 36),
        ("Decimal(38, 9)", MONEY, Decimal(1), 36),
        ("Decimal(18, 9)", "string", "1.0", 36),
        ("DateTime64(6, 'UTC')", "string", "2026-01-02 03:04:05", 36),
        ("Enum8('accepted' = 1)", STATUS, "accepted", 691),
        ("Enum8('accepted' = 1)", "string", "accepted", 44),
        ("JSON", "string", "{}", 44),
        ("String", ["null", "string", "long"], "x", 44),
    ],
)
def test_types_that_do_not_fit_are_refused(client, table, kind, avro, value, code):
    """A column that can't hold the Avro type refuses the body with a code, rather than holding something else."""
    create(client, table, [f"v {kind}"])
    with pytest.raises(DatabaseError) as caught:
        client.raw_insert(table, insert_block=container([("v", avro)], [{"v": value}]), fmt="Avro")
    assert caught.value.code == code


def test_the_engine_does_not_check_everything(client, table):
    """Known traps of the engine, so that a change is noticed: it takes these for something else without a word."""
    create(client, table, ["ms DateTime64(3, 'UTC')", "small UInt8", "money Decimal(18, 9)", "text String"])
    fields = [("ms", MICROS), ("small", "int"), ("money", "double"), ("text", ["null", "string"])]
    row = {"ms": dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC), "small": 257, "money": 1.5, "text": None}
    client.raw_insert(table, insert_block=container(fields, [row]), fmt="Avro")
    assert client.raw_query(f"SELECT * FROM {table}", fmt="CSV") == b'"1970-01-01 00:16:40.000",1,0.000000001,""\n'
