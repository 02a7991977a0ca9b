"""What ClickHouse makes of the rows: types, partitions, refusals that only it can know."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO

import fastavro
import pytest

from schemas.avro import newest_json
from schemas.trace import TABLES
from sinks import migrations
from sinks.avro_body import container
from sinks.errors import MigrationError, QueryFailed, WarehouseUnfit

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.TABLE)
def test_every_value_comes_back_as_it_was(clickhouse, make, model):
    """Times to the microsecond, money to nine places, maps, arrays and nulls survive the way into the table."""
    other = make.Story("job-2")
    nothing = dict.fromkeys(["confidence", "variant", "tier", "gen_ai_response_model", "output_sha256"])
    rows = [
        *make.Story().one_of_each(),
        other.failed_call(),
        other.end("expired", cost=None, **nothing),
        other.stage("routing", error_class="Bug", status="failed"),
    ]
    rows = [row for row in rows if type(row) is model]
    make.store(clickhouse, rows)
    answer = clickhouse.query(f"SELECT {', '.join(model.model_fields)} FROM {model.TABLE} FINAL")
    stored = [model.model_validate(row) for row in answer.dicts()]
    assert sorted(stored, key=repr) == sorted(rows, key=repr)


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.TABLE)
def test_tables_have_the_columns_of_their_models(clickhouse, model):
    """A field that has no column would be dropped without a word; there is none, and the order is the same."""
    columns = [row[0] for row in clickhouse.query(f"DESCRIBE TABLE {model.TABLE}").rows]
    assert columns == list(model.model_fields)


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.TABLE)
def test_no_column_is_narrower_than_its_field(clickhouse, model):
    """Avro's long goes into Int64 only: ClickHouse cuts off what does not fit a smaller one."""
    types = {row[0]: row[1] for row in clickhouse.query(f"DESCRIBE TABLE {model.TABLE}").rows}
    for field in newest_json(model.__name__)["fields"]:
        if "long" in (field["type"] if isinstance(field["type"], list) else [field["type"]]):
            assert types[field["name"]] in {"Int64", "Nullable(Int64)"}, field["name"]


def test_rows_of_many_months_go_in_at_once(clickhouse, make):
    """A replay of years in one body is no error, and repeats collapse within each month."""
    rows = [
        make.Story(f"job-{month}", start=make.NOW - timedelta(days=31 * month)).stage("intake") for month in range(130)
    ]
    make.store(clickhouse, rows)
    make.store(clickhouse, rows)
    assert clickhouse.query("SELECT count(), uniqExact(_partition_id) FROM stage_events FINAL").rows[0][0] == 130


def test_rows_of_an_older_schema_go_in(clickhouse, make):
    """A writer that does not know a newer column yet is no error: the column gets its default."""
    schema = newest_json("ControlEvent")
    schema["fields"] = [field for field in schema["fields"] if field["name"] != "why"]
    out = BytesIO()
    row = make.Story().control().model_dump(exclude={"why"})
    fastavro.schemaless_writer(out, fastavro.parse_schema({"type": "array", "items": schema}), [row])
    clickhouse.insert("control_log", container(json.dumps(schema), [out.getvalue()]), 1)
    assert clickhouse.query("SELECT name, why FROM control_log").rows == (("banking_intent", ""),)


def test_a_missing_table_blames_no_row(empty_database, make):
    """Without its table the sink waits and somebody is told; the rows are not called bad."""
    empty_database.create_database()
    with pytest.raises(WarehouseUnfit, match="code 60"):
        make.store(empty_database, [make.Story().stage("intake")])


def test_a_missing_database_blames_no_row(empty_database, make):
    """The same before any migration; the server itself answers."""
    empty_database.ping()
    with pytest.raises(WarehouseUnfit, match="code 81"):
        empty_database.progress()
    with pytest.raises(WarehouseUnfit, match="code 81"):
        make.store(empty_database, [make.Story().stage("intake")])


def test_money_keeps_nine_places_in_sums(clickhouse, make):
    """Sums of the smallest amounts are exact."""
    make.store(clickhouse, [make.Story(f"job-{number}").call(cost="0.000000001") for number in range(1000)])
    assert clickhouse.query("SELECT sum(cost_usd) FROM v_calls").rows == ((Decimal("0.000001"),),)


def test_a_query_can_change_nothing(clickhouse):
    """What `penstock query` sends can neither drop nor write."""
    for sql in ("DROP TABLE jobs", "INSERT INTO control_log (name) VALUES ('x')", "TRUNCATE TABLE jobs"):
        with pytest.raises(QueryFailed) as caught:
            clickhouse.query(sql)
        assert caught.value.code == 164, caught.value
    assert clickhouse.query("SELECT count() FROM jobs").rows == ((0,),)


def test_a_wrong_query_says_why(clickhouse):
    """ClickHouse's own words reach the person, with its code."""
    with pytest.raises(QueryFailed, match="nonsense") as caught:
        clickhouse.query("SELECT nonsense FROM jobs")
    assert caught.value.code == 47


def test_parameters_are_bound_not_pasted(clickhouse):
    """A value full of quotes and semicolons is a value."""
    nasty = "'; DROP TABLE jobs; --\\ \n\t{x:String} €"
    answer = clickhouse.query(
        "SELECT {a:String} AS a, {b:Array(String)} AS b, {c:DateTime64(6, 'UTC')} AS c, {d:Nullable(String)} AS d",
        {"a": nasty, "b": [nasty, ""], "c": datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC), "d": None},
    )
    assert answer.columns == ("a", "b", "c", "d")
    assert answer.rows == ((nasty, [nasty, ""], datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC), None),)


def test_applying_twice_changes_nothing(empty_database):
    """The first run applies every file, the second none; all are on record under their hashes."""
    every = list(migrations.on_disk())
    assert list(migrations.pending(empty_database)) == every
    assert migrations.apply(empty_database) == every
    assert migrations.apply(empty_database) == []
    recorded = empty_database.query("SELECT number, sha256 FROM schema_migrations ORDER BY number").rows
    assert list(recorded) == [(migration.number, migration.sha256) for migration in every]


def test_a_migration_that_stopped_half_way_is_finished(empty_database):
    """After a crash between two statements applying again completes it."""
    first = migrations.on_disk()[0]
    empty_database.create_database()
    empty_database.command(first.statements[0])
    assert len(migrations.apply(empty_database)) == len(migrations.on_disk())


def test_processes_that_apply_at_once_do_no_harm(empty_database, make):
    """Four clients at the same moment all come through, and the tables work."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrations.apply, [empty_database] * 4))
    make.store(empty_database, make.Story().one_of_each())
    assert migrations.apply(empty_database) == []
    assert empty_database.query("SELECT count() FROM v_jobs").rows == ((1,),)


def test_an_applied_file_that_changed_is_named(empty_database):
    """An edited migration stops the next start with its name."""
    migrations.pending(empty_database)
    empty_database.insert_json("schema_migrations", [{"number": 1, "name": "events", "sha256": "0" * 64}])
    with pytest.raises(MigrationError, match="0001_events has changed since it was applied"):
        migrations.apply(empty_database)
