import pytest

from sinks.errors import MigrationError
from sinks.migrations import Migration, on_disk, plan


def write(folder, **files):
    for name, sql in files.items():
        (folder / f"{name}.sql").write_text(sql)


def on_record(*migrations):
    return {migration.number: frozenset({migration.sha256}) for migration in migrations}


ONE, TWO, THREE = (Migration(number, "m", f"SELECT {number};\n") for number in (1, 2, 3))


def test_the_shipped_migrations_are_sound():
    """The files in the package are numbered without a gap and every one has statements."""
    assert all(migration.statements for migration in on_disk())


def test_statements_end_at_a_semicolon_at_the_end_of_a_line():
    """Comment lines go, a semicolon inside a line stays, the last statement may lack its own."""
    sql = "-- a; comment;\nSELECT ';', 1\nFROM x;\n\n  -- another;\nSELECT 'a;b'; \nSELECT 3"
    assert Migration(1, "m", sql).statements == ("SELECT ';', 1\nFROM x", "SELECT 'a;b'", "SELECT 3")


def test_files_are_read_in_order(tmp_path):
    """Number and name come from the file's name."""
    write(tmp_path, **{"0002_views": "b;\n", "0001_tables": "a;\n"})
    assert [str(migration) for migration in on_disk(tmp_path)] == ["0001_tables", "0002_views"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["0001_a", "0003_c"], r"found \[1, 3\]"),
        (["0002_b"], r"found \[2\]"),
        (["0001_a", "0001_b"], r"found \[1, 1\]"),
        (["1_a"], "1_a.sql is no migration's name"),
    ],
)
def test_gaps_repeats_and_odd_names_are_errors(tmp_path, names, says):
    """A folder that could be applied in two ways is refused, naming what is wrong."""
    write(tmp_path, **dict.fromkeys(names, "a;\n"))
    with pytest.raises(MigrationError, match=says):
        on_disk(tmp_path)


def test_only_what_is_not_on_record_is_applied():
    """Nothing runs twice."""
    assert plan((ONE, TWO, THREE), {}) == (ONE, TWO, THREE)
    assert plan((ONE, TWO, THREE), on_record(ONE, TWO)) == (THREE,)
    assert plan((ONE, TWO), on_record(ONE, TWO)) == ()


def test_a_changed_file_is_named():
    """An applied migration that was edited stops everything and says which one."""
    edited = Migration(1, "m", "SELECT 'edited';\n")
    with pytest.raises(MigrationError, match="0001_m has changed since it was applied"):
        plan((edited, TWO), on_record(ONE))


def test_two_processes_that_applied_different_files_are_found_out():
    """Two hashes under one number can't both be this file."""
    both = {1: frozenset({ONE.sha256, "0" * 64})}
    with pytest.raises(MigrationError, match="0001_m has changed"):
        plan((ONE,), both)


def test_a_gap_in_the_record_is_an_error():
    """A number below an applied one that was never applied is not slipped in afterwards."""
    with pytest.raises(MigrationError, match="0001_m was never applied, but 0002 was"):
        plan((ONE, TWO), on_record(TWO))


def test_a_newer_penstock_s_migrations_are_left_alone():
    """After a downgrade the older process works on the newer tables."""
    assert plan((ONE, TWO), on_record(ONE, TWO, THREE)) == ()
