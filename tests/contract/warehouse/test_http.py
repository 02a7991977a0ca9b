"""The warehouse as curl and other plain HTTP clients see it."""

import gzip
import json
import struct
import zlib

import lz4.block
import lz4.frame
import pytest

pytestmark = pytest.mark.stack


def test_ping_and_bare_address(warehouse):
    """The health address and the bare address answer `Ok.`; another path is not found."""
    assert warehouse.ask(path="/ping").text == "Ok.\n"
    assert warehouse.ask(path="/replicas_status").text == "Ok.\n"
    assert warehouse.ask().text == "Ok.\n"
    assert warehouse.ask(path="/nowhere").status == 404


def test_query_in_address_body_or_both(warehouse, table):
    """A statement may stand in the address, in the body, or begin in one and go on in the other."""
    assert warehouse.ask(query="SELECT 1").text == "1\n"
    assert warehouse.ask("SELECT 2").text == "2\n"
    assert warehouse.ask("+ 3", query="SELECT 2").text == "5\n"
    warehouse.ask(f"CREATE TABLE {table} (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
    assert warehouse.ask('1,"x"\n2,"y"\n', query=f"INSERT INTO {table} FORMAT CSV").status == 200
    assert warehouse.ask(f"INSERT INTO {table} (a) VALUES (3), (4)").status == 200
    assert (
        warehouse.ask(f'INSERT INTO {table} FORMAT JSONEachRow {{"a": 5, "b": "; SELECT 1"}}\n{{"a": 6}}').status == 200
    )
    assert warehouse.ask(f"INSERT INTO {table} SELECT number + 7, 'q' FROM numbers(2)").status == 200
    answer = warehouse.ask(f"SELECT groupArray((a, b)) FROM (SELECT * FROM {table} ORDER BY a)")
    assert answer.text == "[(1,'x'),(2,'y'),(3,''),(4,''),(5,'; SELECT 1'),(6,''),(7,'q'),(8,'q')]\n"


def test_answers_have_clickhouse_headers(warehouse, table):
    """Headers tell format, query id, time zone and what was read and written."""
    answer = warehouse.ask("SELECT number FROM numbers(10)", query_id="my-id", default_format="JSON")
    assert answer.headers["X-ClickHouse-Format"] == "JSON"
    assert answer.headers["X-ClickHouse-Query-Id"] == "my-id"
    assert answer.headers["X-ClickHouse-Timezone"] == "UTC"
    assert answer.headers["Content-Type"].startswith("application/json")
    assert json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"] == "10"
    created = warehouse.ask(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    assert "X-ClickHouse-Format" not in created.headers
    written = warehouse.ask(f"INSERT INTO {table} VALUES (1), (2)")
    assert json.loads(written.headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert warehouse.ask("SELECT 1", headers={"X-ClickHouse-Format": "CSVWithNames"}).text == '"1"\n1\n'


@pytest.mark.parametrize(
    ("form", "begins"),
    [
        ("JSON", b'{\n\t"meta"'),
        ("JSONEachRow", b'{"n":0,"s":"a"}\n'),
        ("JSONCompact", b"{\n"),
        ("CSVWithNames", b'"n","s"\n0,"a"\n'),
        ("TabSeparated", b"0\ta\n"),
        ("Native", b"\x02\x02\x01n\x06UInt64"),
        ("Parquet", b"PAR1"),
        ("Arrow", b"ARROW1"),
        ("Avro", b"Obj\x01"),
        ("Pretty", "   ┏".encode()),
        ("Null", b""),
    ],
)
def test_formats(warehouse, form, begins):
    """Any format of the engine can be asked for, in the statement or beside it."""
    sql = "SELECT number AS n, 'a' AS s FROM numbers(2)"
    inside = warehouse.ask(f"{sql} FORMAT {form} SETTINGS max_threads = 1")
    beside = warehouse.ask(sql, default_format=form)
    assert inside.status == beside.status == 200
    assert inside.body.startswith(begins)
    assert beside.body.startswith(begins)
    assert inside.headers["X-ClickHouse-Format"] == beside.headers["X-ClickHouse-Format"] == form


@pytest.mark.parametrize("form", ["Parquet", "Native", "Avro", "RowBinary", "ArrowStream"])
def test_binary_formats_go_back_in(warehouse, table, form):
    """What one statement gives in a binary format, another takes."""
    warehouse.ask(f"CREATE TABLE {table} (n UInt64, s String) ENGINE = MergeTree ORDER BY n")
    made = warehouse.ask(f"SELECT number AS n, concat('\\n;', toString(number)) AS s FROM numbers(3000) FORMAT {form}")
    taken = warehouse.ask(made.body, query=f"INSERT INTO {table} FORMAT {form}")
    assert taken.status == 200, taken.text
    assert warehouse.ask(f"SELECT count(), uniqExact(s), max(n) FROM {table}").text == "3000\t3000\t2999\n"


@pytest.mark.parametrize(
    ("sql", "status", "code", "name"),
    [
        ("SELECT * FROM no_such_table", 404, "60", "UNKNOWN_TABLE"),
        ("SELECT no_such_column", 404, "47", "UNKNOWN_IDENTIFIER"),
        ("SELECT no_such_function(1)", 404, "46", "UNKNOWN_FUNCTION"),
        ("SELEC 1 FROM", 400, "62", "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", 400, "62", "SYNTAX_ERROR"),
        ("   -- nothing", 400, "62", "SYNTAX_ERROR"),
        ("SELECT toUInt8('x')", 400, "6", "CANNOT_PARSE_TEXT"),
        ("SELECT 1 FORMAT NoSuchFormat", 404, "73", "UNKNOWN_FORMAT"),
        ("SELECT {x:String}", 500, "456", "UNKNOWN_QUERY_PARAMETER"),
        ("SELECT throwIf(1, 'boom')", 500, "395", "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        (
            "SELECT number FROM numbers(1e9) GROUP BY number SETTINGS max_memory_usage = 1000000",
            500,
            "241",
            "MEMORY_LIMIT",
        ),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", 408, "159", "TIMEOUT_EXCEEDED"),
        ("CREATE TEMPORARY TABLE x (a UInt8)", 501, "48", "NOT_IMPLEMENTED"),
        ("INSERT INTO no_such_table VALUES (1)", 404, "60", "UNKNOWN_TABLE"),
        ("INSERT INTO system.one SELECT * FROM input('a UInt8') FORMAT CSV 1", 501, "48", "NOT_IMPLEMENTED"),
    ],
)
def test_errors(warehouse, sql, status, code, name):
    """Errors have ClickHouse's statuses, codes and wording."""
    answer = warehouse.ask(sql)
    assert (answer.status, answer.code) == (status, code)
    assert answer.text.startswith(f"Code: {code}. DB::Exception: ")
    assert name in answer.text
    assert "(version 26." in answer.text


def test_refused_insert_writes_nothing(warehouse, table):
    """An insert whose data is damaged says where, and leaves the table as it was."""
    warehouse.ask(f"CREATE TABLE {table} (a UInt8, s String) ENGINE = MergeTree ORDER BY a")
    answer = warehouse.ask('{"a": 1, "s": "x"}\n{"a": "no number"}\n', query=f"INSERT INTO {table} FORMAT JSONEachRow")
    assert (answer.status, answer.code) == (400, "27")
    assert "at row 2" in answer.text
    assert warehouse.ask(f"INSERT INTO {table} (zz) VALUES (1)").code == "16"
    assert warehouse.ask(f"INSERT INTO {table} FORMAT NoSuchFormat x").code == "73"
    assert warehouse.ask(f"SELECT count() FROM {table}").text == "0\n"


def test_get_may_not_write(warehouse, table):
    """A GET changes nothing, whatever it says; settings may still come with it."""
    warehouse.ask(f"CREATE TABLE {table} (a UInt8) ENGINE = MergeTree ORDER BY a")
    for sql in (
        f"INSERT INTO {table} VALUES (1)",
        f"INSERT INTO {table} SELECT 1",
        f"DROP TABLE {table}",
        "CREATE DATABASE x",
    ):
        assert warehouse.ask(query=sql).code == "164", sql
    assert warehouse.ask(query=f"SELECT count() FROM {table}", max_threads=1).text == "0\n"


@pytest.mark.parametrize("name", ["x) = 1, readonly", "a b", "1x", "é"])
def test_names_of_settings_are_not_sql(warehouse, name):
    """A setting whose name is no name is unknown, never run."""
    answer = warehouse.ask("SELECT 1", **{name: "1"})
    assert (answer.status, answer.code) == (404, "115")


def test_values_of_settings_are_not_sql(warehouse):
    """A setting's value can't end its quotes."""
    value = "x', max_threads = '7"
    answer = warehouse.ask("SELECT getSetting('log_comment'), getSetting('max_threads') != 7", log_comment=value)
    assert answer.text == "x\\', max_threads = \\'7\t1\n"


def test_parameters_in_inserts(warehouse, table):
    """Parameters stand for names and values in an INSERT with data, too."""
    warehouse.ask(f"CREATE TABLE {table} (s String) ENGINE = MergeTree ORDER BY s")
    nasty = "it's'); DROP TABLE x; --"
    answer = warehouse.ask("INSERT INTO {t:Identifier} VALUES ({s:String}), ('b')", param_t=table, param_s=nasty)
    assert answer.status == 200, answer.text
    assert (
        warehouse.ask(f"SELECT s FROM {table} ORDER BY s FORMAT JSONEachRow").text
        == f'{{"s":"b"}}\n{{"s":"{nasty}"}}\n'
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/passwd', 'LineAsString')",
        "SELECT file('/etc/passwd')",
        "SELECT `file`('/etc/passwd')",
        "SELECT `f\\x69le`('/etc/passwd')",
        "SELECT arrayMap(file, ['/etc/passwd'])",
        "SELECT COLUMNS('x') APPLY file FROM (SELECT '/etc/passwd' AS x)",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM remote('127.0.0.1', 'system.one')",
        "SELECT 1 INTO OUTFILE '/tmp/penstock-must-not-exist'",
        "INSERT INTO FUNCTION file('/tmp/penstock-must-not-exist', 'CSV', 'a UInt8') SELECT 1",
        "INSERT INTO FUNCTION file('/tmp/penstock-must-not-exist', 'CSV', 'a UInt8') VALUES (1)",
        "CREATE TABLE x (a String) ENGINE = File('CSV', '/tmp/penstock-must-not-exist')",
        "CREATE TABLE x (a String) ENGINE = URL('http://127.0.0.1:1/', 'CSV')",
        "CREATE DATABASE x ENGINE = Filesystem('/tmp')",
        "ATTACH TABLE x FROM '/tmp/penstock' (a UInt8) ENGINE = MergeTree ORDER BY a",
        "SYSTEM SHUTDOWN",
        "CREATE USER x",
        "GRANT ALL ON *.* TO default",
    ],
)
def test_statements_stay_inside_the_engine(warehouse, sql):
    """No statement reads or writes files, reaches addresses, or changes who may do what."""
    answer = warehouse.ask(sql)
    assert (answer.status, answer.code) == (403, "497"), answer.text


def test_files_are_no_tables(warehouse):
    """A path is not a table, as it would be in the engine's own default database."""
    assert warehouse.ask("SELECT * FROM `/etc/passwd`").code == "60"
    assert warehouse.ask("SELECT * FROM _files.`/etc/passwd`").code in {"497", "60"}


def test_a_column_may_be_called_file(warehouse):
    """What only looks like the function is let through."""
    sql = "SELECT file, t.file, 'file(' AS s FROM (SELECT 1 AS file) AS t WHERE t.file IN (1) -- file('x')"
    assert warehouse.ask(sql).text == "1\t1\tfile(\n"


def _block(data, method=0x82):
    packed = lz4.block.compress(data, store_size=False) if method == 0x82 else data
    return bytes(16) + struct.pack("<BII", method, len(packed) + 9, len(data)) + packed


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("lz4", lz4.frame.compress),
    ],
)
def test_compressed_bodies(warehouse, table, encoding, pack):
    """A body may come compressed in any of HTTP's ways."""
    warehouse.ask(f"CREATE TABLE {table} (a UInt32) ENGINE = MergeTree ORDER BY a")
    rows = "".join(f"{n}\n" for n in range(100_000)).encode()
    sql = f"INSERT INTO {table} FORMAT TSV"
    assert warehouse.ask(pack(rows), query=sql, headers={"Content-Encoding": encoding}).status == 200
    assert warehouse.ask(f"SELECT count(), max(a) FROM {table}").text == "100000\t99999\n"
    damaged = warehouse.ask(pack(rows)[:-200], query=sql, headers={"Content-Encoding": encoding})
    assert damaged.code == "432"


