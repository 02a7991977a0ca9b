"""The Avro schemas in schemas/avsc: one for every record, as the models say, and readable for ever."""

import io
import itertools
import json
from datetime import UTC, datetime
from enum import StrEnum
from types import SimpleNamespace

import fastavro
import pytest
from fastavro.utils import generate_many

from schemas import avro
from schemas.avro import FOLDER, RECORDS, Codec, Unreadable, newest_json, row_schema, rows_fingerprint, versions
from schemas.base import Record
from schemas.derive import schema_of, write_changed
from schemas.side import SnapshotVersion
from schemas.trace import TABLES, StageEvent

SAMPLES = 30
"""Generated values go through the branches of unions and the symbols of enums in turn: more than any of ours has."""

PAIRS = [
    (older, newer)
    for name in sorted(RECORDS)
    for older, newer in itertools.combinations_with_replacement(versions(name), 2)
]


def breaks(older, newer):
    """Why a reader of the newer schema can't read what was written under the older one; nothing if it can."""
    writer, reader = fastavro.parse_schema(older), fastavro.parse_schema(newer)
    for value in generate_many(writer, SAMPLES):
        out = io.BytesIO()
        fastavro.schemaless_writer(out, writer, value)
        try:
            fastavro.schemaless_reader(io.BytesIO(out.getvalue()), writer, reader)
        except Exception as error:  # noqa: BLE001 -- whatever the library finds wrong
            return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize(("older", "newer"), PAIRS, ids=lambda path: path.name)
def test_every_version_reads_all_versions_before_it(older, newer):
    """BACKWARD_TRANSITIVE, proved by writing under each older schema and reading under each newer one."""
    assert breaks(json.loads(older.read_text()), json.loads(newer.read_text())) is None


@pytest.mark.parametrize("name", RECORDS)
def test_the_newest_schema_is_what_the_model_says(name):
    """Model and schema can't disagree: a change of a model needs `python -m schemas.derive`."""
    assert schema_of(RECORDS[name], name) == newest_json(name)


def test_there_is_no_schema_without_a_record():
    """Every file belongs to a record, and versions are numbered without a gap."""
    assert {path.name.split(".")[0] for path in FOLDER.iterdir()} == set(RECORDS)
    for name in RECORDS:
        assert [path.name for path in versions(name)] == [f"{name}.v{n + 1}.avsc" for n in range(len(versions(name)))]


@pytest.mark.parametrize("name", RECORDS)
def test_every_enum_has_a_default(name):
    """A reader that does not know a symbol reads the default, which must exist and be one of its own."""
    enums = [found for found in walk(newest_json(name)) if isinstance(found, dict) and found.get("type") == "enum"]
    assert all(found["default"] in found["symbols"] for found in enums)


def walk(schema):
    """A schema and all schemas inside it."""
    yield schema
    inner = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in inner:
        yield from walk(part)


def test_rows_are_found_by_their_fingerprint():
    """The sink finds the schema that an array of rows names; any other is unknown."""
    for table in TABLES:
        assert json.loads(row_schema(table.TABLE, rows_fingerprint(table.__name__))) == newest_json(table.__name__)
    assert row_schema(StageEvent.TABLE, "0" * 16) is None
    assert row_schema("elsewhere", rows_fingerprint("StageEvent")) is None


# --- what a second version may be, on a record made up for it ---------------------------------------------------------

THING = {
    "type": "record",
    "name": "Thing",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "n", "type": "int"},
        {"name": "note", "type": ["null", "string"], "default": None},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["a", "b", "c"], "default": "a"}},
    ],
}


def edited(**changes):
    """The schema with fields changed (by name), added, or left out (None)."""
    kept = [field | (changes.get(field["name"]) or {}) for field in THING["fields"] if changes.get(field["name"], 1)]
    known = {field["name"] for field in THING["fields"]}
    return THING | {"fields": kept + [{"name": name} | more for name, more in changes.items() if name not in known]}


def enum(*symbols, **more):
    return {"type": {"type": "enum", "name": "Kind", "symbols": list(symbols)} | more}


@pytest.mark.parametrize(
    "newer",
    [
        edited(more={"type": "string", "default": ""}),
        edited(more={"type": ["null", "long"], "default": None}),
        edited(note=None),
        edited(n={"type": "long"}),
        edited(n={"type": ["null", "int"]}),
        edited(kind=enum("a", "b", default="a")),
        edited(kind=enum("a", "b", "c", "d", default="a")),
    ],
)
def test_compatible_edits_pass(newer):
    """A new field with a default, a field less, a wider type, symbols more or less: older records can be read."""
    assert breaks(THING, newer) is None


@pytest.mark.parametrize(
    "newer",
    [
        edited(more={"type": "string"}),
        edited(id={"type": "long"}),
        edited(note={"type": "string", "default": ""}),
        edited(n={"name": "count"}),
        edited(kind=enum("a", "b")),
        THING | {"name": "Object"},
    ],
)
def test_incompatible_edits_are_caught(newer):
    """A new field without default, another type, a narrower one, another name, a symbol less without default."""
    assert breaks(THING, newer) is not None


