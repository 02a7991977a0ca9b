import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.local.warehouse.errors import StatementRefusedError
from penstock.local.warehouse.statement import Insert, Query, parse


@pytest.mark.parametrize(
    ("text", "head", "form", "data"),
    [
        (b"INSERT INTO t VALUES (1)", b"INSERT INTO t ", "Values", b" (1)"),
        (b"insert into t(a, b)values(1,2)", b"insert into t(a, b)", "Values", b"(1,2)"),
        (b"INSERT INTO t FORMAT CSV\n1,2\n", b"INSERT INTO t ", "CSV", b"1,2\n"),
        (b"INSERT INTO t FORMAT Native \r\n\n\x00\xff'", b"INSERT INTO t ", "Native", b"\n\x00\xff'"),
        (b"INSERT INTO t FORMAT TSV", b"INSERT INTO t ", "TSV", b""),
        (b"INSERT INTO t FORMAT RowBinary\x01", b"INSERT INTO t ", "RowBinary", b"\x01"),
        (
            b'INSERT INTO d.`format` (`values`, "format") FORMAT CSV 1',
            b'INSERT INTO d.`format` (`values`, "format") ',
            "CSV",
            b"1",
        ),
        (b"INSERT INTO format VALUES (1)", b"INSERT INTO format ", "Values", b" (1)"),
        (b"INSERT INTO TABLE values FORMAT CSV 1", b"INSERT INTO TABLE values ", "CSV", b"1"),
        (b"/* FORMAT x */ INSERT INTO t -- VALUES\nSETTINGS a = 'FORMAT y' FORMAT CSV 1", None, "CSV", b"1"),
        (
            b"INSERT INTO FUNCTION null('a UInt8 FORMAT') VALUES (1)",
            b"INSERT INTO FUNCTION null('a UInt8 FORMAT') ",
            "Values",
            b" (1)",
        ),
    ],
)
def test_inserts_are_told_from_their_data(text, head, form, data):
    """An INSERT with its data is cut where the engine's parser for the format must begin."""
    found = parse(text)
    assert isinstance(found, Insert)
    assert (found.format, found.data) == (form, data)
    assert found.head == (head if head is not None else text[: text.rindex(b"FORMAT")])


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (b"SELECT 1", None),
        (b"SELECT 1 FORMAT JSON", "JSON"),
        (b"SELECT 1 format jsoneachrow ; -- FORMAT CSV", "jsoneachrow"),
        (b"SELECT 1 FORMAT Native SETTINGS max_threads = 1", "Native"),
        (b"SELECT format FROM t", None),
        (b"SELECT 1 AS format", None),
        (b"SELECT format('{}', 1) FROM t FORMAT CSV", "CSV"),
        (b"SELECT * FROM (SELECT 1 FORMAT CSV)", None),
        (b"SELECT 'FORMAT CSV'", None),
        (b"SELECT $$ FORMAT CSV $$", None),
        (b"/* a /* b */ FORMAT CSV */ SELECT 1", None),
        (b"INSERT INTO t SELECT * FROM s", None),
        (b"INSERT INTO t WITH x AS (SELECT 1) SELECT * FROM x", None),
        (b"CREATE TABLE t (a UInt8) ENGINE = Memory", None),
    ],
)
def test_the_format_of_a_result_is_found(text, form):
    """The FORMAT clause is found where it is one, and nowhere else."""
    found = parse(text)
    assert isinstance(found, Query)
    assert found.format == form
    if found.format_at is not None:
        assert text[found.format_at :][:6].upper() == b"FORMAT"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", 62),
        (b" -- only a comment", 62),
        (b"/* open", 62),
        (b"INSERT INTO t FORMAT", 62),
        (b"SET a = 1; INSERT INTO t VALUES (1)", None),
        (b"INSERT INTO t (a); DROP TABLE t; INSERT INTO t VALUES (1)", 62),
        (b"INSERT INTO t SELECT * FROM input('a UInt8') FORMAT CSV 1", 48),
        (b"SELECT file('/x')", 497),
        (b"SELECT `f\\x69le`('/x')", 497),
        (b"SELECT * APPLY(file) FROM t", 497),
        (b"SELECT * APPLY file FROM t", 497),
        (b"SELECT arrayMap(file, ['/x'])", 497),
        (b"SELECT 1 INTO /* */ OUTFILE '/x'", 497),
        (b"INSERT INTO t FROM INFILE '/x' FORMAT CSV", 497),
        (b"ATTACH TABLE t FROM '/x'", 497),
        (b"ATTACH TABLE t", None),
        (b"SELECT file, t.file FROM t WHERE file IN (1)", None),
        (b"SELECT 'file(', \"afile\"(1), count(file) FROM t -- file(", None),
    ],
)
def test_what_may_not_be_said(text, code):
    """Statements that reach files, or that can't work here, are refused with ClickHouse's code; others are not."""
    if code is None:
        assert parse(text)
        return
    with pytest.raises(StatementRefusedError) as caught:
        parse(text)
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_binary_data_is_never_looked_at(data):
    """Whatever bytes follow an INSERT, they are its data, unchanged."""
    found = parse(b"INSERT INTO t (a) FORMAT Avro\n" + data)
    assert isinstance(found, Insert)
    assert found.data == data


@given(
    st.one_of(
        st.binary(max_size=80), st.text(alphabet="INSERTFOMAVLU 'file`\"()/*-;$\\\n#", max_size=60).map(str.encode)
    )
)
def test_any_bytes_are_understood_or_refused(text):
    """No statement breaks the parser."""
    try:
        found = parse(text)
    except StatementRefusedError:
        return
    assert isinstance(found, Query | Insert)
