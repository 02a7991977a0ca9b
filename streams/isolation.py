"""Poison that kills the process: how a record is found that no exception tells of (EXACTLY_ONCE.md 7). Pure.

The owner of a partition notes in the commit's metadata that it begins; a clean release clears the note, progress resets
it. What its successor reads therefore counts owners in a row that ended without either. After two of them the records
that may have been in work are suspects: they run in groups with nothing else beside them in the process, each time half
as many, at last alone. A record that was alone when the process ended, three times, is given up.
"""

from dataclasses import dataclass

AS_USUAL_DEATHS = 2
"""Owners in a row that may end without progress before their records are suspected: an operator ends some too."""
ALONE_DEATHS = 3
"""Times that the process must have ended with a record alone in it before the record is given up."""


@dataclass(frozen=True, slots=True)
class Note:
    """How the owners of a partition have fared since its last progress.

    `deaths` counts the owners that began, the present one included. `limit` is how many suspects run at once with
    nothing beside them, 0 when records run as usual. `alone` counts the owners that ended while the lowest unfinished
    record ran alone. `apart` says that suspects of this partition were running, and not those of another.
    """

    deaths: int = 0
    limit: int = 0
    alone: int = 0
    apart: bool = False

    @property
    def isolates(self) -> bool:
        """Whether suspects run apart."""
        return self.limit > 0

    @property
    def condemns(self) -> bool:
        """Whether the lowest unfinished record is given up instead of being run."""
        return self.alone >= ALONE_DEATHS

    @property
    def only_raw(self) -> bool:
        """Whether even reading it has ended the process: then it is given up unread."""
        return self.alone > ALONE_DEATHS


CLEAN = Note()
BEGUN = Note(deaths=1)


def begin(found: Note, suspects: int) -> Note:
    """The note of an owner that begins, after what it found; `suspects` is how many records may have been in work."""
    deaths = found.deaths + 1
    if found.deaths < AS_USUAL_DEATHS:
        return Note(deaths)
    if found.limit == 0:
        return Note(deaths, _half(suspects))
    if not found.apart:
        return Note(deaths, found.limit, found.alone)
    if found.limit > 1:
        return Note(deaths, _half(min(found.limit, suspects)))
    return Note(deaths, 1, found.alone + 1)


def progressed(note: Note, *, suspects_left: bool) -> Note:
    """The note once the watermark has moved: the group was innocent; after the last suspect all is as usual."""
    return Note(note.deaths, note.limit) if note.isolates and suspects_left else BEGUN


def _half(records: int) -> int:
    return max(1, (records + 1) // 2)