def test_bodies_in_clickhouses_blocks(warehouse):
    """A body may come in ClickHouse's own compressed blocks; a cut-off one is an error."""
    body = _block(b"SELECT ") + _block(b"40 ", method=0x02) + _block(b"+ 2")
    assert warehouse.ask(body, decompress=1).text == "42\n"
    for damaged in (body[:-1], body[:30], _block(b"SELECT 1", method=0x55), b"x"):
        assert warehouse.ask(damaged, decompress=1).code == "432"
    assert warehouse.ask("SELECT 1", compress=1).code == "48"


def test_unknown_encoding_is_an_error(warehouse):
    """An encoding that is unknown here is named in the answer."""
    answer = warehouse.ask(b"SELECT 1", headers={"Content-Encoding": "snappy"})
    assert (answer.status, answer.code) == (500, "432")
    assert "'snappy'" in answer.text


def test_answers_are_compressed_when_asked(warehouse):
    """An answer is compressed only if both the setting and the header say so, in the first way the header names."""
    sql = "SELECT repeat('x', 10000)"
    plain = warehouse.ask(sql, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    packed = warehouse.ask(sql, headers={"Accept-Encoding": "unknown, gzip;q=0.5, deflate"}, enable_http_compression=1)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < 1000


def test_pages_of_other_sites_are_refused(warehouse):
    """A browser on this machine can't be used by somebody's web page, under this name or another."""
    assert warehouse.ask("SELECT 1", headers={"Origin": "http://evil.example"}).status == 403
    assert warehouse.ask("SELECT 1", headers={"Origin": "null"}).status == 403
    assert warehouse.ask("SELECT 1", headers={"Host": "evil.example"}).status == 403
    assert warehouse.ask("SELECT 1", headers={"Origin": warehouse.url}).status == 200


def test_unknown_user_is_refused(warehouse):
    """Without a password in the settings, the user `default` gets in with any; nobody else does."""
    assert warehouse.ask("SELECT 1", headers={"X-ClickHouse-User": "default", "X-ClickHouse-Key": "any"}).status == 200
    answer = warehouse.ask("SELECT 1", user="somebody")
    assert (answer.status, answer.code) == (403, "516")


def test_large_results(warehouse):
    """A result of a hundred megabytes comes whole."""
    answer = warehouse.ask("SELECT repeat('x', 1000000) FROM numbers(100)")
    assert len(answer.body) == 100 * 1_000_001


def test_sessions_are_accepted(warehouse):
    """A session id changes nothing."""
    assert warehouse.ask("SELECT 1", session_id="s", session_timeout=60).text == "1\n"
