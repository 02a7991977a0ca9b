"""Which consumer group reads which topics: the stages of the map, the delays, the sink."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, cast

from streams.pipeline import REVIEWS, STAGES, Processors, pipeline
from streams.sources import Source
from streams.stage import Order, Stage
from streams.tiers import TIERS
from streams.topics import HELD, SPEND, TRACES, VERDICTS
from streams.topics import REVIEWS as TOPIC_OF_REVIEWS

DELAYS: Final = "delays"
SINK: Final = "sink"


@dataclass(frozen=True, slots=True)
class Group:
    """One consumer group (`Connection.group` makes its full name) and its topics, without the prefix.

    A stage that reads topics of several priorities has a group for each. `notes` is whether its commits carry what is
    unfinished above the watermark.
    """

    stage: str
    name: str
    topics: tuple[str, ...]
    notes: bool = True


def stages() -> tuple[Stage[Any, Any], ...]:
    """The rows of the map without anything that runs."""
    nothing = dict.fromkeys((field.name for field in fields(Processors)), None)
    return pipeline(Processors(**cast("dict[str, Any]", nothing)), dict.fromkeys(STAGES, 1))


def _of_stage(stage: Stage[Any, Any]) -> Iterator[Group]:
    for name, topic in stage.groups():
        beside = (SPEND.name,) if stage.order is Order.AS_READ else ()
        yield Group(stage.name, name, (topic.name, *beside))


def of_sources(sources: Iterable[Source]) -> tuple[Group, ...]:
    """The groups that make jobs of others' records."""
    return tuple(Group(STAGES[0], source.name, (source.topic,)) for source in sources)


GROUPS: Final = (
    *(group for stage in stages() for group in _of_stage(stage)),
    Group(REVIEWS, f"{REVIEWS}.intake", (TOPIC_OF_REVIEWS.name,)),
    Group(REVIEWS, REVIEWS, (HELD.name, VERDICTS.name)),
    *(Group(DELAYS, tier.name, (tier.topic.name,)) for tier in TIERS),
    Group(SINK, SINK, (TRACES.name,), notes=False),
)
"""In the order of the flow."""
