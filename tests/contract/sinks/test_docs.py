"""docs/query.md against a real warehouse."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.stack

DOCS = (Path(__file__).parents[3] / "docs" / "query.md").read_text()
EXAMPLES = re.findall(r"```sql\n(.*?)```", DOCS, re.DOTALL)
VIEWS = re.findall(r"^## (v_\w+)$", DOCS, re.MULTILINE)


@pytest.mark.parametrize("sql", EXAMPLES, ids=lambda sql: sql.split("\n", maxsplit=1)[0][:30])
def test_every_example_runs(clickhouse, make, sql):
    """An example is a query that works; those that ask for what happened find the rows of a finished job."""
    make.store(clickhouse, [*make.Story().one_of_each(), *make.Story().payloads()])
    answer = clickhouse.query(sql)
    assert answer.columns
    if "v_trace" in sql or "payloads" in sql:
        assert answer.rows


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_is_described(clickhouse, view):
    """The table of a view names exactly its columns."""
    section = DOCS.split(f"## {view}\n", 1)[1].split("\n## ", 1)[0]
    cells = re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
    described = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    columns = [row[0] for row in clickhouse.query(f"DESCRIBE TABLE {view}").rows]
    assert sorted(described) == sorted(columns)


def test_every_view_is_described(clickhouse):
    """No view is left out."""
    answer = clickhouse.query("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine = 'View'")
    assert sorted(name for (name,) in answer.rows) == sorted(VIEWS)
