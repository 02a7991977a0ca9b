"""What one transaction holds. Pure: taken together from finished outcomes, narrowed to what is still owned."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from schemas.avro import rows_fingerprint
from schemas.trace import Event, PayloadEvent
from streams import trace_arrays
from streams.assignment import Assignment
from streams.commit_metadata import Position
from streams.records import Finished, Record
from streams.source import Source
from streams.topics import TRACES

ARRAY_ROWS = 500
ARRAY_CHARACTERS = 1_000_000
"""An array of rows is cut before it holds more: far below the topic's limit, whatever a single row adds."""

TABLE = "penstock-table"
SCHEMA = "penstock-schema"


@dataclass(frozen=True, slots=True)
class Commit:
    """The positions of one group that a transaction moves."""

    source: Source
    positions: dict[Assignment, Position]


@dataclass(frozen=True, slots=True)
class Batch:
    """Outcomes and the positions behind them: committed together or not at all."""

    finished: tuple[Finished, ...]
    commits: tuple[Commit, ...]
    beside: tuple[Record, ...] = ()
    """Records that no outcome causes: the first marks of states."""

    def owned(self) -> "Batch":
        """The part whose assignments are still live; an outcome of an earlier assignment is dropped."""
        if all(assignment.live for commit in self.commits for assignment in commit.positions):
            return self
        finished = tuple(kept for one in self.finished if (kept := _owned(one)) is not None)
        commits = [
            replace(commit, positions={a: p for a, p in commit.positions.items() if a.live}) for commit in self.commits
        ]
        remembered = {
            (one.state.changelog.topic.name, one.partition)
            for commit in commits
            for one in commit.positions
            if one.state is not None
        }
        beside = tuple(record for record in self.beside if (record.topic, record.partition) in remembered)
        return Batch(finished, tuple(commit for commit in commits if commit.positions), beside)

    def records(self) -> list[Record]:
        """Everything to produce: the outcomes' records, then their trace rows as arrays, one table each."""
        caused = (record for one in self.finished for record in one.emission.records)
        records = _newest(itertools.chain(self.beside, caused))
        records.extend(trace_records(event for one in self.finished for event in one.emission.events))
        return records


def batch_of(finished: Iterable[tuple[Source, Finished]]) -> Batch:
    """A batch of these outcomes; marks them finished, so the positions are those after the commit."""
    sources: dict[Source, dict[Assignment, None]] = {}
    taken = []
    for source, one in finished:
        assignment = one.delivery.assignment
        if one.delivery.address.offset >= 0:  # else nothing was read: time has passed
            assignment.finish(one.delivery.address.offset)
        sources.setdefault(source, {})[assignment] = None
        if (entered := one.emission.entered) is not None:
            sources.setdefault(entered.source, {})[entered.assignment] = None
        taken.append(one)
    commits = [
        Commit(source, {assignment: assignment.position for assignment in assignments})
        for source, assignments in sources.items()
    ]
    return Batch(tuple(taken), tuple(commits))


def _owned(finished: Finished) -> Finished | None:
    """What counts of an outcome, by who still has the partitions that it concerns.

    A state that has changed must have its change committed while its partition is here, even if the record that caused
    it is another's by now: that one's owner will find that the job has been routed.
    """
    entered = finished.emission.entered
    if entered is not None and entered.assignment.live:
        return finished
    if not finished.delivery.assignment.live:
        return None
    return finished if entered is None else replace(finished, emission=entered.otherwise())


def _newest(records: Iterable[Record]) -> list[Record]:
    """All records, but of the changes of a state only the last of each key: the transaction is one step."""
    kept: list[Record] = []
    changes: dict[tuple[str, int, bytes | None], Record] = {}
    for record in records:
        if record.partition is None:
            kept.append(record)
        else:
            change = (record.topic, record.partition, record.key)
            changes.pop(change, None)  # so that the mark, which changes last, also stands last
            changes[change] = record
    return [*kept, *changes.values()] if changes else kept


def trace_records(events: Iterable[Event]) -> list[Record]:
    """Rows as records for `traces`: Avro arrays of one table each, in the order in which the tables first appear."""
    arrays: dict[str, list[list[Event]]] = {}
    sizes: dict[str, int] = {}
    for event in events:
        name = type(event).__name__
        size = 500 + (len(event.text) if isinstance(event, PayloadEvent) else 0)
        open_arrays = arrays.setdefault(name, [[]])
        sizes[name] = sizes.get(name, 0) + size
        if len(open_arrays[-1]) >= ARRAY_ROWS or (open_arrays[-1] and sizes[name] > ARRAY_CHARACTERS):
            open_arrays.append([])
            sizes[name] = size
        open_arrays[-1].append(event)
    return [record for name, several in arrays.items() for rows in several for record in _trace_records(name, rows)]


def _trace_records(name: str, rows: list[Event]) -> Iterator[Record]:
    table = type(rows[0]).TABLE
    headers = ((TABLE, table.encode()), (SCHEMA, rows_fingerprint(name).encode()))
    for array in trace_arrays.arrays(name, rows):
        yield Record(TRACES.name, None, array, headers)