# --- two versions of a process ----------------------------------------------------------------------------------------


class Colour(StrEnum):
    UNKNOWN = "unknown"
    RED = "red"
    BLUE = "blue"


class FewerColours(StrEnum):
    UNKNOWN = "unknown"
    RED = "red"


class Part(Record):
    size: int


class NewerPart(Record):
    size: int
    unit: str = "cm"


class Yesterday(Record):
    name: str
    colour: Colour = Colour.UNKNOWN
    parts: tuple[Part, ...] = ()


class Today(Record):
    name: str
    colour: FewerColours = FewerColours.UNKNOWN
    parts: tuple[NewerPart, ...] = ()
    note: str | None = None
    weights: dict[str, float] = {}  # noqa: RUF012 -- pydantic copies defaults


def same_names(schema):
    """The schema with the names that yesterday's classes had: renaming a class is no edit of the wire format."""
    text = json.dumps(schema)
    return json.loads(text.replace('"FewerColours"', '"Colour"').replace('"NewerPart"', '"Part"'))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Give a folder of released schemas that the codecs of this test use, and forget it afterwards."""
    caches = (avro.versions, avro.newest, avro.by_fingerprint)

    def forget():
        for cache in caches:
            cache.cache_clear()

    monkeypatch.setattr(avro, "FOLDER", tmp_path)
    forget()
    yield SimpleNamespace(folder=tmp_path, forget=forget)
    forget()


@pytest.fixture
def both(shelf, monkeypatch):
    """Give the codec of yesterday's process and that of today's, which knows both versions."""
    monkeypatch.setattr("schemas.derive.schema_of", lambda model, name: same_names(schema_of(model, name)))
    write_changed({"Thing": Yesterday}, shelf.folder)
    yesterday = Codec("Thing", Yesterday)
    write_changed({"Thing": Today}, shelf.folder)
    shelf.forget()
    return SimpleNamespace(yesterday=yesterday, today=Codec("Thing", Today), shelf=shelf)


def test_today_s_reader_reads_yesterday_s_records(both):
    """New fields have their defaults, inside other records too; a symbol that is gone reads as the default."""
    written = both.yesterday.encode(Yesterday(name="x", colour=Colour.BLUE, parts=(Part(size=3),)))
    assert both.today.decode(written) == Today(name="x", parts=(NewerPart(size=3),))
    assert both.today.decode(both.yesterday.encode(Yesterday(name="y", colour=Colour.RED))).colour is FewerColours.RED


def test_yesterday_s_reader_says_that_it_must_be_upgraded(both):
    """A record of a version that a process does not know is not misread; the error says what to do."""
    written = both.today.encode(Today(name="x"))
    (both.shelf.folder / "Thing.v2.avsc").unlink()
    both.shelf.forget()
    with pytest.raises(Unreadable, match=r"none of the 1 released versions.*upgrade this reader first"):
        both.yesterday.decode(written)


def test_a_changed_model_gets_a_next_version_and_the_old_file_stays(both):
    """Deriving writes a new file only where the model has changed, and never touches a released one."""
    first, second = avro.versions("Thing")
    before = first.read_text()
    assert (first.name, second.name) == ("Thing.v1.avsc", "Thing.v2.avsc")
    assert write_changed({"Thing": Today}, both.shelf.folder) == []
    assert first.read_text() == before
    assert breaks(json.loads(before), json.loads(second.read_text())) is None


def test_a_record_without_a_schema_is_named():
    """Whoever adds a record is told how to write its schema."""
    with pytest.raises(KeyError, match=r"no Nothing\.v1\.avsc; write it with: python -m schemas\.derive"):
        avro.versions("Nothing")


# --- bytes that are no record -----------------------------------------------------------------------------------------

PART = Codec("SnapshotVersion", SnapshotVersion)
READ = SnapshotVersion(snapshot_id="s", version="1", at=datetime(2026, 1, 1, tzinfo=UTC))
GOOD = PART.encode(READ)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "found 0 bytes starting with nothing"),
        (b"{}", "found 2 bytes starting with 7b 7d"),
        (b"\x00\x00\x00\x00\x01" + GOOD[10:], "starting with 00 00 00 00 01"),
        (GOOD[:2] + bytes(8) + GOOD[10:], "0000000000000000 is none of the 1 released versions"),
        (GOOD[:8], "is none of the 1 released versions"),
        (GOOD[:10], "the Avro body is broken (EOFError"),
        (GOOD[:-3], "the Avro body is broken ("),
        (GOOD + b"x", "1 bytes follow the value"),
        (GOOD + GOOD, f"{len(GOOD)} bytes follow the value"),
        (PART.encode(READ.model_copy(update={"snapshot_id": "a b"})), "('snapshot_id',)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unreadable_bytes_are_described(data, found):
    """The error says which record was expected and what was found instead."""
    with pytest.raises(Unreadable, match="SnapshotVersion") as caught:
        PART.decode(data)
    assert found in str(caught.value)
