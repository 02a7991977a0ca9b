import pytest

from sinks.batch import Batch, Item, Limits, Part
from sinks.errors import BrokenArray

TWO_ROWS = b"\x04ab\x00"
EMPTY = b"\x00"


def batch(rows=100, size=1000, age_s=5.0):
    return Batch(Limits(rows=rows, size=size, age_s=age_s))


def test_rows_are_kept_by_table_and_schema_in_order():
    """Arrays of one table and schema come back together, in the order in which they were added, with their tags."""
    filling = batch()
    for table, mark, tag in [("jobs", "f1", 1), ("checks", "f1", 2), ("jobs", "f2", 3), ("jobs", "f1", 4)]:
        filling.add(table, mark, TWO_ROWS, tag, now=0.0)
    item = [Item(TWO_ROWS, 2, tag) for tag in range(5)]
    assert filling.take() == (
        Part("jobs", "f1", (item[1], item[4])),
        Part("checks", "f1", (item[2],)),
        Part("jobs", "f2", (item[3],)),
    )


def test_taking_empties_the_batch():
    """After a take nothing is left: no rows, no size, no age."""
    filling = batch(age_s=1.0)
    filling.add("jobs", "f", TWO_ROWS, None, now=0.0)
    assert filling.take()[0].rows == 2
    assert filling.take() == ()
    assert (filling.rows, filling.size, filling.wait_s(100.0)) == (0, 0, None)


@pytest.mark.parametrize("limits", [{"rows": 4}, {"size": 8}])
def test_a_batch_is_due_by_rows_or_by_size(limits):
    """Reaching either limit makes the batch due at once."""
    filling = batch(**limits)
    filling.add("jobs", "f", TWO_ROWS, None, now=0.0)
    assert not filling.due(0.0)
    filling.add("checks", "f", TWO_ROWS, None, now=0.0)
    assert filling.due(0.0)


def test_a_batch_is_due_by_the_age_of_its_oldest_array():
    """Later arrays don't put the flush off."""
    filling = batch(age_s=5.0)
    assert filling.wait_s(0.0) is None
    filling.add("jobs", "f", TWO_ROWS, None, now=10.0)
    filling.add("jobs", "f", TWO_ROWS, None, now=14.0)
    assert filling.wait_s(14.0) == pytest.approx(1.0)
    assert not filling.due(14.9)
    assert filling.due(15.0)


def test_an_array_without_rows_still_comes_back():
    """A record that holds no rows has a tag too, which must come back so that it counts as done."""
    filling = batch(age_s=5.0)
    filling.add("jobs", "f", EMPTY, "tag", now=0.0)
    assert filling.due(5.0)
    assert [item.tag for part in filling.take() for item in part.items] == ["tag"]


def test_a_broken_array_leaves_the_batch_as_it_was():
    """Bytes that are no array are refused before they can spoil the others."""
    filling = batch()
    filling.add("jobs", "f", TWO_ROWS, 1, now=0.0)
    with pytest.raises(BrokenArray):
        filling.add("jobs", "f", b"\x04ab", 2, now=0.0)
    assert filling.rows == 2
    assert [item.tag for item in filling.take()[0].items] == [1]
