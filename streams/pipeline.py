"""THE MAP. Five stages in the order of the flow; read this first.

    jobs ─► intake ─► routing ─► inference ─► validation ─► grading ─► results
               │decided  ▲ ▲         │             │            │         │
               └─────────┘ │◄ climb ─┴─────────────┴────────────┘         │
                           └◄ spend: the job has ended ◄──────────────────┘
    every stage ─► escalations, held ─► a person ─► reviews ─► verdicts ─► the reviews stage ─► results
    every stage ─► retries.10s, .5m, parked ─► back again      every stage ─► escalations ─► a person
    every stage ─► dead-letters (and a failed result)          every stage ─► traces ─► sink ─► ClickHouse

A processor returns an outcome; `dispatch` alone turns it into records. What a stage writes for a job and the offset of
the record it read are one Kafka transaction. In one process, routing follows intake in its transaction, validation and
grading the call (streams/chain.py): then `admitted`, `answered` and `validated` hold only what could not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processors.outcome import Processor
from schemas.stages import Accepted, Admitted, Answer, Routed, Submission, Validated
from streams.stage import Again, Order, Rejects, Stage
from streams.topics import ADMITTED, ANSWERED, JOBS, JOBS_HIGH, JOBS_LOW, ROUTED, VALIDATED

THROUGH_ROUTING, ROUTED_ANEW, AS_READ = Rejects.THROUGH_ROUTING, Again.ROUTED_ANEW, Order.AS_READ
STUCK_S = 600.0
"""Seconds without an end after which a call is given up: longer than any time-out of a provider."""


@dataclass(frozen=True)
class Processors:
    """One processor for each stage; the types are the map's."""

    intake: "Processor[Submission, Admitted]"
    routing: "Processor[Admitted, Routed]"
    inference: "Processor[Routed, Answer]"
    validation: "Processor[Answer, Validated]"
    grading: "Processor[Validated, Accepted]"


def pipeline(run: Processors, in_flight: Mapping[str, int]) -> tuple[Stage[Any, Any], ...]:
    """The stages; `in_flight` is how many records each may have in work at once, by its name."""
    return (
        Stage(
            "intake", (JOBS_HIGH, JOBS, JOBS_LOW), run.intake, ADMITTED, in_flight["intake"], rejects=THROUGH_ROUTING
        ),
        Stage("routing", (ADMITTED,), run.routing, ROUTED, in_flight["routing"], order=AS_READ),
        Stage(
            "inference", (ROUTED,), run.inference, ANSWERED, in_flight["inference"], ROUTED_ANEW, stuck_after_s=STUCK_S
        ),
        Stage("validation", (ANSWERED,), run.validation, VALIDATED, in_flight["validation"]),
        Stage("grading", (VALIDATED,), run.grading, None, in_flight["grading"]),
    )


STAGES = ("intake", "routing", "inference", "validation", "grading")
REVIEWS = "reviews"
"""The stage beside the main path, which joins what waits for a person with the verdicts (streams/reviews.py)."""
